"""Who may connect to a closed router now: the table in its keys folder, read again when it changes."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ocs.errors import KeysError
from ocs.keys.table import TABLE_FILE, Identity, SiteTable

__all__ = ["Admission"]

TELL_AGAIN_S: Final = 60.0
"""Seconds in which the same stranger is told of once."""

MOST_STRANGERS: Final = 100
"""How many strangers are told apart; what a flood of them writes into the log has a bound."""


class Admission:
    """The present table, and what is told of those who are not in it.

    Args:
        folder: the keys folder.
        clock: unix s.
        log: takes one line.

    Raises:
        KeysError: there is no table yet, or it is broken.
    """

    def __init__(self, folder: Path, clock: Callable[[], float], log: Callable[[str], None]) -> None:
        self.table = SiteTable.read(folder)
        self._folder = folder
        self._clock = clock
        self._log = log
        self._seen = self._mark()
        self._strangers: OrderedDict[tuple[str, str], float] = OrderedDict()

    def refresh(self) -> bool:
        """Read the table again if it has changed; a broken one is told of, and the last good one holds on.

        Returns:
            Whether it is another one.
        """
        mark = self._mark()
        if mark == self._seen:
            return False
        self._seen = mark
        try:
            table = SiteTable.read(self._folder)
        except KeysError as error:
            self._log(f"{error}; those who could connect until now still can")
            return False
        changed = table != self.table
        if changed:
            self.table = table
        return changed

    def admit(self, name: object, public: object, address: str) -> Identity:
        """Return who connects.

        Args:
            name: who it claims to be.
            public: its public key, in hex; the router has it proven afterwards.
            address: where it comes from.

        Raises:
            KeysError: nobody who may.
        """
        known = name if isinstance(name, str) else ""
        try:
            return self.table.admit(known, public if isinstance(public, str) else "", self._clock())
        except KeysError as error:
            self._tell(address, known[:100], str(error))
            raise

    def is_good(self, identity: Identity | None, public: str) -> bool:
        """Tell whether somebody who was let in with a key would be let in again, as the same.

        Args:
            identity: who it was then.
            public: the key.
        """
        if identity is None:
            return False
        now = self.table.identities.get(identity.name)
        if now is None or not now.has_key(public, self._clock()):
            return False
        return now.role == identity.role and set(identity.instances) <= set(now.instances)

    def _tell(self, address: str, name: str, reason: str) -> None:
        now = self._clock()
        key = address, name
        if now - self._strangers.get(key, -TELL_AGAIN_S) < TELL_AGAIN_S:
            return
        while self._strangers and now - next(iter(self._strangers.values())) >= TELL_AGAIN_S:
            self._strangers.popitem(last=False)
        if len(self._strangers) >= MOST_STRANGERS:
            return  # a flood; it is over at the latest a minute after its end
        self._strangers[key] = now
        self._strangers.move_to_end(key)
        more = " (many refused; further ones are not told of for a while)"
        self._log(f"refused {address}: {reason}{more if len(self._strangers) == MOST_STRANGERS else ''}")

    def _mark(self) -> tuple[int, int, int] | None:
        try:
            state = (self._folder / TABLE_FILE).stat()
        except OSError:
            return None
        return state.st_mtime_ns, state.st_size, state.st_ino
