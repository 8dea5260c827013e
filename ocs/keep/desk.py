"""`{address}.replay`: recorders tell what they have, and get again what they lack. Anybody may call, with anything."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred

from ocs.errors import InvalidRequestError
from ocs.keep.disk import DiskKeep
from ocs.keep.memory import Keep, Kept
from ocs.keep.requests import Check, Fetch, Leave, read_request
from ocs.keep.worker import Worker
from ocs.wamp.lean_autobahn import ApplicationError

__all__ = ["ReplayDesk"]

_REPLY_BYTES = 768 << 10
"""How much a reply may hold, in bytes, so that with its head any router takes it."""
_MOST_RUNS = 200
_MOST_LOST = 200
_LOST_BYTES = 256 << 10
_MOST_WAITING = 16
"""How many fetches may wait for the disk."""


class ReplayDesk:
    """Answers recorders. For the reactor's thread.

    Args:
        keep: what is in memory.
        disk: what is on the disk, if anything ever is.
        worker: fetches from there.
        on_call: called when a recorder has told what it has, or has left.
    """

    def __init__(
        self, keep: Keep, disk: DiskKeep | None, worker: Worker | None, on_call: Callable[[], None] = lambda: None
    ) -> None:
        self._keep = keep
        self._disk = disk
        self._worker = worker
        self._on_call = on_call

    def answer(self, request: Any) -> "dict[str, Any] | Deferred[dict[str, Any]]":
        """Answer a request.

        Raises:
            ApplicationError: it is not what a recorder asks, or too many wait for the disk.
        """
        try:
            asked = read_request(request, {self._keep.run, *self._earlier})
        except InvalidRequestError as error:
            raise ApplicationError("ocs.error.invalid_request", str(error)) from None
        if isinstance(asked, Fetch):
            return self._fetch(asked)
        if isinstance(asked, Leave):
            self._keep.recorders.leave(asked.recorder)
            self._keep.let_go()
        else:
            self._keep.acknowledge(asked.recorder, asked.every, asked.have)
        self._on_call()
        return self._state(asked)

    @property
    def _earlier(self) -> Any:
        return self._disk.view if self._disk else {}

    def _state(self, asked: Check | Leave) -> dict[str, Any]:
        run = self._keep.run
        runs = {name: list(view.range) for name, view in list(self._earlier.items())[:_MOST_RUNS]}
        runs[run] = list(self._keep.range)
        have = asked.have if isinstance(asked, Check) else {}
        return {"session_id": run, "runs": runs, "lost": list(self._lost(have))}

    def _lost(self, have: dict[str, int]) -> Iterator[list[Any]]:
        """Yield what was given up and the recorder lacks, as much as a reply holds."""
        known = [(name, view.lost) for name, view in self._earlier.items()]
        known.append((self._keep.run, self._keep.lost_state()[0]))
        wanted = ([name, *lost] for name, ranges in known for lost in ranges if lost[1] > have.get(name, 0))
        size = 0
        for lost in islice(wanted, _MOST_LOST):
            yield lost
            size += 100 + sum(len(feed) + 10 for feed in lost[-1])
            if size > _LOST_BYTES:
                return

    def _fetch(self, asked: Fetch) -> "dict[str, Any] | Deferred[dict[str, Any]]":
        self._keep.acknowledge(asked.recorder, asked.every, {})
        limit = min(asked.limit, _REPLY_BYTES)
        found = self._keep.fetch(asked.start, asked.since, limit) if asked.run == self._keep.run else None
        if found is not None:
            return _reply(asked, found)
        if asked.run != self._keep.run and asked.run not in self._earlier:
            return {"run": asked.run, "messages": [], "next": asked.start, "unknown": True}
        if self._disk is None or self._worker is None or self._worker.waiting >= _MOST_WAITING:
            raise ApplicationError("ocs.error.busy", "many wait for the disk already: ask again in a moment")
        fetched = self._worker.do(partial(self._disk.fetch, asked.run, asked.start, asked.since, limit))
        return fetched.addCallbacks(partial(_reply, asked), _unreadable)


def _reply(asked: Fetch, found: tuple[list[Kept], int]) -> dict[str, Any]:
    messages, following = found
    encoded = [[parcel.number, when, bytes(parcel.payload)] for when, parcel in messages]
    return {"run": asked.run, "messages": encoded, "next": following}


def _unreadable(failure: Any) -> Any:
    raise ApplicationError("ocs.error.unreadable", f"the disk does not give it: {failure.getErrorMessage()}") from None
