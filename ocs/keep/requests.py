"""What recorders may ask of `{address}.replay`. Whoever is on the router may call it, with anything."""

from collections.abc import Container
from typing import Any, NamedTuple

from ocs.errors import InvalidRequestError

__all__ = ["Check", "Fetch", "Leave", "Request", "read_request"]

_LONGEST_TEXT = 200
_LONGEST_EVERY = 3600.0
_SHORTEST_EVERY = 0.1
_MOST = 2**64 - 1


class Check(NamedTuple):
    """A recorder tells what it has.

    Attributes:
        recorder: its id.
        every: how often it means to call, in seconds.
        have: of each run that the agent knows, the number below which it has everything.
    """

    recorder: str
    every: float
    have: dict[str, int]


class Leave(NamedTuple):
    """A recorder wants nothing to be kept for it any more."""

    recorder: str


class Fetch(NamedTuple):
    """A recorder wants messages.

    Attributes:
        recorder: its id.
        every: how often it means to call, in seconds.
        run: the run.
        start: the first number.
        since: leave out what was published before, unix s.
        limit: how many bytes of payload the reply may hold.
    """

    recorder: str
    every: float
    run: str
    start: int
    since: float
    limit: int


Request = Check | Leave | Fetch


def read_request(request: Any, runs: Container[str]) -> Request:
    """Return what is asked for.

    Args:
        request: what came over the wire.
        runs: the agent's runs; what is said of others is not even looked at.

    Raises:
        InvalidRequestError: it is not what a recorder asks.
    """
    if not isinstance(request, dict):
        raise InvalidRequestError(f"a request is a map, not {type(request).__name__}")
    recorder = _text(request, "recorder")
    if request.get("leave") is True:
        return Leave(recorder)
    every = min(max(_number(request, "every"), _SHORTEST_EVERY), _LONGEST_EVERY)
    if "run" in request:
        start, since, limit = (_whole(request, "from"), _number(request, "since"), _whole(request, "limit"))
        return Fetch(recorder, every, _text(request, "run"), start, since, limit)
    return Check(recorder, every, _have(request, runs))


def _have(request: dict[Any, Any], runs: Container[str]) -> dict[str, int]:
    have = request.get("have")
    if not isinstance(have, dict):
        raise InvalidRequestError("a request has a map 'have', or 'run' and 'from', or 'leave'")
    return {run: _whole(have, run) for run in have if isinstance(run, str) and run in runs}


def _text(request: dict[Any, Any], key: str) -> str:
    value = request.get(key)
    if isinstance(value, str) and 0 < len(value) <= _LONGEST_TEXT and value.isprintable():
        return value
    raise InvalidRequestError(f"'{key}' has to be printable text of 1 to {_LONGEST_TEXT} characters")


def _whole(request: dict[Any, Any], key: str) -> int:
    value = request.get(key)
    if type(value) is int and 0 <= value <= _MOST:
        return value
    raise InvalidRequestError(f"'{key[:_LONGEST_TEXT]}' has to be a whole number, 0 or more")


def _number(request: dict[Any, Any], key: str) -> float:
    value = request.get(key)
    if isinstance(value, int | float) and type(value) is not bool and abs(value) <= _MOST:
        return float(value)
    raise InvalidRequestError(f"'{key}' has to be a number of seconds")
