"""One agent that numbers its messages: its streams, and what is asked of it."""

from collections.abc import Iterator
from math import inf
from typing import Any, NamedTuple

from ocs.agents.aggregator.replies import Gone
from ocs.agents.aggregator.stream import Stream

__all__ = ["Publisher", "Request"]


class Request(NamedTuple):
    """Something to ask: call `{agent}.replay` with the body, and hand the answer to `Streams`."""

    agent: str
    body: dict[str, Any]


class Publisher:
    """What is known of an agent that numbers its messages.

    Args:
        address: the agent's address.
    """

    __slots__ = (
        "address",
        "call",
        "checked",
        "checked_at",
        "due",
        "failures",
        "gone",
        "not_before",
        "run",
        "runs",
    )

    def __init__(self, address: str) -> None:
        self.address = address
        self.runs: dict[str, Stream] = {}
        self.run = ""
        """The current run, as far as is known."""
        self.gone: list[Gone] = []
        """What it has given up, as of the last check."""
        self.call: Request | None = None
        """Under way."""
        self.checked = False
        """Whether it has been asked what it has since there was reason to; until then nothing is fetched."""
        self.checked_at = -inf
        self.due = inf
        """When to check next (s); never, if nothing has been heard of it."""
        self.not_before = -inf
        self.failures = 0
        """Checks that failed, one after the other."""

    @property
    def asleep(self) -> bool:
        """Whether it is not going to be called, until it is heard of."""
        return self.due == inf and self.call is None

    @property
    def behind(self) -> bool:
        """Whether something is to be fetched."""
        return any(stream.behind for stream in self.runs.values())

    @property
    def is_awaiting(self) -> bool:
        """Whether there is something to tell or to find out: that more is on our disk, or whether a run has ended."""
        return any(stream.safe > max(stream.told, 1) or stream.struck for stream in self.runs.values())

    @property
    def have(self) -> dict[str, int]:
        """Of each run, the number below which everything is on our disk."""
        return {run: stream.safe for run, stream in self.runs.items() if stream.safe > 1}

    def start_anew(self) -> None:
        """Forget how long something has been going on, and how often it has failed."""
        self.failures, self.not_before = 0, -inf
        for stream in self.runs.values():
            stream.start_anew()

    def to_fetch(self, now: float) -> Stream | None:
        """Return the stream that has waited longest, of those that may be fetched from now."""
        return min(self._fetchable(now), key=lambda stream: stream.turn, default=None)

    def _fetchable(self, now: float) -> Iterator[Stream]:
        if self.call is None and self.checked and self.due < inf and self.not_before <= now:
            for stream in self.runs.values():
                if stream.behind and stream.struck is None and stream.not_before <= now:
                    yield stream
