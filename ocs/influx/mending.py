"""Lines that a database has refused for the type of a field, made such that it takes the rest of them.

A database keeps the type that a field had first. An integer for which it has a float is written as one; any other value
of another type is left out of its line, and counted.
"""

import re
import time
from collections.abc import Callable
from typing import Final

from ocs.influx.lines import key, measurement, parts_of, rows_of
from ocs.influx.server import Conflict

__all__ = ["Mending", "mend"]

_FIELD: Final = re.compile(r'(?P<key>.+?)(?<!\\)=(?P<value>"(?:[^"\\]|\\.)*"|[^,]*)(?:,|\Z)', re.DOTALL)
_FORGOTTEN: Final = 60.0
"""Seconds after which the database is asked again: a new shard may have no such field yet."""

_MOST: Final = 1000
"""Conflicts that are remembered."""


def mend(body: str, conflict: Conflict) -> tuple[str, int]:
    """Rewrite lines.

    Args:
        body: lines.
        conflict: what the database has against them.

    Returns:
        Lines without the conflict, and how many values are left out of them.
    """
    head = measurement(conflict.measurement) + ","
    if head not in body:
        return body, 0
    as_float = (conflict.given, conflict.existing) == ("integer", "float")
    name = key(conflict.field)
    rows = []
    count = 0
    for row in rows_of(body):
        if not row.startswith(head):
            rows.append(row)
            continue
        before, fields, moment = parts_of(row)
        fields, lost = _without(fields, name, conflict.given, as_float=as_float)
        count += lost
        if fields:
            rows.append(f"{before} {fields} {moment}")
    return "\n".join(rows), count


def _without(fields: str, name: str, given: str, *, as_float: bool) -> tuple[str, int]:
    kept = []
    lost = 0
    for one in _FIELD.finditer(fields):
        if one["key"] != name or _type(one["value"]) != given:
            kept.append(f"{one['key']}={one['value']}")
        elif as_float:
            kept.append(f"{one['key']}={one['value'].removesuffix('i')}")
        else:
            lost += 1
    return ",".join(kept), lost


def _type(value: str) -> str:
    if value.startswith('"'):
        return "string"
    if value in ("True", "False"):
        return "boolean"
    return "integer" if value.endswith("i") else "float"


class Mending:
    """The conflicts that were met lately, which are mended before the database is asked again.

    Args:
        clock: gives a time that only goes on (s).
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[Conflict, float] = {}

    @property
    def is_needed(self) -> bool:
        """Whether there are conflicts that are known."""
        return bool(self._known)

    def add(self, conflict: Conflict) -> bool:
        """Remember a conflict; tell whether it was new."""
        new = conflict not in self._known
        if new and len(self._known) >= _MOST:
            return False
        self._known.setdefault(conflict, self._clock() + _FORGOTTEN)
        return new

    def apply(self, body: bytes) -> tuple[bytes, int]:
        """Return lines without the conflicts that are known, and how many values are left out of them."""
        now = self._clock()
        self._known = {conflict: until for conflict, until in self._known.items() if until > now}
        if not self._known:
            return body, 0
        text = body.decode()
        lost = 0
        for conflict in self._known:
            text, more = mend(text, conflict)
            lost += more
        return text.encode(), lost
