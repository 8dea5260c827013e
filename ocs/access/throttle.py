"""Guesses of passwords: who has tried wrong ones has to wait, longer and longer, and others need not."""

import hashlib
import hmac
import secrets
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from threading import Lock
from typing import NamedTuple

__all__ = ["STRANGERS", "VOUCHED", "Guesses", "Pace", "Who"]

REMEMBERED = 1024
"""How many callers are remembered; beyond, the one who has not guessed for longest is forgotten."""
SAME_AGAIN = 8
"""How many of a caller's last wrong passwords are known again: a program with an old password does not guess."""


class Pace(NamedTuple):
    """How fast guesses are taken."""

    free: int
    """Wrong passwords that cost nothing: people mistype."""
    longest: float
    """Longest pause after a further one, in seconds; the first is 1 s, each further one twice as long."""
    calm: float
    """Time after which one wrong password is forgiven, in seconds."""

    def pause(self, wrong: int) -> float:
        """Return how long to wait after so many wrong passwords, in seconds."""
        return 0.0 if wrong < self.free else min(self.longest, 2.0 ** min(wrong - self.free, 30))


VOUCHED = Pace(free=5, longest=60.0, calm=60.0)
"""For callers whose name the router vouches for: each waits for nobody but himself."""

STRANGERS = Pace(free=5, longest=2.0, calm=60.0)
"""For all others together, since whoever connects anew is a new one. Short, for they hold up one another: who guesses
must not keep out for long somebody who knows the password."""


class Who(NamedTuple):
    """Who gives a password.

    Attributes:
        name: his name, where the router vouches for it.
        session: his WAMP session, where the router tells.
        about: what the password is for, where that counts apart.
    """

    name: str | None = None
    session: int | None = None
    about: str = ""


@dataclass
class _Record:
    """What is remembered of one caller."""

    wrong: int = 0
    since: float = 0.0
    """When the last wrong one came, or was forgiven."""
    until: float = 0.0
    """Nothing is judged before."""
    last: deque[bytes] = field(default_factory=lambda: deque(maxlen=SAME_AGAIN))

    def forgive(self, pace: Pace, now: float) -> None:
        steps = int(max(0.0, now - self.since) // pace.calm)
        if steps and self.wrong:
            self.wrong, self.since = max(0, self.wrong - steps), self.since + steps * pace.calm


class Guesses:
    """Counts wrong passwords, and tells who has to wait. Usable from any thread; its memory is bounded.

    Args:
        vouched: the pace of callers that the router vouches for.
        strangers: the pace of all others together.
    """

    def __init__(self, vouched: Pace = VOUCHED, strangers: Pace = STRANGERS) -> None:
        self._paces = {True: vouched, False: strangers}
        self._records: OrderedDict[tuple[str, object], _Record] = OrderedDict()
        self._proven: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        """What a stranger's session has shown to be right, by what it was for; it waits for nobody with that again."""
        self._secret = secrets.token_bytes(32)
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._records)

    def pause(self, who: Who, now: float) -> float:
        """Return how long somebody has to wait before a password of his is judged, in seconds; 0: not at all.

        Args:
            who: the caller.
            now: seconds of a clock that nobody sets.
        """
        with self._lock:
            record = self._records.get(self._key(who))
            return 0.0 if record is None else max(0.0, record.until - now)

    def may_try(self, who: Who, password: str, now: float) -> float:
        """Return how long somebody has to wait; 0: the password is to be judged now, and `wrong` or `right` be called.

        Who has guessed too often has one try at a time, however many he makes at once.
        """
        with self._lock:
            record = self._records.get(self._key(who))
            if record is None or self._is_known(who, password):
                return 0.0
            pace = self._pace(who)
            record.forgive(pace, now)
            if now < record.until:
                return record.until - now
            pause = pace.pause(record.wrong)
            if pause and self._digest(password) in record.last:
                return pause  # and takes nobody's turn
            record.until = now + pause
            return 0.0

    def wrong(self, who: Who, password: str, now: float) -> float:
        """Note a wrong password; return how long its giver has to wait now, in seconds."""
        with self._lock:
            if self._is_known(who, password):  # it was right before the rules changed
                del self._proven[who.about, who.session or 0]
            record = self._count(self._key(who), self._pace(who), self._digest(password), now)
            return max(0.0, record.until - now)

    def _is_known(self, who: Who, password: str) -> bool:
        if who.name is not None or who.session is None:
            return False
        known = self._proven.get((who.about, who.session))
        return known is not None and hmac.compare_digest(known, self._digest(password))

    def _count(self, key: tuple[str, object], pace: Pace, digest: bytes, now: float) -> _Record:
        record = self._records.setdefault(key, _Record(since=now))
        self._records.move_to_end(key)
        while len(self._records) > REMEMBERED:
            self._records.popitem(last=False)
        record.forgive(pace, now)
        if digest not in record.last:
            record.last.append(digest)
            record.wrong, record.since = record.wrong + 1, now
            record.until = now + pace.pause(record.wrong)
        return record

    def right(self, who: Who, password: str, now: float) -> None:
        """Note a right password: its giver's turn is his again, and a stranger who gives it again is held up by nobody.

        That goes for this password, this session, and what it was for: a known one buys no guesses at others.
        """
        with self._lock:
            record = self._records.get(self._key(who))
            if record is not None:
                record.until = min(record.until, now)
            if who.name is None and who.session is not None:
                self._proven[who.about, who.session] = self._digest(password)
                self._proven.move_to_end((who.about, who.session))
                while len(self._proven) > REMEMBERED:
                    self._proven.popitem(last=False)

    def _key(self, who: Who) -> tuple[str, object]:
        if who.name is not None:
            return "", who.name  # whatever it is about: else each further grant would give new guesses
        return who.about, None

    def _pace(self, who: Who) -> Pace:
        return self._paces[who.name is not None]

    def _digest(self, password: str) -> bytes:
        return hashlib.blake2b(password.encode("utf-8", "surrogatepass"), key=self._secret, digest_size=16).digest()
