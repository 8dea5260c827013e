"""What strangers may cost a closed router: how much is written of them, and how soon they are answered."""

import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

__all__ = ["LATE_S", "MOST_STRANGERS", "PROMPT_REFUSALS", "TELL_AGAIN_S", "BoundedLog", "Refusals", "Telling"]

TELL_AGAIN_S: Final = 60.0
"""Seconds in which the same is told once."""

MOST_STRANGERS: Final = 100
"""How many lines are written in `TELL_AGAIN_S`, whatever happens; what a flood writes into the log has a bound."""

PROMPT_REFUSALS: Final = 10
"""How many refusals an address gets at once in a minute; further ones come late."""

LATE_S: Final = 2.0
"""How late, in seconds. Who has a good key is let in at once all the same, also from there: one program with an old key
does not shut out the others of its machine."""

_MINUTE: Final = 60.0
_MOST_ADDRESSES: Final = 1000


class Telling:
    """Writes lines into the log, each once a minute, and not more than so many.

    Args:
        log: takes one line.
        clock: seconds.
    """

    def __init__(self, log: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._told: OrderedDict[object, float] = OrderedDict()

    def tell(self, about: object, line: str) -> None:
        """Write a line, unless the same was told just now.

        Args:
            about: what makes two lines the same.
            line: the line.
        """
        now = self._clock()
        while self._told and not self._is_recent(now, next(iter(self._told.values()))):
            self._told.popitem(last=False)
        if about in self._told:
            return
        if len(self._told) >= MOST_STRANGERS:
            return  # a flood; it is over at the latest a minute after its end
        self._told[about] = now
        more = " (that is much; further ones are not told of for a while)"
        self._log(f"{line}{more if len(self._told) == MOST_STRANGERS else ''}")

    @staticmethod
    def _is_recent(now: float, then: float) -> bool:
        return 0 <= now - then < TELL_AGAIN_S  # a clock that was put back does not silence it


class Refusals:
    """Counts the refusals that an address has had in a minute.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def delay(self, address: str) -> float:
        """Count one more, and return in how many seconds it is to be told.

        Args:
            address: where the refused one comes from.
        """
        now = self._clock()
        began, count = self._counts.pop(address, (now, 0))
        if not 0 <= now - began < _MINUTE:
            began, count = now, 0
        self._counts[address] = began, count + 1
        if len(self._counts) > _MOST_ADDRESSES:
            self._counts.popitem(last=False)
        return 0.0 if count < PROMPT_REFUSALS else LATE_S


class BoundedLog:
    """Stands for crossbar's log where strangers can make it write: trouble is told in one line, and in bounds.

    Args:
        tell: takes what makes two lines the same, and a line.
    """

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        self._tell = tell

    def debug(self, *_: object, **__: object) -> None:
        """Say nothing."""

    info = trace = debug

    def warn(self, form: str = "", **fields: Any) -> None:
        """Tell of some trouble."""
        shown = {name: str(value).strip().rpartition("\n")[2][:300] for name, value in fields.items()}
        try:
            line = form.format_map(shown)
        except (LookupError, ValueError, AttributeError):
            line = form
        self._tell(form, f"a connection: {line[:500]}")

    error = critical = warn

    def failure(self, form: str = "", failure: object = None, **_: object) -> None:
        """Tell of an exception, the one that is being handled unless given."""
        error = getattr(failure, "value", None) or sys.exception()
        self._tell(f"{form} {type(error)}", f"a connection: {type(error).__name__}: {error or form}"[:500])
