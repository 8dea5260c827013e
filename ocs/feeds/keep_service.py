"""`{address}.replay`: what recorders lack is served to them again, and what they do not fetch goes to the disk."""

import time
from collections.abc import Callable
from typing import Any

from ocs.errors import InvalidRequestError
from ocs.feeds.keep import Keep, Kept
from ocs.feeds.keep_requests import Fetch, Leave, read_request
from ocs.wamp.lean_autobahn import ApplicationError

__all__ = ["KeepService"]

_MOST_IN_REPLY = 768 << 10
"""How much a reply may hold, in bytes, so that with its head any router takes it."""


class KeepService:
    """Keeps what an agent publishes in one run until its recorders have it.

    Args:
        run: the run's name, which is in the envelope of its messages.
        clock: returns the time by a monotonic clock, in seconds.
        wall: returns the time of day, unix s.

    Attributes:
        keep: what is in memory.
    """

    def __init__(
        self, run: str, *, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self.keep = Keep(run, clock=clock, wall=wall)

    def serve(self, request: Any = None, *_more: Any, **_named: Any) -> Any:
        """Answer a call to ``{address}.replay``.

        Raises:
            ApplicationError: ``ocs.error.invalid_request``, if it is not what a recorder asks.
        """
        try:
            asked = read_request(request, (self.keep.run,))
        except InvalidRequestError as error:
            raise ApplicationError("ocs.error.invalid_request", str(error)) from None
        if isinstance(asked, Fetch):
            return self._fetch(asked)
        if isinstance(asked, Leave):
            self.keep.recorders.leave(asked.recorder)
            self.keep.let_go()
            return self._state(0)
        self.keep.acknowledge(asked.recorder, asked.every, asked.have)
        return self._state(asked.have.get(self.keep.run, 0))

    def _state(self, have: int) -> dict[str, Any]:
        run = self.keep.run
        lost = [[run, *known] for known in self.keep.lost_ranges() if known[1] > have]
        return {"session_id": run, "runs": {run: list(self.keep.range)}, "lost": lost}

    def _fetch(self, asked: Fetch) -> dict[str, Any]:
        self.keep.acknowledge(asked.recorder, asked.every, {})
        if asked.run != self.keep.run:
            return {"run": asked.run, "messages": [], "next": asked.start, "unknown": True}
        found = self.keep.fetch(asked.start, asked.since, min(asked.limit, _MOST_IN_REPLY))
        messages, following = found or ([], asked.start)
        return {"run": asked.run, "messages": [_encoded(kept) for kept in messages], "next": following}


def _encoded(kept: Kept) -> list[Any]:
    return [kept.parcel.number, kept.when, kept.parcel.payload]
