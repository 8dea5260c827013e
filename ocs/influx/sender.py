"""The thread that brings what is in the spool into the database, and waits when the database is away."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from ocs.influx.delivery import BATCH_BYTES, Delivery, Outcome, pause
from ocs.influx.link import Link
from ocs.influx.server import Server
from ocs.influx.spool import Batch, Spool

__all__ = ["Sender", "State"]

AGE: Final = 0.5
"""Seconds that lines wait for others to be sent together with."""

_PROBE_EVERY: Final = 30.0
"""Seconds without anything to send after which the database is asked whether it is there."""

_TELL_EVERY: Final = 60.0
"""Seconds between two times at which the same is told."""

_LAST_WORDS: Final = 1.0
"""Seconds that a sender gets at its end for what is on its way."""

_MOST_SUBJECTS: Final = 200


@dataclass(frozen=True)
class State:
    """How the sending goes."""

    connected: bool = False
    """Whether the database took what was last sent."""
    trouble: str = ""
    """Why it did not."""
    points: int = 0
    """How many points it has taken."""
    written: float | None = None
    """When it last took some (unix, s)."""
    retry_at: float | None = None
    """When it is asked again (as `Sender`'s steady clock has it, s); None while all is well."""
    oldest: float | None = None
    """When the oldest that is being sent came (unix, s); None if nothing is."""
    dropped: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)


class Sender:
    """Sends what is in a spool, in a thread of its own from `start` to `stop`.

    Where much waits and all is well, two batches are on their way at a time: a server takes them faster than one after
    the other. Whatever is wrong with the second one, it is sent again, as the first one.

    Args:
        spool: what is to be sent.
        server: where to.
        compress: whether it is sent gzipped.
        tell: called with what the operator should know, in the sender's thread; the same once a minute.
        clock: gives the time (unix, s).
        steady: gives a time that only goes on (s).

    Attributes:
        state: how it goes; made anew whenever that changes.
    """

    def __init__(
        self,
        spool: Spool,
        server: Server,
        *,
        compress: bool = False,
        tell: Callable[[str], Any] = lambda text: None,  # noqa: ARG005 - nobody listens
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state = State()
        self._spool = spool
        self._link, self._link_beside = Link(server), Link(server)
        self._tell = tell
        self._clock = clock
        self._steady = steady
        self._delivery = Delivery(server, self._link, compress=compress, tell=self._tell_once, clock=steady)
        self._told: dict[str, float] = {}
        self._attempts = 0
        self._next_probe = 0.0
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="influx-sender", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send what can be sent within a second, and end; what could not be sent stays in the spool."""
        self._ending = True
        self._spool.call()
        self._thread.join(0.0 if self.state.trouble else _LAST_WORDS)
        self._link.abort()
        self._link_beside.abort()
        self._spool.call()
        self._thread.join(_LAST_WORDS)

    def _run(self) -> None:
        while self._turn_or_tell():
            pass
        self._link.close()
        self._link_beside.close()

    def _turn_or_tell(self) -> bool:
        try:
            return self.turn()
        except Exception as error:  # what a server answers is foreign; nothing ends the sending for good
            self._note(Outcome(done=False, trouble=f"nothing can be sent: {type(error).__name__}"), None)
            return not self._ending

    def turn(self) -> bool:
        """Wait for something to send and make an attempt at it; tell whether there is another turn."""
        self._wait()
        if self._ending and self.state.trouble:
            return False
        batch = self._spool.next(self._delivery.most_bytes)
        if batch is not None:
            self._send(batch)
        elif self._ending:
            return False
        elif self._steady() >= self._next_probe:
            self._note(self._delivery.probe(), None)
        return True

    def _wait(self) -> None:
        retry_at = self.state.retry_at
        if self._ending:
            return
        if retry_at is not None:
            self._spool.wait(max(0.0, retry_at - self._steady()))
        elif self._steady() >= self._next_probe and not self.state.connected:
            return  # the first turn: is it there at all?
        else:
            self._spool.wait(AGE, most_bytes=min(BATCH_BYTES, self._delivery.most_bytes))

    def _send(self, batch: Batch) -> None:
        beside = self._begin_beside(batch)
        outcome = self._delivery.deliver(batch.body, batch.points)
        self._end(batch, outcome)
        if beside is not None and beside.is_taken() and outcome.done:
            self._end(beside.batch, outcome)

    def _begin_beside(self, batch: Batch) -> "_Beside | None":
        """Send the batch that follows at the same time, if there is a whole one, and nothing is wrong."""
        if self.state.trouble or not self.state.connected or self._ending or not self._delivery.is_plain:
            return None
        most = self._delivery.most_bytes
        following = self._spool.next(most, batch) if len(batch.body) > most // 2 else None
        if following is None or len(following.body) <= most // 2:
            return None
        return _Beside(following, lambda: self._delivery.post_beside(following.body, self._link_beside))

    def _end(self, batch: Batch, outcome: Outcome) -> None:
        if outcome.done:
            self._spool.done(batch)
        self._note(outcome, batch)

    def _note(self, outcome: Outcome, batch: Batch | None) -> None:
        now = self._steady()
        self._next_probe = now + _PROBE_EVERY
        state = self.state
        dropped = dict(self._delivery.dropped)
        taken = batch.points - (sum(dropped.values()) - sum(state.dropped.values())) if batch and outcome.done else 0
        if outcome.done:
            self._attempts = 0
            if state.trouble:
                self._tell("the database takes points again")
        else:
            self._attempts += 1
            self._tell_once(f"{outcome.trouble}; what is published waits", outcome.trouble)
        self.state = State(
            connected=outcome.done,
            trouble=outcome.trouble,
            points=state.points + max(0, taken),
            written=self._clock() if taken else state.written,
            retry_at=None if outcome.done else now + (outcome.retry_after or pause(self._attempts)),
            oldest=batch.received if batch and not outcome.done else None,
            dropped=dropped,
            left_out=dict(self._delivery.left_out),
        )

    def _tell_once(self, text: str, about: str) -> None:
        """Tell something, unless the same has been told within the last minute."""
        now = self._steady()
        if now < self._told.get(about, now):
            return
        if len(self._told) >= _MOST_SUBJECTS:
            self._told.clear()
        self._told[about] = now + _TELL_EVERY
        self._tell(text)

    @property
    def retry_in(self) -> float | None:
        """Seconds until the database is asked again; None while all is well."""
        at = self.state.retry_at
        return None if at is None else max(0.0, at - self._steady())


class _Beside:
    """A batch that is sent in a thread of its own, from now on.

    Args:
        batch: what is sent.
        post: sends it, and tells whether it was taken.
    """

    def __init__(self, batch: Batch, post: Callable[[], bool]) -> None:
        self.batch = batch
        self._post = post
        self._taken = False
        self._thread = threading.Thread(target=self._run, name="influx-beside", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._taken = self._post()
        except Exception:
            self._taken = False

    def is_taken(self) -> bool:
        """Wait for the answer, and tell whether it was a good one."""
        self._thread.join()
        return self._taken


def merged(*counts: dict[str, int]) -> dict[str, int]:
    """Return counts by reason, added up."""
    return dict(sum((Counter(count) for count in counts), Counter[str]()))
