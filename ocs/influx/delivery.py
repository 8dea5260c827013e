"""One attempt after the other to bring lines into the database: what each comes to, and what is done then."""

import gzip
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from ocs.errors import DatabaseAwayError
from ocs.influx.lines import rows_of
from ocs.influx.mending import Mending
from ocs.influx.server import Reply, Request, Server, Verdict, What, judge

__all__ = ["BATCH_BYTES", "Asks", "Delivery", "Outcome", "pause"]

_MOST_MENDINGS: Final = 100
"""Conflicts that are mended in one body before what is left of them is given up."""

_LONGEST: Final = 60.0

BATCH_BYTES: Final = 4 << 20
_LEAST_BYTES: Final = 4096


class Asks(Protocol):
    """Whatever sends a request to the server and brings its answer."""

    def ask(self, request: Request) -> Reply:
        """Return the answer, or raise `DatabaseAwayError`."""


class Outcome(NamedTuple):
    """What an attempt came to."""

    done: bool
    """Whether the lines are in the database, but for what is counted. If not, they have to be sent again."""
    trouble: str = ""
    """What is wrong, for the operator; "" if nothing is."""
    retry_after: float = 0.0
    """Seconds that the server wants to be left alone; 0 if it does not say."""


def pause(attempts: int) -> float:
    """Return for how long (s) to leave a server alone after so many attempts in vain: 1, 2, 4 ... 60."""
    return min(_LONGEST, 2.0 ** min(attempts - 1, 10))


class Delivery:
    """Brings lines to a server.

    Args:
        server: the server.
        link: asks it.
        compress: whether lines are sent gzipped.
        tell: called with what the operator should know, and a word for what it is about.
        clock: gives a time that only goes on (s).

    Attributes:
        dropped: points that the database will not take, by reason.
        left_out: values that were left out of points so that it took the rest, by reason.
        most_bytes: how long a body should be; falls if the server says that it takes none so long.
    """

    def __init__(
        self,
        server: Server,
        link: Asks,
        *,
        compress: bool = False,
        tell: Callable[[str, str], None] = lambda text, about: None,  # noqa: ARG005 - nobody listens
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.dropped: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.most_bytes = BATCH_BYTES
        self._server = server
        self._link = link
        self._compress = compress
        self._tell = tell
        self._mending = Mending(clock)
        self._tried_to_create = False

    def probe(self) -> Outcome:
        """Ask whether lines would be taken."""
        return self.deliver(b"", 0)

    def deliver(self, body: bytes, points: int) -> Outcome:
        """Bring lines into the database.

        Args:
            body: the lines.
            points: how many there are.
        """
        try:
            return self._deliver(body, points)
        except DatabaseAwayError as error:
            return Outcome(done=False, trouble=str(error))

    @property
    def is_plain(self) -> bool:
        """Whether lines are posted as they are, so that two bodies may be on their way at a time."""
        return not self._mending.is_needed

    def post_beside(self, body: bytes, link: Asks) -> bool:
        """Post lines over another link, from another thread, while `deliver` is at work.

        Args:
            body: the lines.
            link: asks the server.

        Returns:
            Whether the database has taken all of them. If not, whatever the reason, they have to be delivered.
        """
        try:
            return judge(link.ask(self._write(body))).what is What.WRITTEN
        except DatabaseAwayError:
            return False

    def _deliver(self, body: bytes, points: int) -> Outcome:
        lost, verdict = self._settled(body)
        if verdict.what in (What.UNREADABLE, What.TOO_LONG):
            return self._in_parts(verdict, body, points)
        if verdict.what not in (What.WRITTEN, What.PARTLY):
            return Outcome(False, f"{self._server.place}: {verdict.words}", verdict.retry_after)
        if verdict.what is What.PARTLY:
            self._drop(verdict, min(verdict.dropped, points))
        else:
            self._tried_to_create = False
        if lost:
            self.left_out["conflict"] += lost
        return Outcome(done=True)

    def _settled(self, body: bytes) -> tuple[int, Verdict]:
        """Post lines, mended until the database has nothing against their types.

        Returns:
            How many values are left out of them, and what the server says.
        """
        lost, verdict = 0, Verdict(What.WRITTEN)
        for _ in range(_MOST_MENDINGS):
            mended, lost = self._mending.apply(body)
            if body and not mended:
                return lost, Verdict(What.WRITTEN)
            verdict = self._post(mended)
            if verdict.conflict is None or not self._mending.add(verdict.conflict):
                break
            self._tell(
                f"{self._server.place}: {verdict.words}; its values are left out where they do not fit", "conflict"
            )
        return lost, verdict

    def _post(self, body: bytes) -> Verdict:
        request = self._write(body)
        verdict = judge(self._link.ask(request))
        if verdict.what is What.MISSING and not self._tried_to_create:
            self._tried_to_create = True
            if self._create():
                return judge(self._link.ask(request))
        return verdict

    def _write(self, body: bytes) -> Request:
        gzipped = self._compress and bool(body)
        return self._server.write(gzip.compress(body, 1, mtime=0) if gzipped else body, gzipped=gzipped)

    def _in_parts(self, verdict: Verdict, body: bytes, points: int) -> Outcome:
        """Deliver what was refused as a whole in two halves; a single line that is refused is dropped."""
        if verdict.what is What.TOO_LONG:
            self.most_bytes = max(_LEAST_BYTES, min(self.most_bytes, len(body)) // 2)
        rows = rows_of(body.decode())
        if len(rows) < 2:  # noqa: PLR2004 - a half has a line at least
            self._drop(verdict, points)
            return Outcome(done=True)
        half = len(rows) // 2
        for part in (rows[:half], rows[half:]):
            outcome = self._deliver("\n".join(part).encode(), len(part))
            if not outcome.done:
                return outcome
        return Outcome(done=True)

    def _drop(self, verdict: Verdict, points: int) -> None:
        reason = verdict.reason or "too_long"
        self.dropped[reason] += points
        self._tell(f"{self._server.place}: {verdict.words}", reason)

    def _create(self) -> bool:
        """Make the database or bucket; tell whether it is there now."""
        question = self._server.look_up()
        request = self._server.create(self._link.ask(question) if question else None)
        reply = self._link.ask(request) if request else None
        if reply is not None and reply.status < 300 and b'"error"' not in reply.body:  # noqa: PLR2004 - HTTP's successes
            self._tell(f"{self._server.place} was not there and has been made", "created")
            return True
        why = judge(reply).words if reply is not None else f"no organisation {self._server.org}"
        self._tell(f"{self._server.place} is not there and cannot be made by us: {why or 'refused'}", "create")
        return False
