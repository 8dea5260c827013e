"""What agents answer to `{address}.replay`, read without trusting it: nobody vouches for who answers."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeGuard

from ocs.errors import OCSError

__all__ = [
    "MAX_NUMBER",
    "MAX_SESSION_ID",
    "Batch",
    "Check",
    "Gone",
    "MalformedReplyError",
    "is_number",
    "is_session_id",
    "read_batch",
    "read_check",
]

MAX_NUMBER: Final = 1 << 53
"""The highest number of a message: what every reader of numbers on the wire holds exactly."""

MAX_SESSION_ID: Final = 200
"""Characters."""

_MAX_RUNS: Final = 1_000
_MAX_LOST: Final = 10_000
_MAX_FEEDS: Final = 1_000


class MalformedReplyError(OCSError):
    """An agent's answer makes no sense; the text says why."""


class Gone(NamedTuple):
    """Messages that the agent has given up: numbers from `first` up to, not including, `end`."""

    run: str
    first: int
    end: int
    since: float
    """Published between this (unix, s)…"""
    until: float
    """…and this."""
    samples: dict[str, int]
    """Feed → samples."""


class Check(NamedTuple):
    """What an agent has."""

    run: str
    """The session id of its current run."""
    given: dict[str, int]
    """Session id of each run of which something is kept → the number after its last."""
    gone: list[Gone]


class Batch(NamedTuple):
    """Messages of one run, in order: all that is kept from the number asked for up to, not including, `end`."""

    messages: list[tuple[int, bytes]]
    end: int


def is_number(value: object) -> TypeGuard[int]:
    """Tell whether a value can be a message's number, or the one after the last."""
    return type(value) is int and 0 < value <= MAX_NUMBER


def is_session_id(value: object) -> TypeGuard[str]:
    """Tell whether a value can be a session id."""
    return type(value) is str and 0 < len(value) <= MAX_SESSION_ID


def read_check(reply: object) -> Check:
    """Read the answer to a check. What is not understood of single runs and losses is left out.

    Raises:
        MalformedReplyError: it is no such answer.
    """
    fields = _fields(reply)
    run, runs, lost = fields.get("session_id"), fields.get("runs"), fields.get("lost", [])
    if not is_session_id(run) or not isinstance(runs, dict) or not isinstance(lost, list | tuple):
        raise MalformedReplyError("its answer does not say what it keeps")
    return Check(run, dict(_runs(runs)), sorted(_gone(lost), key=lambda gone: (gone.run, gone.first)))


def _fields(reply: object) -> dict[Any, Any]:
    if not isinstance(reply, dict):
        raise MalformedReplyError(f"its answer is of type {type(reply).__name__}, not a map")
    return reply


def _runs(runs: dict[Any, Any]) -> Iterator[tuple[str, int]]:
    for run, kept in list(runs.items())[:_MAX_RUNS]:
        if is_session_id(run) and isinstance(kept, list | tuple) and len(kept) == 2 and is_number(kept[1]):  # noqa: PLR2004 - first, next
            yield run, kept[1]


def _gone(lost: Sequence[Any]) -> Iterator[Gone]:
    for entry in lost[-_MAX_LOST:]:
        if isinstance(entry, list | tuple) and len(entry) == len(Gone._fields) and _makes_sense(*entry):
            run, first, end, since, until, samples = entry
            yield Gone(run, first, end, float(since), float(until), _samples(samples))


def _makes_sense(run: object, first: object, end: object, since: object, until: object, samples: object) -> bool:
    return (
        is_session_id(run)
        and is_number(first)
        and is_number(end)
        and first < end
        and _is_time(since)
        and _is_time(until)
        and isinstance(samples, dict)
    )


def _is_time(value: object) -> bool:
    return type(value) in {int, float} and abs(value) < MAX_NUMBER  # type: ignore[arg-type] # it is a number by now


def _samples(samples: dict[Any, Any]) -> dict[str, int]:
    counts = list(samples.items())[:_MAX_FEEDS]
    return {feed: count for feed, count in counts if type(feed) is str and type(count) is int and count >= 0}


def read_batch(reply: object, run: str, start: int) -> Batch:
    """Read the answer to a fetch.

    Args:
        reply: what came.
        run: session id of the run that was asked for.
        start: the number from which on messages were asked for.

    Raises:
        MalformedReplyError: it is no answer to that; nothing of it can be used.
    """
    fields = _fields(reply)
    if fields.get("run") != run:
        raise MalformedReplyError("its answer is about another run than was asked for")
    messages, end = fields.get("messages"), fields.get("next")
    if not isinstance(messages, list | tuple):
        raise MalformedReplyError("its answer has no list of messages")
    if not is_number(end) or end < start:
        raise MalformedReplyError("its answer goes back behind what was asked for")
    return Batch(list(_messages(messages, start, end)), end)


def _messages(messages: Sequence[Any], start: int, end: int) -> Iterator[tuple[int, bytes]]:
    for message in messages:
        if not isinstance(message, list | tuple) or len(message) != 3:  # noqa: PLR2004 - number, time, payload
            raise MalformedReplyError("its answer has a message that is not number, time and payload")
        number, _, payload = message
        if not is_number(number) or not start <= number < end:
            raise MalformedReplyError("its answer has messages out of order")
        if type(payload) is not bytes:
            raise MalformedReplyError("its answer has a payload that is not bytes")
        start = number + 1
        yield number, payload
