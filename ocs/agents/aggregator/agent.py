"""The aggregator agent: records every feed of the observatory to housekeeping files."""

import argparse
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ocs import ocs_agent, site_config
from ocs.agents.aggregator.files import check_folder
from ocs.agents.aggregator.inbox import Inbox
from ocs.agents.aggregator.notebook import Notebook
from ocs.agents.aggregator.reception import Reception
from ocs.agents.aggregator.streams import Streams
from ocs.errors import JournalError, JournalInUseError, RecordingLibraryError

if TYPE_CHECKING:
    from ocs.agents.aggregator.aggregator import Aggregator
    from ocs.agents.aggregator.ledger import Ledger

__all__ = ["AggregatorAgent", "main", "make_parser"]

TURN = 0.25
"""Seconds between two turns of the recording thread: events are typed in batches, and nothing lags."""

_ROUND_TRIP = 1.0
"""Seconds that events which the router has sent already get to arrive when the recording is stopped."""

_CATCH_UP = 10.0
"""Seconds that what the agents still keep gets to be fetched when a person stops the recording."""

_SHORT_TURN = 0.02
_DISK_EVERY = 1.0
"""Seconds between two attempts to open the journal."""

Result = tuple[bool, str]


class AggregatorAgent:
    """Records the feeds of all agents.

    The reactor's thread, by way of `Reception`, leaves recorded events in an `Inbox`; all else happens in the thread of
    the process `record`.

    Args:
        agent: the OCSAgent that this is the work of.
        args: has ``initial_state`` (``idle`` or ``record``), ``time_per_file`` (s), ``data_dir`` and ``address_root``.
        clock: gives the time (unix, s).

    Attributes:
        inbox: the events that wait to be recorded.
    """

    def __init__(self, agent: Any, args: argparse.Namespace, *, clock: Callable[[], float] = time.time) -> None:
        self.agent = agent
        self.log = agent.log
        self.time_per_file = args.time_per_file
        self.data_dir = args.data_dir
        self.inbox = Inbox()
        self.notebook = Notebook(agent, clock=clock)
        self.reception = Reception(agent, self.inbox, self.notebook)
        self._root = args.address_root
        self._clock = clock
        self._stopped_by_user = False
        self._arrived = threading.Event()
        agent.subscribe_on_start(self.reception.take, f"{args.address_root}..feeds.", options={"match": "wildcard"})
        agent.on("join", lambda *_: self.reception.link_up())
        agent.on("leave", lambda *_: self.reception.link_down())
        agent.register_process(
            "record",
            self.record,
            self.stop_record,
            blocking=True,
            stopper_blocking=False,
            startup=args.initial_state == "record",
        )

    @ocs_agent.param("test_mode", default=False, type=bool, help="take one turn and end")
    @ocs_agent.param("time_per_file", default=None, type=float, check=lambda seconds: seconds > 0, unit="s")
    @ocs_agent.param("data_dir", default=None, type=str, help="folder for the files, within --data-dir")
    def record(self, session: ocs_agent.OpSession, params: dict[str, Any] | None) -> Result:
        """record(test_mode=False, time_per_file=None, data_dir=None)

        **Process** - Record the data of all feeds that are meant to be recorded.

        Parameters:
            test_mode (bool): Take in what waits, write it, and end. Default is False.
            time_per_file (float): Seconds per file. Default is the agent's ``--time-per-file``.
            data_dir (str): Folder under which the files are made: one within the agent's ``--data-dir``, from where a
                relative one counts. Default is ``--data-dir`` itself.

        Notes:
            The process is degraded while the disk takes no data; ``trouble`` then says why, and ``waiting_bytes`` how
            much waits in memory for it. ``dropped`` counts the values that could not be recorded, by cause, and
            ``faults`` the occasions, also those that cost no value (such as ``names``, which are corrected).
            ``journal_bytes`` is the size of the journal. ``messages`` counts, since the start, messages that were
            let go to be fetched in order, fetched, met a second time, and lost, and how many agents' streams are
            behind now. ``notes`` are the latest of what is noted in the archive: losses, refusals, repairs, and agents
            that come and go::

                >>> response.session["data"]
                {"current_file": "/data/hk/17900/1790000000.g3",
                 "providers": {
                    "observatory.faker.feeds.false_temperatures": {
                        "last_refresh": 1790000012.73,
                        "sessid": "1789999990.1",
                        "stale": False,
                        "last_block_received": "temps"}},
                 "values_recorded": 86400,
                 "dropped": {"timestamps": 2},
                 "faults": {"timestamps": 1, "names": 1},
                 "waiting_bytes": 0,
                 "journal_bytes": 1048576,
                 "trouble": None,
                 "messages": {"behind": 0, "let_go": 12, "fetched": 40, "duplicates": 0, "lost": 0},
                 "notes": [{"kind": "on", "subject": "observatory.faker", "since": 1789999990.6,
                    "until": None, "samples": 0, "detail": "1789999990.1"}],
                 "disk_free_bytes": 812345671680}

            What was published while the aggregator, the router or the network was away is fetched when it is back.
            What comes while a person has stopped the process is not recorded.
        """
        if session.status == "starting":  # where the function is called directly, nobody has said so yet
            session.set_status("running")
        try:
            return self._record(session, params or {})
        finally:  # at the end, not at the start: who starts it may have stopped it before this thread runs
            self._stopped_by_user = False
            self._arrived.clear()

    def _record(self, session: ocs_agent.OpSession, params: dict[str, Any]) -> Result:
        data_dir = folder_within(self.data_dir, params.get("data_dir") or "")
        if data_dir is None:
            return False, f"data_dir={params['data_dir']!r} is not within {self.data_dir}, where this agent records"
        self.inbox.open()
        try:
            ledger = self._open_ledger(session, data_dir)
        except JournalInUseError as error:
            self.inbox.close()
            return False, str(error)
        if ledger is None:
            self.inbox.close()
            return False, "Stopped before the disk took anything."
        with closing(ledger):
            aggregator = self._aggregator(session, params.get("time_per_file") or self.time_per_file, data_dir, ledger)
            self._take_turns(session, aggregator, ledger, once=bool(params.get("test_mode")))
            aggregator.close(forget=self._stopped_by_user)
        done = f"Recorded {aggregator.writer.values_written} values."
        if trouble := aggregator.trouble:
            return False, f"{done} The rest waits in the journal, and with the agents, for the next start: {trouble}"
        return True, done

    def _take_turns(
        self, session: ocs_agent.OpSession, aggregator: "Aggregator", ledger: "Ledger", *, once: bool
    ) -> None:
        self._receive(ledger)
        try:
            while session.status == "running":
                aggregator.run()
                if once:
                    break
                self.inbox.wait(TURN)
            if not once:
                self._take_the_rest(aggregator)
        finally:
            self.inbox.close()
            leave = self._stopped_by_user
            self.agent.call_in_reactor(lambda: self.reception.stop(leave=leave))

    def _take_the_rest(self, aggregator: "Aggregator") -> None:
        """Take in what is on its way still: what the router has sent, and at a person's stop what is to be fetched.

        What is to be fetched when the agent ends is fetched at its next start.
        """
        until = time.monotonic() + (_CATCH_UP if self._stopped_by_user else _ROUND_TRIP)
        while time.monotonic() < until:
            behind = self._stopped_by_user and self.agent.realm_joined and self.reception.counts.get("behind")
            if self._arrived.is_set() and not behind:
                return
            aggregator.run()
            self.inbox.wait(_SHORT_TURN)

    def _open_ledger(self, session: ocs_agent.OpSession, data_dir: str) -> "Ledger | None":
        """Open the journal as soon as the disk allows; None if the recording is stopped before.

        Raises:
            JournalInUseError: another process has it.
        """
        from ocs.agents.aggregator.ledger import Ledger, journal_folder  # noqa: PLC0415 - so3g is slow to load

        while True:  # asked once in any case: who is stopped at once has still recorded, and tells how much
            try:
                return Ledger(journal_folder(data_dir, self.agent.agent_address), data_dir, clock=self._clock)
            except JournalInUseError:
                raise
            except (OSError, JournalError) as error:
                self._waits(session, str(error))
            if session.status != "running":
                return None
            self.inbox.wait(_DISK_EVERY)

    def _waits(self, session: ocs_agent.OpSession, trouble: str) -> None:
        if not session.degraded:
            self.log.warn("{trouble}; the data waits", trouble=trouble)
            session.add_message(f"{trouble}; the data waits")
        session.degraded = True
        session.data = {"trouble": trouble}

    def _receive(self, ledger: "Ledger") -> None:
        """Have the reactor begin to take what can be had again: from where the journal ends."""
        streams = Streams(ledger.recorder_id, root=self._root, since=ledger.since, positions=ledger.positions)
        self.agent.call_in_reactor(self.reception.start, streams)

    def _aggregator(
        self, session: ocs_agent.OpSession, time_per_file: float, data_dir: str, ledger: "Ledger"
    ) -> "Aggregator":
        from ocs.agents.aggregator.aggregator import Aggregator  # noqa: PLC0415 - so3g is slow to load, not everywhere
        from ocs.hk.index_writer import IndexWriter  # noqa: PLC0415 - the same

        return Aggregator(
            self.inbox,
            time_per_file,
            data_dir,
            session,
            clock=self._clock,
            log=self.log,
            ledger=ledger,
            safe=lambda news: self.agent.call_in_reactor(self.reception.safe, news),
            notebook=self.notebook,
            index=IndexWriter(lambda line: self.log.warn("{line}", line=line)),
            more=lambda: {
                "messages": self.reception.counts,
                "notes": self.notebook.encoded(),
                "disk_free_bytes": _disk_free(data_dir),
            },
        )

    def stop_record(self, session: ocs_agent.OpSession, params: dict[str, Any] | None) -> Result:
        """Have `record` write what it holds and end."""
        # What comes while a person has stopped the recording is not wanted; while the agent is away, it is.
        self._stopped_by_user = not self.agent.operations.ending
        self.reception.when_arrived(self._arrived.set)
        session.set_status("stopping")
        self.inbox.call()
        return True, "Writing what is held."


def folder_within(base: str, given: str) -> str | None:
    """Return the folder that a client wants, from the base on; None if it is no folder within the base."""
    try:
        wanted = Path(base, given)
        return str(wanted) if wanted.resolve().is_relative_to(Path(base).resolve()) else None
    except (OSError, ValueError, RuntimeError):  # a name that cannot be, links in a circle
        return None


def _disk_free(folder: str) -> int | None:
    """Return the room on the disk of a folder, in bytes; None where the disk does not tell."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


_HOUR: Final = 3600.0


def make_parser(parser: argparse.ArgumentParser | None = None) -> argparse.ArgumentParser:
    """Add the aggregator's options to a parser, a new one if none is given."""
    if parser is None:
        parser = argparse.ArgumentParser()
    group = parser.add_argument_group("Agent Options")
    group.add_argument("--data-dir", required=True, help="folder under which the files are made")
    group.add_argument(
        "--initial-state",
        default="idle",
        choices=["idle", "record"],
        help="record: start recording at once; idle (default): wait to be told",
    )
    group.add_argument("--time-per-file", type=_seconds, default=_HOUR, help="seconds per file (default: 3600)")
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return seconds


def main(args: Sequence[str] | None = None) -> None:
    """Run the agent.

    Args:
        args: command line; the program's own if not given.

    Raises:
        SystemExit: with one line, if so3g is missing or the data folder cannot be written.
    """
    parsed = site_config.parse_args(agent_class="AggregatorAgent", parser=make_parser(), args=args)
    try:
        import ocs.agents.aggregator.frames  # noqa: F401, PLC0415 - slow to load: not for --help, but before data comes
    except ImportError as error:
        raise SystemExit(str(RecordingLibraryError.because(error))) from None
    if trouble := check_folder(parsed.data_dir):
        raise SystemExit(trouble)
    agent, runner = ocs_agent.init_site_agent(parsed)
    AggregatorAgent(agent, parsed)
    runner.run(agent, auto_reconnect=True)


if __name__ == "__main__":
    main()
