"""One line of an audit: what was asked of an agent, by whom, and what became of it."""

import json
from typing import Any, Final, NamedTuple

__all__ = ["LEFT_OUT", "AuditRecord"]

LEFT_OUT = "left-out"
"""The action of a record that tells of those that are missing."""


_LATEST: Final = 1e11
"""No record is of a time beyond this (unix s): no calendar here goes on for so long."""

_encode: Final = json.JSONEncoder(separators=(",", ":")).encode


class AuditRecord(NamedTuple):
    """What was asked of an agent.

    Attributes:
        time: unix seconds.
        instance: the agent's instance-id.
        action: what was asked for: ``start``, ``stop``, ``abort``; ``acquire``, ``renew``, ``release`` of a grant; or
            ``end``: what was started has ended; ``left-out``: records are missing here.
        op: of which operation, or grant.
        who: for people: a name, ``level N``, ``anonymous``, or ``agent itself``.
        name: whose key was proved; None where no key was.
        role: what the key is for.
        level: the credential level that the request had; None where it was not judged.
        wamp_session: the WAMP session it came by; None where the router does not tell.
        peer: the other end of that session's connection, as ``tcp4:192.0.2.7:40312``, or ``HTTP bridge``.
        params: its parameters, without secrets.
        code: 0 where it was done as asked, -1 where it was refused or has failed.
        message: the answer, without secrets.
        session_id: the operation's session; None where there is none.
    """

    time: float
    instance: str
    action: str
    op: str
    who: str = "anonymous"
    name: str | None = None
    role: str | None = None
    level: int | None = None
    wamp_session: int | None = None
    peer: str | None = None
    params: Any = None
    code: int = 0
    message: str = ""
    session_id: int | None = None

    def encoded(self) -> dict[str, Any]:
        """Return the record as a map of plain values."""
        return self._asdict()

    def line(self) -> bytes:
        """Return the record as a line of JSON, in ASCII, with its newline."""
        return _encode(self._asdict()).encode("ascii") + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "AuditRecord":
        """Return the record that a line holds; what later versions have added is left out.

        Raises:
            ValueError: the line holds none: it is broken, or of something else.
        """
        try:
            found = json.loads(line)
            record = cls(**{key: found[key] for key in cls._fields if key in found})
            _check(record)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"no audit record: {error}") from None
        return record


def _check(record: AuditRecord) -> None:
    texts = (record.instance, record.action, record.op, record.who, record.message)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a text is none")
    if not isinstance(record.time, int | float) or not isinstance(record.code, int):
        raise TypeError("a number is none")
    if not abs(record.time) < _LATEST:
        raise ValueError("its time is none")
    if not all(isinstance(text, str | None) for text in (record.name, record.role, record.peer)):
        raise TypeError("a text is none")
    if not all(isinstance(number, int | None) for number in (record.level, record.wamp_session, record.session_id)):
        raise TypeError("a number is none")
