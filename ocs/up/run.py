"""Running a plan: the router, then the HostManager, which starts the agents, with an observer; and ending all of it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool

from ocs.errors import HostManagerError, OCSError, RouterError
from ocs.router.process import clear_leftovers, last_words, raise_open_files, router_command
from ocs.supervisor import Child, Command, Event, Ledger, Phase, Policy, Supervisor
from ocs.up.folder import DataFolder
from ocs.up.hub import Choice
from ocs.up.managed import ManagerReport, planned
from ocs.up.manager import MANAGER_POLICY, end_left_agents, manager_command
from ocs.up.observer import ManagerWatch, Observer
from ocs.up.plan import SitePlan
from ocs.up.rows import ROUTER, Known, Recording, Row, Summary, rows_of, summary_of, without_time

__all__ = ["SiteRun", "newest_file"]

_ROUTER_TIMEOUT = 60.0
"""How long a router may take to start, in seconds; crossbar takes three on an idle machine."""

_ROUTER_POLICY = Policy(first_delay=0.2)
"""All agents wait for the router, and each only so long: it does not wait itself before it starts again."""

_READY_INTERVAL = 0.1
"""How often it is asked whether the router is ready, in seconds."""

_JOIN_TIMEOUT = 10.0
"""How long a router that is there may take to let us in, in seconds."""


class SiteRun:
    """One run of a site.

    Args:
        reactor: everything happens in it.
        plan: what is to run.
        folder: where it is kept; open.
        on_change: called whenever a child has changed its phase.
        on_failure: called once if the run cannot go on; the caller is to `stop` it.
    """

    def __init__(
        self,
        reactor: Any,
        plan: SitePlan,
        folder: DataFolder,
        *,
        on_change: Callable[[], None],
        on_failure: Callable[[OCSError], None],
    ) -> None:
        self.plan = plan
        self.supervisor = Supervisor(reactor, on_change=self._changed)
        self.recording = Recording()
        self._reactor = reactor
        self._folder = folder
        self._on_change = on_change
        self._on_failure = on_failure
        self._observer = Observer(
            reactor, plan.hub.wamp_server, plan.hub.wamp_realm, plan.hub.address_root, plan.hub.keys
        )
        self._watch = ManagerWatch(reactor, self._observer, plan.address, self._told)
        self._ledger = Ledger(reactor, folder.ledger)
        self._report = ManagerReport(planned(plan.instances), reactor.seconds())
        self._looking = False
        self._starting: Deferred[None] | None = None
        self._stopping = False
        self._hurried = False
        self._over = False

    def start(self) -> None:
        """Start the router if the plan says so, then everything else."""
        self._starting = ensureDeferred(self._start())
        self._starting.addErrback(self._failed)

    async def stop(self) -> None:
        """End everything: the manager with its agents, then the router. Returns when all is gone."""
        self._stopping = True
        if self._starting:
            self._starting.cancel()
        await self.supervisor.stop([name for name in self.supervisor.children if name != ROUTER])
        # Nothing as a rule: a manager that has been killed could not end its agents.
        await self._in_thread(end_left_agents, self._folder, 0.5 if self._hurried else 10.0)
        self._over = True
        self._watch.stop()
        await self._observer.stop()
        await self.supervisor.stop()
        await self._ledger.written()

    def hurry(self) -> None:
        """Send the next, harder stop signal to all that have not ended yet."""
        self._hurried = True
        self.supervisor.hurry()

    def rows(self) -> list[Row]:
        """Return how everything does now."""
        now = self._reactor.seconds()
        return rows_of(
            Known(
                own=tuple(self.supervisor.children.values()),
                children=self._report.children,
                told_at=self._report.time,
                heard=self._observer.monitor.agents(now),
                now=now,
                linked=self._observer.joined,
                trouble=self._report.trouble,
                over=self._over,
            )
        )

    def summary(self, rows: Sequence[Row]) -> Summary:
        """Return the sums over ``rows``, and the newest recorded file as of a moment ago."""
        self._look_at_recording()
        return summary_of(rows, self.recording)

    async def _start(self) -> None:
        if self.plan.choice is Choice.USE:
            self._observer.start()
            await self._refuse_a_second_manager()
            self._start_manager()
        else:
            router = self._start_router()
            # It loads its programs while the router does, and lets agents wait for that.
            self._start_manager()
            await self._until_ready(router)
            self._observer.start()
        self._watch.start()

    async def _refuse_a_second_manager(self) -> None:
        """Make sure that nobody keeps this host's agents already."""
        waited_until = self._reactor.seconds() + _JOIN_TIMEOUT
        while not self._observer.joined and self._reactor.seconds() < waited_until:
            await deferLater(self._reactor, _READY_INTERVAL)
        if await self._observer.session_data(self.plan.address, "manager") is not None:
            raise HostManagerError(
                f"{self.plan.manager} runs already, and keeps the agents of {self.plan.host}: "
                "look at it with `ocsbow status`, or end it first"
            )

    def _start_router(self) -> Child:
        how = router_command(self._folder.router)
        log_file = self._folder.logs / f"{ROUTER}.log"
        command = Command(ROUTER, how.argv, how.env, self._folder.router, log_file)
        child = self.supervisor.add(command, _ROUTER_POLICY)
        self.supervisor.tell(ROUTER, Event.WISH_UP)
        return child

    async def _until_ready(self, child: Child) -> None:
        """Wait until the router takes connections."""
        host, port = self.plan.hub.listens_at
        waited_until = self._reactor.seconds() + _ROUTER_TIMEOUT
        while not await self._connects(host, port):
            if self._reactor.seconds() > waited_until:
                raise RouterError(f"the router was not ready within {_ROUTER_TIMEOUT:g} s: see {self._log_of(child)}")
            await deferLater(self._reactor, _READY_INTERVAL)
        child.ready = True
        self._on_change()

    async def _connects(self, host: str, port: int) -> bool:
        endpoint: Any = HostnameEndpoint(self._reactor, host, port, timeout=2)
        try:
            protocol = await endpoint.connect(Factory.forProtocol(Protocol))
        except ConnectError:
            return False
        protocol.transport.loseConnection()
        return True

    def _start_manager(self) -> None:
        self.supervisor.add(manager_command(self.plan, self._folder), MANAGER_POLICY)
        self.supervisor.tell(self.plan.manager, Event.WISH_UP)

    def _told(self, report: ManagerReport) -> None:
        """Take what the manager has told."""
        news = report.gist != self._report.gist
        self._report = report
        manager = self.supervisor.children[self.plan.manager]
        manager.ready = manager.state.phase is Phase.UP
        if news:
            self._on_change()

    def _changed(self, child: Child) -> None:
        pids = {name: each.pid for name, each in self.supervisor.children.items() if each.pid is not None}
        self._ledger.record(pids)
        if not self._stopping:
            (self._follow_router if child.name == ROUTER else self._follow_manager)(child)
        self._on_change()

    def _follow_router(self, child: Child) -> None:
        if _never_ran(child):
            ensureDeferred(self._explain_end_of_router(child)).addErrback(self._failed)
        elif child.state.phase is Phase.WAITING:
            self._in_thread(clear_leftovers, self._folder.router).addErrback(lambda _failure: None)
        elif child.state.phase is Phase.UP and child.pid:
            raise_open_files(child.pid)
        if child.state.phase is Phase.UP and child.state.starts > 1:
            ensureDeferred(self._until_ready(child)).addErrback(lambda _failure: None)

    async def _explain_end_of_router(self, child: Child) -> None:
        end, log = child.state.last_exit, self._log_of(child)
        await child.output.drained()
        words = await self._in_thread(last_words, log)
        raise RouterError(f"the router did not start ({end}): {words}; all it said is in {log}")

    def _follow_manager(self, child: Child) -> None:
        if _never_ran(child):
            why = f"{child.name} did not start ({child.state.last_exit})"
            words = without_time(child.output.tail.last_line())
            log = f"all it said is in {self._log_of(child)}"
            self._give_up(HostManagerError(f"{why}: {words}; {log}" if words else why))

    def _failed(self, failure: Any) -> None:
        if failure.check(CancelledError):
            return
        error = failure.value
        self._give_up(error if isinstance(error, OCSError) else OCSError(f"{type(error).__name__}: {error}"))

    def _give_up(self, error: OCSError) -> None:
        if not self._stopping:
            self._stopping = True
            self._on_failure(error)

    def _log_of(self, child: Child) -> Path:
        return child.command.log_file or self._folder.logs

    def _in_thread(self, function: Callable[..., Any], *args: Any) -> "Deferred[Any]":
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), function, *args)

    def _look_at_recording(self) -> None:
        """Look in a thread, one look at a time, what the newest file is."""
        if self.plan.records_to is None or self._looking:
            return
        self._looking = True
        looking = self._in_thread(newest_file, self.plan.records_to)
        looking.addCallbacks(self._looked, lambda _failure: self._looked(Recording()))

    def _looked(self, recording: Recording) -> None:
        self._looking = False
        self.recording = recording


def _never_ran(child: Child) -> bool:
    """Return whether a child has ended at its first start, before it did any work."""
    return child.state.phase is Phase.WAITING and child.state.starts == 1 and not child.ready


def newest_file(folder: Path) -> Recording:
    """Return the newest recorded file below a folder of the aggregator; its names sort by time. Blocks."""
    try:
        newest = max((path for path in folder.iterdir() if path.is_dir()), default=None, key=lambda path: path.name)
        if newest is None:
            return Recording()
        file = max(newest.glob("*.g3"), default=None, key=lambda path: path.name)
        return Recording(str(file), file.stat().st_size) if file else Recording()
    except OSError:
        # Not made yet, or a file that went while we looked.
        return Recording()
