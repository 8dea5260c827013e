"""Keeps all instances of a host as they are wanted: carries out what `resolve` decides, whenever something happens."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from ocs.agents.host_manager.commands import AgentCommands
from ocs.agents.host_manager.hosted import HostedRunner
from ocs.agents.host_manager.instances import ManagedInstance, steady_time
from ocs.agents.host_manager.levels import holds
from ocs.agents.host_manager.memory import Targets
from ocs.agents.host_manager.readiness import Readiness
from ocs.agents.host_manager.reading import Reading, SiteReader
from ocs.agents.host_manager.report import child_state, status_line
from ocs.agents.host_manager.requests import Request, apply_requests, apply_restarts
from ocs.agents.host_manager.resolve import resolve_child_state
from ocs.agents.host_manager.roster import HOSTED, Roster
from ocs.agents.host_manager.runner import NO_RUNNER, Runner
from ocs.agents.host_manager.usage import HostUsage, Usage, UsageMeter
from ocs.errors import OCSError
from ocs.supervisor import Child, Command, Phase, Policy, Supervisor

__all__ = ["Manager", "Plan"]

TICK = 1.0
"""How often all is looked at though nothing has happened, in seconds."""
METER_EVERY = 10.0
"""How often processor and memory of the children are looked at, in seconds."""
REPORT_DELAY = 0.1
"""How long changes are gathered before clients see them, in seconds."""
_LAST_LINES = 5
_SITE_FILE = "[SCF]"


@dataclass(frozen=True)
class Plan:
    """What a manager is told at its start."""

    host_name: str
    address_root: str
    state: Path | None
    """The manager's own folder; None: nothing outlives it."""
    initial_state: str | None = None
    service_prefix: str = "ocs-"
    leave_running: bool = False


class Manager:
    """One manager; belongs to the reactor's thread.

    Args:
        agent: the OCSAgent, which subscribes and has the log.
        reactor: keeps the time and lends threads.
        plan: what it was told.
        reader: reads the site config file.
        commands: makes the commands of the children.
        launcher: starts children faster than plainly; None: plainly.
        on_status: called with a line that says how all do, whenever that changes.
    """

    def __init__(
        self,
        agent: Any,
        reactor: Any,
        plan: Plan,
        reader: SiteReader,
        commands: AgentCommands,
        *,
        launcher: Any = None,
        on_status: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.plan = plan
        self.leave_running = plan.leave_running
        self.roster = Roster(self._make_runner, plan.service_prefix)
        self.supervisor = Supervisor(
            reactor,
            policy=Policy(restarts=False),
            on_change=self._child_changed,
            state_dir=plan.state,
            launcher=launcher,
        )
        self._agent = agent
        self._log = agent.log
        self._reactor = reactor
        self._reader = reader
        self._commands = commands
        self._on_status = on_status
        self._readiness = Readiness(agent, plan.address_root, self._heard)
        self._targets = Targets(reactor, plan.state / "targets.json" if plan.state else None, self._log)
        self._meter = UsageMeter(plan.state.parent if plan.state and plan.state.parent.exists() else Path("/"))
        self._usage: tuple[dict[int, Usage], HostUsage | None] = ({}, None)
        self._metered = float("-inf")
        self._metering = False
        self._session: Any = None
        self._parse_status: dict[str, tuple[bool, float, str]] = {}
        self._reading: Reading | None = None
        self._next_turn: DelayedCall | None = None
        self._report_call: DelayedCall | None = None
        self._line = ""
        self._stopping = False
        self._gone: Deferred[None] | None = None
        self._started = 0.0

    @property
    def running(self) -> bool:
        """Whether the instances are kept now."""
        return self._session is not None and not self._stopping

    # The life of the process

    async def run(self, session: Any, requests: Sequence[Request], *, reload_config: bool) -> str:
        """Keep all instances until `stop`.

        Args:
            session: the operation's session.
            requests: targets to begin with.
            reload_config: read the site config file, even where an earlier run has.

        Returns:
            The last word.
        """
        self._session, self._stopping, self._started = session, False, time.time()
        self._gone = Deferred()
        try:
            await self._begin(requests, reload_config=reload_config)
            self.wake()
            await self._gone
            await self._finish()
        finally:
            self._cancel_calls()
            self._report()
            self._session = self._gone = None
        return "All that was managed is left running." if self.leave_running else "All that was managed is down."

    def stop(self) -> None:
        """End: bring all instances down, or let go of them where they are to be left running."""
        if self._session is None or self._stopping:
            return
        self._stopping = True
        for instance in self.roster.values():
            if not self.leave_running and not instance.passive_tracking:
                instance.target_state, instance.bounce = "down", False
        self.wake()

    def hurry(self) -> None:
        """Waste no more time on those that are stopping: send each the next, harder signal."""
        self.supervisor.hurry()

    async def _begin(self, requests: Sequence[Request], *, reload_config: bool) -> None:
        remembered = await self._in_thread(Targets.load, self._targets_file())
        await self._in_thread(self._make_folders)
        if reload_config or self._reading is None:
            await self.read_site()
        if self._reading is None:
            self._take(await self._in_thread(self._reader.read_last_good))
        else:
            self._take(self._reading)
        self._adopt_leftovers()
        self._set_first_targets(remembered)
        self._complain_of(apply_requests(self.roster, requests))

    async def _finish(self) -> None:
        if self.leave_running:
            await self._targets.written()
            await self.supervisor.release()
            return
        await self.supervisor.stop()
        self._targets.remember({})
        await self._targets.written()
        self._readiness.forget_all()
        for name in list(self.supervisor.children):
            self.supervisor.remove(name)
        self.roster.clear()

    def _set_first_targets(self, remembered: dict[str, str]) -> None:
        for instance in self.roster.values():
            wish = self.plan.initial_state or remembered.get(instance.instance_id)
            if wish and instance.management != "retired":
                instance.target_state = wish
                instance.wished = self.plan.initial_state is None

    def _adopt_leftovers(self) -> None:
        for name in self.supervisor.leftovers():
            if name not in self.roster or self.roster[name].agent_script != HOSTED:
                self._adopt_stranger(name)
            if self.supervisor.adopt(name):
                child = self.supervisor.children[name]
                self._say(f"{name} has been taken over: process {child.pid}.")
                self._readiness.expect(name, started=child.started)

    def _adopt_stranger(self, name: str) -> None:
        """Take up what the site config file no longer names, to end it."""
        self.roster.add(ManagedInstance("retired", "?", name, f"?:{name}", operable=True, agent_script=HOSTED))

    # The site config file

    async def read_site(self) -> bool:
        """Read the site config file, and follow it; a broken one changes nothing.

        Returns:
            Whether it could be read.
        """
        try:
            reading = await self._in_thread(self._reader.read)
        except OCSError as error:
            self._parse_status[_SITE_FILE] = (False, time.time(), str(error))
            self._say(f"The site config file cannot be used; its last good reading stays in force. {error}")
            return False
        self._parse_status[_SITE_FILE] = (True, reading.time, f"{len(reading.instances)} instances")
        self._reading = reading
        self._take(reading)
        return True

    def _take(self, reading: Reading | None) -> None:
        if reading is not None:
            self._reading = reading
            self.roster.take_reading(reading.instances)
        self.wake()

    # Requests

    async def request(self, requests: Sequence[Request], *, reload_config: bool) -> list[str]:
        """Read the site config file if wanted, then set targets.

        Returns:
            What went wrong, a line each.
        """
        trouble = []
        if reload_config and not await self.read_site():
            trouble.append(self._parse_status[_SITE_FILE][2])
        trouble += self._complain_of(apply_requests(self.roster, requests))
        self.wake()
        return trouble

    def restart(self, ids: Sequence[str]) -> list[str]:
        """Have instances end and start again.

        Returns:
            What went wrong, a line each.
        """
        trouble = self._complain_of(apply_restarts(self.roster, ids))
        self.wake()
        return trouble

    def _complain_of(self, unknown: Sequence[str]) -> list[str]:
        if not unknown:
            return []
        known = ", ".join(self.roster) or "none"
        line = f"There is no instance {', '.join(unknown)} here; known: {known}."
        self._say(line)
        return [line]

    # Turns

    def wake(self, delay: float = 0.0) -> None:
        """Have all looked at after ``delay`` seconds at the latest."""
        if self._session is None:
            return
        call = self._next_turn
        due = self._reactor.seconds() + delay
        if call is not None and call.active():
            if call.getTime() <= due:
                return
            call.cancel()
        self._next_turn = self._reactor.callLater(delay, self._turn)

    def _turn(self) -> None:
        try:
            sleep = self._look_at_all()
        except Exception:  # one record, or somebody else's code, must not end the care for all others
            self._log.failure("a turn of the manager failed")
            sleep = TICK
        if self._stopping and self._all_gone() and self._gone and not self._gone.called:
            self._gone.callback(None)
        else:
            self.wake(max(sleep, 0.01))

    def _look_at_all(self) -> float:
        now = steady_time()
        held = {} if self._stopping else holds(self.roster.values(), now, linked=self._agent.realm_joined)
        sleep = TICK
        for instance in list(self.roster.values()):
            instance.held = held.get(instance.instance_id, "")
            sleep = min(sleep, self._look_at(instance, now))
        self._forget_retired()
        self._remember()
        self._meter_now_and_then()
        self._report_soon()
        return sleep

    def _look_at(self, instance: ManagedInstance, now: float) -> float:
        """Do what is to be done about one instance; return when to look again at the latest, in seconds."""
        if self._stopping and self.leave_running:
            return TICK
        before = instance.next_action
        actions = resolve_child_state(instance, now)
        for line in actions["messages"]:
            self._say(line)
        if instance.prot and actions["launch"]:
            self._readiness.expect(instance.instance_id)
            instance.prot.up()
        if instance.prot and actions["terminate"]:
            self._readiness.forget(instance.instance_id)
            instance.prot.down()
        if instance.next_action == "up" != before and not instance.ready:
            self._expect_found(instance)
        return TICK if actions["sleep"] is None else float(actions["sleep"])

    def _expect_found(self, instance: ManagedInstance) -> None:
        """Listen for what was found running; when it began nobody knows."""
        if instance.instance_id in self.roster.wanted and not self._readiness.expects(instance.instance_id):
            self._readiness.expect(instance.instance_id, started=0.0)

    def _all_gone(self) -> bool:
        return self.leave_running or all(
            instance.passive_tracking or instance.next_action in ("down", "?") for instance in self.roster.values()
        )

    def _forget_retired(self) -> None:
        gone = self.roster.drop_retired()
        for instance in gone:
            self._readiness.forget(instance.instance_id)
            if instance.agent_script == HOSTED:
                self.supervisor.remove(instance.instance_id)
        if gone and not self._stopping:
            self.roster.admit()
            self.wake()

    def _remember(self) -> None:
        if not self._stopping:
            self._targets.remember(
                {name: instance.target_state for name, instance in self.roster.items() if instance.wished}
            )

    def _heard(self, instance_id: str) -> None:
        if instance_id in self.roster:
            self.roster[instance_id].ready = True
        self.wake()

    def link_up(self) -> None:
        """Go on with what has waited for the router."""
        self.wake()

    # Children

    def _make_runner(self, instance: ManagedInstance) -> Runner:
        if instance.agent_script != HOSTED:
            return NO_RUNNER
        name = instance.instance_id
        child = self.supervisor.add(self._commands.make(name, self._reader.site_file))
        return HostedRunner(self.supervisor, child, self._prepare_command, self._log)

    async def _prepare_command(self, name: str) -> Command:
        return self._commands.make(name, await self._in_thread(self._reader.file_for_children))

    def _child_changed(self, child: Child) -> None:
        instance = self.roster.get(child.name)
        unasked = instance and instance.target_state == "up" and instance.next_action in ("up", "wait_start")
        if unasked and child.state.phase is Phase.DOWN and child.history:
            run = child.history[-1]
            self._say(f"{child.name}: {run.end}")
            for line in run.last_lines[-_LAST_LINES:]:
                self._say(f"{child.name}> {line}")
        self.wake()

    # What clients see

    def _report_soon(self) -> None:
        if self._report_call is None or not self._report_call.active():
            self._report_call = self._reactor.callLater(REPORT_DELAY, self._report)

    def _report(self) -> None:
        usage, host = self._usage
        self._session.degraded = any(not ok for ok, _time, _text in self._parse_status.values())
        self._session.data = {
            "child_states": [child_state(instance, usage) for instance in self.roster.values()],
            "config_parse_status": {name: list(status) for name, status in self._parse_status.items()},
            "orphans": {},
            "new_tags": {},
            "docker": {"ok": True, "message": ""},
            "host": {} if host is None else host.encoded(self.plan.host_name),
            "version": _version(),
            "started": self._started,
        }
        line = status_line(self.roster.values())
        if line != self._line:
            self._line = line
            self._on_status(line)

    def _meter_now_and_then(self) -> None:
        if self._metering or self._reactor.seconds() - self._metered < METER_EVERY:
            return
        self._metering, self._metered = True, self._reactor.seconds()
        pids = [child.pid for child in self.supervisor.children.values() if child.pid is not None]
        self._start_thread(self._meter.look, pids).addCallbacks(self._take_usage, self._no_usage)

    def _take_usage(self, usage: Any) -> None:
        self._metering = False
        self._usage = usage

    def _no_usage(self, failure: Any) -> None:
        self._metering = False
        self._log.debug("cannot look at what processes use: {why}", why=failure.value)

    def _say(self, line: str) -> None:
        if self._session is not None:
            self._session.add_message(line)
        else:
            self._log.info("{line}", line=line)

    # Small things

    def _cancel_calls(self) -> None:
        for call in (self._next_turn, self._report_call):
            if call is not None and call.active():
                call.cancel()

    def _targets_file(self) -> Path | None:
        return self.plan.state / "targets.json" if self.plan.state else None

    def _make_folders(self) -> None:
        if self._commands.log_dir is not None:
            self._commands.log_dir.mkdir(parents=True, exist_ok=True)

    def _start_thread(self, function: Callable[..., Any], *args: Any) -> "Deferred[Any]":
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), function, *args)

    async def _in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        return await self._start_thread(function, *args)


def _version() -> str:
    from ocs import __version__  # noqa: PLC0415 - asked for when a report is made

    return __version__
