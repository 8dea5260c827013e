"""Who may connect to a closed router now: the table in its keys folder, read again when it changes."""

from collections.abc import Callable
from pathlib import Path

from ocs.errors import KeysError
from ocs.keys.table import TABLE_FILE, Identity, SiteTable
from ocs.router.strangers import MOST_STRANGERS, TELL_AGAIN_S, Refusals, Telling

__all__ = ["MOST_STRANGERS", "TELL_AGAIN_S", "Admission"]

_Mark = tuple[int, ...]


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
        self._folder = folder
        self._clock = clock
        self._log = log
        self._telling = Telling(log, clock)
        self._refusals = Refusals(clock)
        self._trouble = ""
        self._seen = self._mark()  # before reading: what is written in between is seen by the next look
        self.table = SiteTable.read(folder)

    def refresh(self) -> bool:
        """Read the table again if it has changed; a broken one is told of, and the last good one holds on.

        Returns:
            Whether it is another one.
        """
        mark = self._mark()
        if mark == self._seen and not self._trouble:
            return False
        self._seen = mark
        try:
            table = SiteTable.read(self._folder)
        except KeysError as error:
            self._tell_trouble(str(error))
            return False
        self._trouble = ""
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
            self.tell(address, known, f"refused {address}: {error}")
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

    def delay(self, address: str) -> float:
        """Count a refusal, and return in how many seconds it is to be told to that address."""
        return self._refusals.delay(address)

    def tell(self, address: str, about: str, line: str) -> None:
        """Write a line into the log about somebody who may send as much as they like: in bounds.

        Args:
            address: where it comes from.
            about: what makes two lines from there the same.
            line: the line.
        """
        self._telling.tell((address, about[:100]), line)

    def _tell_trouble(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._log(f"{trouble}; those who could connect until now still can")

    def _mark(self) -> _Mark | None:
        try:
            state = (self._folder / TABLE_FILE).stat()
        except OSError:
            return None
        return state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino
