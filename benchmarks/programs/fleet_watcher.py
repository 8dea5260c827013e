"""Tells of the first heartbeat of each run of each agent as it arrives: a raw autobahn subscriber."""

import sys
import time

from session import SubscribeOptions, connect, say


async def watch(session):
    seen = set()

    def heard(message):
        _codes, envelope = message
        run = envelope["agent_address"], envelope["session_id"]
        if run not in seen:
            seen.add(run)
            say(agent=run[0].rpartition(".")[2], time=time.time())

    await session.subscribe(heard, "observatory..feeds.heartbeat", SubscribeOptions(match="wildcard"))
    say(ready=True)


if __name__ == "__main__":
    connect(sys.argv[1], watch)
