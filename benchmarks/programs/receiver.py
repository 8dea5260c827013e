"""Counts every sample that reaches a subscriber, and looks into the messages only when the clock has stopped.

Events are kept as the bytes that came, so that the receiver costs a measurement next to nothing; they are decoded and
counted when the harness asks: ``clear``, ``progress`` and ``count`` are its commands.
"""

import sys
import time
from collections import Counter

import cbor2
from session import Protocol, SubscribeOptions, connect, obey, say

# A CBOR array whose first item is 36, WAMP's code of an EVENT.
EVENT_HEADS = tuple(bytes([0x80 + length, 0x18, 36]) for length in range(4, 8))


class Ledger:
    """The events of one measurement: their bytes, and when the first and the last came."""

    def __init__(self):
        self.clear()

    def clear(self):
        self.payloads, self.size, self.first, self.last = [], 0, None, None
        return {}

    def add(self, payload):
        self.last = time.time()
        self.first = self.first or self.last
        self.size += len(payload)
        self.payloads.append(payload)

    def progress(self):
        return {"messages": len(self.payloads), "bytes": self.size, "first": self.first, "last": self.last}

    def count(self):
        """Timestamps and field values in all events; of numbered ones also how many different numbers."""
        totals, numbers = Counter(), set()
        for payload in self.payloads:
            data, _envelope = cbor2.loads(payload)[4][0]
            for block in data.values():
                totals["stamps"] += len(block["timestamps"])
                totals["values"] += sum(map(len, block["data"].values()))
                numbers.update(block["data"].get("number", ()))
        return {**self.progress(), "stamps": totals["stamps"], "values": totals["values"], "distinct": len(numbers)}


LEDGER = Ledger()


class CountingProtocol(Protocol):
    """Keeps events as they came; everything else is autobahn's."""

    def onMessage(self, payload, isBinary):  # noqa: N802, N803 - autobahn's names
        if payload.startswith(EVENT_HEADS):
            LEDGER.add(payload)
        else:
            super().onMessage(payload, isBinary)


async def listen(session):
    await session.subscribe(lambda *_: None, sys.argv[2], SubscribeOptions(match="prefix"))
    obey(lambda command: say(**getattr(LEDGER, command)()))
    say(ready=True)


if __name__ == "__main__":
    connect(sys.argv[1], listen, protocol=CountingProtocol)
