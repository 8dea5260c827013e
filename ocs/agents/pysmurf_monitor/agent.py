"""The pysmurf monitor: announced files become rows of the transfer database, each once; messages go on to feeds."""

import argparse
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from ocs import ocs_agent, site_config
from ocs.agents.pysmurf_monitor.dispatcher import Arrived
from ocs.agents.pysmurf_monitor.feeds import Feeds, Outgoing
from ocs.agents.pysmurf_monitor.file_queue import MOST_QUEUED, announcements, metadata_of, queued
from ocs.agents.pysmurf_monitor.hashing import Hashers, Item
from ocs.agents.pysmurf_monitor.messages import Announcement, RefusedError, parse
from ocs.agents.pysmurf_monitor.names import Ambiguous
from ocs.agents.pysmurf_monitor.options import DB_PATH, JOURNAL_BYTES, UDP_PORT, allowed_roots, make_parser, option
from ocs.agents.pysmurf_monitor.pipeline import Pipeline
from ocs.agents.pysmurf_monitor.receiving import ReceiverStatus, Receiving
from ocs.agents.pysmurf_monitor.registrar import Registrar
from ocs.agents.pysmurf_monitor.remote_path import create_remote_path
from ocs.agents.pysmurf_monitor.report import Counters, Lost, Refusals
from ocs.agents.pysmurf_monitor.rescan import Rescan
from ocs.agents.pysmurf_monitor.roots import Roots
from ocs.agents.pysmurf_monitor.running import Run
from ocs.agents.pysmurf_monitor.state import State
from ocs.core.keeping import state_folder
from ocs.errors import DatabaseTroubleError, ReceiverError

__all__ = ["PysmurfMonitor", "create_remote_path", "main", "make_parser"]

SOCKET_BYTES = 64 << 20
"""The buffer that is asked of the kernel: a burst of some seconds."""

Result = tuple[bool, str]
Params = dict[str, Any] | None


class PysmurfMonitor:
    """Monitor of the pysmurf publishers of a server.

    Datagrams are taken from `begin` to `end`, by a process of its own, and wait on the disk; the process `run` works
    on them.

    Args:
        agent: the OCSAgent that this is the work of.
        args: the parsed arguments; see `make_parser`.

    Attributes:
        agent: the OCSAgent.
        log: its logger.
        file_queue: metadata (dicts) of files that were given to `datagramReceived`, until `run` takes them.
        db_path: the transfer database.
        running: whether `run` runs.
        echo_sql: whether every statement is logged.
    """

    def __init__(self, agent: Any, args: argparse.Namespace) -> None:
        self.agent = agent
        self.log = agent.log
        self.file_queue: queue.Queue[dict[str, Any] | None] = queue.Queue(MOST_QUEUED)
        self.db_path: str = str(Path(option(args, "db_path", str, DB_PATH)).absolute())
        self.running = False
        self.echo_sql = bool(option(args, "echo_sql", (bool, int), False))
        self.create_table = bool(option(args, "create_table", (bool, int), True))
        self.receiving: Receiving | None = None
        self._port: int = option(args, "udp_port", int, UDP_PORT)
        self._bind: str = option(args, "bind", str, "")
        self._journal_bytes: int = option(args, "journal_size", int, JOURNAL_BYTES)
        self._folder = _folder(agent, self.db_path)
        self._allowed = allowed_roots(args)
        self._roots = Roots(self._allowed, forbidden=[*_database_files(self.db_path), str(self._folder)])
        self._counters = Counters()
        self._refusals = Refusals(lambda line: self.log.warn("{line}", line=line))
        self._feeds = Feeds(agent, self._refusals.add, Ambiguous(self._folder / "names.json"))
        self._lost = Lost()
        self._run: Run | None = None
        self._stop_rescan = threading.Event()

    # Receiving

    def begin(self) -> "Deferred[None]":
        """Start to take datagrams; fires when that is under way. In the reactor's thread, once it runs."""
        self.receiving = Receiving(
            self.agent.reactor,
            self._folder / "journal",
            bind=self._bind,
            port=self._port,
            journal_bytes=self._journal_bytes,
            socket_bytes=SOCKET_BYTES,
            on_news=self._news,
            log=self.log,
        )
        return ensureDeferred(self._begin(self.receiving))

    async def _begin(self, receiving: Receiving) -> None:
        cursor = await deferToThread(self._read_cursor)
        if self.receiving is receiving:  # else it has ended meanwhile
            receiving.drop_before(cursor)
            receiving.start()
            ensureDeferred(self._tell_port(receiving)).addErrback(self._tell_failure)

    async def _tell_port(self, receiving: Receiving) -> None:
        try:
            port = await receiving.ready()
        except ReceiverError as error:
            self.log.error("{error}", error=error)
            return
        self.log.info(
            "takes datagrams at port {port} of {bind}; enters files below {roots} into {db}",
            port=port,
            bind=self._bind or "all interfaces",
            roots=", ".join(self._allowed) if self._allowed is not None else "any folder",
            db=self.db_path,
        )

    def _tell_failure(self, failure: Failure) -> None:
        self.log.error("{trace}", trace=failure.getTraceback())

    def _read_cursor(self) -> int:
        try:
            state = State(self._folder / "state.sqlite")
            try:
                return state.cursor
            finally:
                state.close()
        except DatabaseTroubleError as error:
            self.log.warn("{error}", error=error)
            return 0

    def end(self) -> "Deferred[None] | None":
        """Stop to take datagrams; fires when all that came is safe. In the reactor's thread."""
        receiving, self.receiving = self.receiving, None
        return receiving.stop() if receiving is not None else None

    def _news(self) -> None:
        run = self._run
        if run is not None and (pipeline := run.pipeline) is not None:
            pipeline.news()

    def _receiver_status(self) -> ReceiverStatus:
        receiving = self.receiving
        return receiving.status if receiving is not None else ReceiverStatus(running=True)

    def datagramReceived(self, _data: bytes | str, addr: tuple[str, int]) -> None:  # noqa: N802 - the documented name
        """Handle a datagram as if it had come through the socket, but without the journal. In the reactor's thread.

        Args:
            _data: the datagram.
            addr: host and port of its sender.
        """
        data = _data.encode("utf-8", "surrogatepass") if isinstance(_data, str) else bytes(_data)
        sender = ":".join(map(str, addr))
        try:
            found = parse(data)
        except RefusedError as error:
            self._refusals.add(error.reason, error.detail, data, sender)
            return
        if found is None:
            self._counters.ignored += 1
            return
        if not isinstance(found, Announcement):
            self._publish_now(self._feeds.prepare([(found, time.time())]))
            return
        try:
            self.file_queue.put_nowait(metadata_of(data))
        except queue.Full:
            self._counters.overflowed += 1

    def _take_queue(self, pipeline: Pipeline, timeout: float) -> None:
        """Hand on what `datagramReceived` has queued; wait so long (s) for it at most."""
        found = announcements(queued(self.file_queue, timeout), self._refusals)
        if found:
            pipeline.put(found)

    # Publishing

    def _publish(self, messages: Sequence[Arrived], done: Callable[[], None]) -> None:
        """Have the reactor publish; for the dispatcher's thread."""
        prepared = self._feeds.prepare(messages)

        def publish() -> None:
            self._publish_now(prepared)
            done()

        self.agent.reactor.callFromThread(publish)

    def _publish_now(self, prepared: Sequence[Outgoing]) -> None:
        self._counters.published += self._feeds.publish(prepared)

    # The process

    @ocs_agent.param("test_mode", default=False, type=bool, help="end when files have been processed")
    def run(self, session: ocs_agent.OpSession, params: Params = None) -> Result:
        """run(test_mode=False)

        **Process** - Enter the files that are announced into the transfer database, and publish messages.

        Parameters:
            test_mode (bool): End when one file or more have been processed. Default is False.

        Notes:
            Counters count from the agent's start; times are unix seconds, sizes bytes. The process is degraded while
            the database or the state file cannot be used, while datagrams are not taken or are lost, and when the
            journal is nearly full. ``pending`` are the first 50 of the files that are tried again, ``in_work`` those
            that are being hashed for more than 5 s::

                >>> response.session["data"]
                {"datagrams_received_total": 4711,
                 "datagrams_dropped_total": 0,
                 "datagrams_refused_total": 2,
                 "datagrams_ignored_total": 12,
                 "files_announced_total": 4020,
                 "files_queued": 3,
                 "files_hashed_total": 4016,
                 "bytes_hashed_total": 803200000,
                 "files_entered_total": 4010,
                 "files_known_total": 6,
                 "files_pending": 1,
                 "messages_published_total": 689,
                 "refused": {"not_json": 2},
                 "pending": [{"path": "/data/smurf_data/20260102/crate1slot2/1767312000/outputs/1767312007_iv.npy",
                              "since": 1767312008.1, "attempts": 3, "next": 1767312015.3, "reason": "is not there"}],
                 "database": {"path": "/data/so/databases/suprsync.db", "state": "ok", "message": "",
                              "since": 1767312000.0},
                 "receiver": {"port": 8200, "running": True, "buffer_bytes": 134217728, "journal_bytes": 1048576,
                              "waiting_bytes": 0, "kernel_drops": 0, "restarts": 0, "trouble": ""},
                 "in_work": [],
                 "last_entered": {"path": "/data/timestreams/17673/crate1slot2/1767312000_000.g3",
                                  "time": 1767312600.4}}
        """
        if session.status == "starting":  # where the function is called directly, nobody has said so yet
            session.set_status("running")
        run = Run(
            session,
            self._pipeline,
            self._take_queue,
            counters=self._counters,
            refusals=self._refusals,
            receiver=self._receiver_status,
            db_path=self.db_path,
            journal_bound=self._journal_bytes,
            lost=self._lost,
            log_failure=lambda trace: self.log.error("{trace}", trace=trace),
            test_mode=bool((params or {}).get("test_mode")),
        )
        self._run = run
        self.running = True
        try:
            return run.go()
        finally:
            self.running = False
            self._run = None

    def stop_run(self, session: ocs_agent.OpSession, params: Params = None) -> Result:
        """Have `run` enter what is hashed, note how far it is, and end."""
        run = self._run
        if run is None:
            return False, "run is not running."
        run.stop()
        if not self.file_queue.full():
            self.file_queue.put_nowait(None)
        return True, "Entering what is hashed."

    def _pipeline(self) -> Pipeline:
        """Make a pipeline.

        Raises:
            StateTroubleError: the state file cannot be used now.
        """
        state = State(self._folder / "state.sqlite")
        registrar = Registrar(Path(self.db_path), state, create_table=self.create_table, echo=self.echo_sql)
        return Pipeline(
            self._folder / "journal",
            state,
            registrar,
            self._hashers,
            self._publish,
            db_path=self.db_path,
            on_cursor=lambda index: self.agent.reactor.callFromThread(self._drop_before, index),
            counters=self._counters,
            refusals=self._refusals,
        )

    def _hashers(self, on_done: Callable[[list[Item]], None]) -> Hashers:
        return Hashers(self._roots, on_done=on_done)

    def _drop_before(self, index: int) -> None:
        if self.receiving is not None:
            self.receiving.drop_before(index)

    # The task

    @ocs_agent.param("path", type=str)
    @ocs_agent.param("since", default=0.0, type=float, unit="s")
    @ocs_agent.param("action", default="rescan", type=str)
    def rescan(self, session: ocs_agent.OpSession, params: Params = None) -> Result:
        """rescan(path, since=0, action="rescan")

        **Task** (abortable) - Enter the files below a folder that were announced while nobody listened.

        Parameters:
            path (str): The folder, below an allowed root.
            since (float): Leave out files that were changed before (unix s). Default is 0.
            action (str): The action in the remote path of files of which nothing else is known. Default is "rescan".

        Notes:
            Files that the table has are not read, so that a rescan can be repeated at any time; the process ``run``
            enters the others. Only files are taken that a publisher would have announced: timestreams
            (``.../{stream}/{name}.g3``) and output files (``.../{id}/{ctime}/{outputs or plots}/{name}``); those
            that somebody is writing are left out::

                >>> response.session["data"]
                {"path": "/data/timestreams/17673", "found": 420, "known": 380, "announced": 40,
                 "being_written": 1, "refused": 0, "skipped": 0,
                 "folder": "/data/timestreams/17673/crate1slot2", "examples": []}
        """
        given = params or {}
        pipeline = self._run.pipeline if self._run is not None else None
        if pipeline is None:
            return False, "The process run is not running: start it first."
        path = str(Path(str(given["path"])).absolute())
        if refusal := self._why_not(path):
            return False, refusal
        self._stop_rescan.clear()
        search = Rescan(
            path,
            float(given.get("since") or 0.0),
            str(given.get("action") or "rescan"),
            rows=pipeline.rows,
            sink=pipeline,
            stopped=lambda: self._stop_rescan.is_set() or pipeline.ending,
            tell=session.add_message,
            on_progress=lambda data: setattr(session, "data", data),
        )
        whole = search.run()
        return whole, ("" if whole else "Broken off. ") + search.progress.told()

    def _why_not(self, path: str) -> str:
        """Return why a folder is not looked through, or ""."""
        if not os.path.isdir(path):  # noqa: PTH112 - Path's raises for a name that no folder can have
            return f"{path[:300]} is not a folder here."
        if not self._roots.allows(str(Path(path).resolve())):
            return f"{path} is not below an allowed folder ({', '.join(self._allowed or ())}): see --allow-root."
        return ""

    def abort_rescan(self, session: ocs_agent.OpSession, params: Params = None) -> Result:
        """Have `rescan` end; what it has found so far is entered."""
        self._stop_rescan.set()
        return True, "Asked rescan to end."


def _folder(agent: Any, db_path: str) -> Path:
    """Return where journal and state are kept: the agent's own folder, or one beside the database."""
    realm = getattr(getattr(agent, "config", None), "realm", None)
    own = state_folder(getattr(agent, "site_args", None), realm, str(agent.agent_address))
    return own / "pysmurf-monitor" if own is not None else Path(f"{db_path}.monitor")


def _database_files(db_path: str) -> list[str]:
    return [db_path, f"{db_path}-wal", f"{db_path}-shm", f"{db_path}-journal"]


def main(args: Sequence[str] | None = None) -> None:
    """Run the agent.

    Args:
        args: the command line; that of the program unless given.
    """
    parsed = site_config.parse_args(agent_class="PysmurfMonitor", parser=make_parser(), args=args)
    agent, runner = ocs_agent.init_site_agent(parsed)
    monitor = PysmurfMonitor(agent, parsed)
    agent.register_process("run", monitor.run, monitor.stop_run, stopper_blocking=False)
    agent.register_task("rescan", monitor.rescan, monitor.abort_rescan, aborter_blocking=False)
    agent.reactor.callWhenRunning(_begin, agent, monitor, start=not parsed.test_mode)
    agent.reactor.addSystemEventTrigger("before", "shutdown", monitor.end)
    runner.run(agent, auto_reconnect=True)


def _begin(agent: Any, monitor: PysmurfMonitor, *, start: bool) -> None:
    """Start to receive, then to enter files, whether the router is there or not."""
    begun = monitor.begin()
    begun.addErrback(lambda failure: agent.log.error("{trace}", trace=failure.getTraceback()))
    if start:
        begun.addCallback(lambda _: agent.operations.start("run", None, agent.access.own_level))


if __name__ == "__main__":
    main()
