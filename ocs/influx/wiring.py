"""The publisher as an operation of an agent: what both agents have in common beside their servers."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ocs.errors import JournalInUseError
from ocs.influx.options import option
from ocs.influx.publisher import Inbox, Publisher
from ocs.influx.server import Server
from ocs.influx.spool import DISK_BYTES
from ocs.wamp.frames import Reader, takes_frame

__all__ = ["Wiring"]

Result = tuple[bool, str]


class Wiring:
    """Takes the events of all feeds, and runs a `Publisher` while the process ``record`` runs.

    Args:
        args: the parsed arguments; see `ocs.influx.options.add_common`.
        server: the database.
        folder: where to keep what waits; None: in memory alone.
        clock: gives the time (unix, s).

    Attributes:
        inbox: the events that wait to be published.
        take: the handler of events, to be subscribed with; never waits, never raises.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        server: Server,
        folder: Path | None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.inbox = Inbox()
        # Nobody needs the frames; but what takes them is given many events at once, at half the cost of each.
        self.take = takes_frame(self._take, _quick_reader())
        self._server = server
        self._folder = folder
        self._compress = bool(option(args, "gzip", bool, default=False))
        self._microseconds = option(args, "protocol", str, default="line") == "json"
        self._spool_bytes = option(args, "spool_size", int, default=DISK_BYTES)
        self._clock = clock
        self._publisher: Publisher | None = None

    def _take(self, event: Any, frame: object = None) -> None:  # noqa: ARG002 - to be subscribed with `takes_frame`
        self.inbox.put(event)

    def record(self, session: Any, *, once: bool) -> Result:
        """Run the process; in its own thread."""
        if session.status == "starting":  # where the function is called directly, nobody has said so yet
            session.set_status("running")
        publisher = self._new(session)
        self._publisher = publisher
        if self._folder is None:
            self._tell(session, "there is no --state-dir: what waits for the database is kept in memory alone")
        try:
            publisher.run(session, once=once)
        except JournalInUseError as error:
            return False, str(error)
        finally:
            self._publisher = None
        data = publisher.data()
        rest = f"; {data['waiting_points']} wait for the next start" if data["waiting_points"] else ""
        return True, f"Published {data['points']} points{rest}."

    def _new(self, session: Any) -> Publisher:
        return Publisher(
            self.inbox,
            self._server,
            self._folder,
            compress=self._compress,
            microseconds=self._microseconds,
            spool_bytes=self._spool_bytes,
            tell=lambda text: self._tell(session, text),
            clock=self._clock,
        )

    @staticmethod
    def _tell(session: Any, text: str) -> None:
        session.add_message(text)  # which is logged too

    def stop(self, session: Any) -> Result:
        """Have `record` end; in the reactor's thread."""
        session.set_status("stopping")
        if (publisher := self._publisher) is not None:
            publisher.call()
        return True, "Writing what is held."


def _quick_reader() -> Reader | None:
    """Return what reads messages of numbers without a look at each; None where there is no NumPy."""
    try:
        from ocs.feeds.packed import PackedReader  # noqa: PLC0415 - NumPy is slow to load: not for --help
    except ImportError:
        return None
    return PackedReader()
