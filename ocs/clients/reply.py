"""An agent's reply as a person reads it, and as a script checks it."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ocs.base import OpCode, ResponseCode
from ocs.errors import OperationFailedError, OperationTimeoutError, RequestFailedError

__all__ = ["OCSReply", "check_reply", "describe_reply"]

SHOWN_MESSAGES = 5
"""How many of a session's messages, the last ones, a report shows."""


class OCSReply(NamedTuple):
    """What an agent answered to a request; shown as a report of some lines."""

    status: int
    """How the request was answered: ``ocs.OK``, ``ocs.ERROR`` or ``ocs.TIMEOUT``."""
    msg: str
    """A sentence for a person."""
    session: dict[str, Any]
    """The operation's current or last session; empty where there is none."""

    def __repr__(self) -> str:
        return describe_reply(self, time.time())


def check_reply(reply: OCSReply, instance_id: str, op_name: str, action: str, *, outcome: bool) -> None:
    """Raise if a reply says that something went wrong.

    Args:
        reply: the reply.
        instance_id: the agent.
        op_name: the operation.
        action: what was asked for.
        outcome: whether it also counts how the operation ended.

    Raises:
        RequestFailedError: the agent refused the request.
        OperationTimeoutError: the operation had not ended in time.
        OperationFailedError: the operation ended without success.
    """
    about = (reply, op_name, instance_id)
    if reply.status == ResponseCode.TIMEOUT:
        raise OperationTimeoutError(f"{instance_id}: {op_name} has not ended in time: {reply.msg}", *about)
    if reply.status != ResponseCode.OK:
        raise RequestFailedError(f"{instance_id}: cannot {action} {op_name}: {reply.msg}", *about)
    if outcome and reply.session and reply.session.get("success") is False:
        raise OperationFailedError(f"{instance_id}: {op_name} failed: {_last_words(reply)}", *about)


def _last_words(reply: OCSReply) -> str:
    """Return the last message of the operation's own, in one line."""
    texts = [str(text) for _, text in _messages(reply.session) if not str(text).startswith("Status is now")]
    return " ".join(texts[-1].split()) if texts else reply.msg


def describe_reply(reply: OCSReply, now: float) -> str:
    """Return a report of a reply.

    Args:
        reply: the reply.
        now: unix time, seconds.
    """
    lines = [f"OCSReply: {_code_name(reply.status)} - {reply.msg}"]
    if not reply.session:
        return f"{lines[0]}\n  (no session: the operation has not run)"
    lines.append(f"  {_heading(reply.session)}: {_progress(reply.session, now)}")
    lines += _message_lines(_messages(reply.session))
    data = reply.session.get("data")
    if data:
        lines.append(f"  session['data'] has: {', '.join(map(str, data))}")
    return "\n".join(lines)


def _code_name(status: Any) -> str:
    try:
        return ResponseCode(status).name
    except ValueError:
        return str(status)


def _heading(session: Mapping[str, Any]) -> str:
    return f"{session.get('op_name', '?')}, session {session.get('session_id', '?')}"


def _progress(session: Mapping[str, Any], now: float) -> str:
    """Say how long the session has run, or how it ended and when."""
    status = session.get("status", "?")
    start, end = session.get("start_time"), session.get("end_time")
    if start is None:
        return str(status)
    if end is None:
        degraded = ", DEGRADED" if session.get("degraded") else ""
        return f"{status} for {_duration(now - start)}{degraded}, since {_moment(start)}"
    return f"{_ending(session)} {_duration(now - end)} ago, at {_moment(end)}, after {_duration(end - start)}"


def _ending(session: Mapping[str, Any]) -> str:
    if session.get("op_code") == OpCode.EXPIRED:
        return "the agent fell silent"
    return {True: "succeeded", False: "FAILED"}.get(session.get("success"), "ended")  # type: ignore[arg-type]


def _duration(seconds: float) -> str:
    """Return a length of time with two significant units.

    Args:
        seconds: the length; a negative one, where two clocks disagree, is shown as nothing.
    """
    seconds = max(0.0, seconds)
    if seconds < 60:  # noqa: PLR2004 - what follows is minutes, hours, days
        return f"{seconds:.3g} s" if seconds < 10 else f"{seconds:.1f} s"  # noqa: PLR2004
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _moment(timestamp: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(timestamp))


def _messages(session: Mapping[str, Any]) -> Sequence[Any]:
    messages: Sequence[Any] = session.get("messages") or []
    return messages


def _message_lines(messages: Sequence[Any]) -> list[str]:
    if not messages:
        return []
    shown = messages[-SHOWN_MESSAGES:]
    title = "messages:" if len(shown) == len(messages) else f"last {len(shown)} of {len(messages)} messages:"
    return [f"  {title}", *(f"    {_clock(timestamp)}  {text}" for timestamp, text in shown)]


def _clock(timestamp: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(timestamp)) + f".{int(timestamp * 1000) % 1000:03d}"
