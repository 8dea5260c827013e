"""Keeps all instances of a host as they are wanted: carries out what `resolve` decides, whenever something happens."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from ocs import __version__
from ocs.agents.host_manager.alarm import Alarm
from ocs.agents.host_manager.board import Board
from ocs.agents.host_manager.children import Children
from ocs.agents.host_manager.commands import AgentCommands
from ocs.agents.host_manager.instances import HOSTED, ManagedInstance, steady_time
from ocs.agents.host_manager.levels import holds
from ocs.agents.host_manager.memory import Targets, load_targets
from ocs.agents.host_manager.readiness import Readiness
from ocs.agents.host_manager.reading import Reading, SiteReader
from ocs.agents.host_manager.report import child_state, describe_change, status_line
from ocs.agents.host_manager.requests import Request, apply_requests, apply_restarts
from ocs.agents.host_manager.resolve import resolve_child_state
from ocs.agents.host_manager.roster import Roster
from ocs.agents.host_manager.runner import NO_RUNNER, Runner
from ocs.agents.host_manager.services import Composed, follow_services, new_tags, service_pids
from ocs.agents.host_manager.usage import UsageWatch
from ocs.errors import OCSError
from ocs.scf.changes import changes
from ocs.supervisor import Child, Phase
from ocs.supervisor.forking import Template

__all__ = ["Manager", "Plan"]

TICK = 1.0
"""How often all is looked at though nothing has happened, in seconds."""
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
        make_compose: makes what looks after the docker services, given what to call on a change; None: there are none.
        make_template: makes what forks the children; None: each is started as a program of its own.
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
        make_compose: Callable[[Callable[[], None]], Composed] | None = None,
        make_template: Callable[[], Template] | None = None,
        on_status: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.plan = plan
        self.leave_running = plan.leave_running
        self.roster = Roster(self._make_runner, plan.service_prefix)
        self.board = Board(reactor, agent.log, self._data, self._line, on_status)
        self.children = Children(
            reactor,
            plan.state,
            reader,
            commands,
            log=agent.log,
            on_change=self._child_changed,
            make_template=make_template,
        )
        self._agent = agent
        self._log = agent.log
        self._reactor = reactor
        self._reader = reader
        self._readiness = Readiness(agent, plan.address_root, self._heard)
        self._targets = Targets(reactor, plan.state / "targets.json" if plan.state else None, self._log)
        self._usage = UsageWatch(reactor, plan.state or Path("/"), self._log)
        self._alarm = Alarm(reactor, self._turn)
        self.compose = make_compose(self.wake) if make_compose else None
        self._reading: Reading | None = None
        self._keeping = False
        self._stopping = False
        self._gone: Deferred[None] = Deferred()
        self._started = 0.0
        self._waiters: list[Deferred[bool]] = []

    @property
    def running(self) -> bool:
        """Whether the instances are kept now."""
        return self._keeping and not self._stopping

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
        self._stopping, self._started, self._gone = False, time.time(), Deferred()
        self.board.open(session)
        try:
            await self._begin(requests, reload_config=reload_config)
            self._keep()
            await self._gone
            self._keeping = False
            await self._finish()
        finally:
            self._keeping = False
            self._tell_waiters()
            self._alarm.stop()
            # Where all went well it is closed already; else what runs is left for the next run to take over.
            await self.children.close(leave_running=True)
            self.roster.clear()
            self.board.close()
        return "All that was managed is left running." if self.leave_running else "All that was managed is down."

    def _keep(self) -> None:
        self._keeping = True
        if self._stopping:
            self.stop()
        self._tell_waiters()
        self.wake()

    def when_begun(self) -> "Deferred[bool]":
        """Return a Deferred that fires when a run that is beginning has begun, with whether there is one to ask."""
        answer: Deferred[bool] = Deferred()
        self._waiters.append(answer)
        if self._keeping or not self.board.is_open:
            self._tell_waiters()
        return answer

    def _tell_waiters(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(self.running)

    def stop(self) -> None:
        """End: bring all instances down, or let go of them where they are to be left running."""
        self._stopping = True
        if not self.leave_running:
            for instance in self.roster.values():
                if not instance.passive_tracking:
                    instance.target_state, instance.bounce = "down", False
        self.wake()

    def disown_services(self) -> None:
        """Leave the docker services as they are from now on."""
        for instance in self.roster.values():
            if instance.management == "docker":
                instance.passive_tracking, instance.target_state = True, "passive"

    def hurry(self) -> None:
        """Waste no more time on those that are stopping: send each the next, harder signal."""
        self.children.hurry()

    async def _begin(self, requests: Sequence[Request], *, reload_config: bool) -> None:
        self.children.warm_up()
        remembered = await self._in_thread(load_targets, self._targets.path)
        earlier = await self._in_thread(self._reader.read_last_good)
        await self.children.open(lambda: not self._stopping, self._note_folder)
        if self.compose:
            self.compose.start()
        if reload_config or self._reading is None:
            await self.read_site()
        self._take(self._reading or earlier)
        self._adopt_leftovers()
        if earlier and self._reading:
            self.roster.require_restarts(changes(earlier.instances, self._reading.instances))
        self._set_first_targets(remembered)
        if self.plan.initial_state is None:
            self._leave_ended()
        self._complain_of(apply_requests(self.roster, requests))

    def _note_folder(self, text: str) -> None:
        self.board.note_trouble("state folder", text)
        self.board.show_soon()

    async def _finish(self) -> None:
        self._readiness.forget_all()
        if not self.leave_running:
            self._targets.remember({})
        await self.children.close(leave_running=self.leave_running)
        await self._targets.written()
        if self.compose:
            await self.compose.stop()

    def _set_first_targets(self, remembered: Mapping[str, str]) -> None:
        for instance in self.roster.values():
            wish = self.plan.initial_state or remembered.get(instance.instance_id)
            if wish and instance.management != "retired" and not instance.passive_tracking:
                instance.target_state = wish
                instance.wished = self.plan.initial_state is None

    def _leave_ended(self) -> None:
        """Leave down what has ended unseen, where no end is to be followed by a start."""
        for name, instance in self.roster.items():
            if instance.restart == "manual" and self.children.ended_unseen(name):
                self.board.say(f"{name} has ended while no manager was there, and stays down (restart: manual).")
                instance.target_state, instance.wished = "down", True

    def _adopt_leftovers(self) -> None:
        for name in self.children.leftovers():
            if name not in self.roster or self.roster[name].agent_script != HOSTED:
                # What the site config file no longer names is taken up, to be ended.
                self.roster.discard(name)
                self.roster.add(ManagedInstance("retired", "?", name, f"?:{name}", operable=True, agent_script=HOSTED))
            if child := self.children.adopt(name):
                self.board.say(f"{name} has been taken over: process {child.pid}.")
                self._readiness.expect(name, started=child.started)

    # The site config file

    async def read_site(self) -> bool:
        """Read the site config file, and follow it; a broken one changes nothing.

        Returns:
            Whether it could be read.
        """
        try:
            reading = await self._in_thread(self._reader.read)
        except OCSError as error:
            self.board.parsed(_SITE_FILE, ok=False, text=str(error))
            return False
        self.board.parsed(_SITE_FILE, ok=True, text=f"{len(reading.instances)} instances")
        self._reading = reading
        if self._keeping:
            self._take(reading)
        return True

    def _take(self, reading: Reading | None) -> None:
        if reading is None:
            return
        found = self.roster.take_reading(reading.instances)
        if self._keeping:
            for change in found:
                self.board.say(describe_change(change))
        self.wake()

    # Requests

    async def request(self, requests: Sequence[Request], *, reload_config: bool) -> list[str]:
        """Read the site config file if wanted, then set targets.

        Returns:
            What went wrong, a line each.
        """
        trouble = []
        if reload_config and not await self.read_site():
            trouble.append(self.board.parse_status[_SITE_FILE][2])
        if not self.running:
            return [*trouble, "The process manager has been stopped meanwhile: nothing is requested."]
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
        self.board.say(line)
        return [line]

    # Turns

    def wake(self) -> None:
        """Have all looked at in a moment: something has happened."""
        if self._keeping:
            self._alarm.set(0.0)

    def _turn(self) -> None:
        sleep = TICK
        try:
            sleep = self._look_at_all()
        except Exception:  # an error in the care for one must not end the care for all others
            self._log.failure("a turn of the manager failed")
        if self._stopping and self._all_gone():
            self._gone.callback(None)
        else:
            self._alarm.set(max(sleep, 0.01))

    def _look_at_all(self) -> float:
        now = steady_time()
        if self._stopping and self.leave_running:
            return TICK
        if self.compose:
            self._follow_compose(self.compose)
        held = {} if self._stopping else holds(self.roster.values(), now, linked=self._agent.realm_joined)
        sleeps = [TICK]
        for instance in list(self.roster.values()):
            instance.held = held.get(instance.instance_id, "")
            sleeps.append(self._look_at(instance, now))
        self._forget_retired()
        self._remember()
        self._usage.look([*self.children.pids(), *service_pids(self.roster)])
        self.board.note_trouble("ledger", self.children.trouble)
        self.board.show_soon()
        return min(sleeps)

    def _follow_compose(self, compose: Composed) -> None:
        follow_services(self.roster, compose, self.wake)
        for file, (ok, when, text) in compose.status.items():
            self.board.parsed(file, ok=ok, text=text, when=when)
        self.board.note_trouble("docker", compose.trouble)

    def _look_at(self, instance: ManagedInstance, now: float) -> float:
        """Do what is to be done about one instance; return when to look again at the latest, in seconds."""
        before = instance.next_action
        actions = resolve_child_state(instance, now)
        for line in actions["messages"]:
            self.board.say(line)
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
                self.children.forget(instance.instance_id)
        if gone and not self._stopping:
            self.roster.admit()
            self.wake()

    def _remember(self) -> None:
        if not self._stopping:
            self._targets.remember({name: each.target_state for name, each in self.roster.items() if each.wished})

    def _heard(self, instance_id: str) -> None:
        if instance_id in self.roster:
            self.roster[instance_id].ready = True
        self.wake()

    # Children

    def _make_runner(self, instance: ManagedInstance) -> Runner:
        return self.children.make_runner(instance.instance_id) if instance.agent_script == HOSTED else NO_RUNNER

    def _child_changed(self, child: Child) -> None:
        instance = self.roster.get(child.name)
        unasked = instance and instance.target_state == "up" and instance.next_action in ("up", "wait_start")
        if unasked and child.state.phase is Phase.DOWN and child.history:
            run = child.history[-1]
            self.board.say(f"{child.name}: {run.end}")
            for line in run.last_lines[-_LAST_LINES:]:
                self.board.say(f"{child.name}> {line}")
        self.wake()

    # What clients see

    def _data(self) -> dict[str, Any]:
        host = self._usage.host
        trouble = self.compose.trouble if self.compose else ""
        return {
            "child_states": [child_state(instance, self._usage.processes) for instance in self.roster.values()],
            "config_parse_status": {name: list(status) for name, status in self.board.parse_status.items()},
            "orphans": dict(self.compose.orphans) if self.compose else {},
            "new_tags": new_tags(self.roster, self.compose.new_tags) if self.compose else {},
            "docker": {"ok": not trouble, "message": trouble},
            "host": {"name": self.plan.host_name} if host is None else host.encoded(self.plan.host_name),
            "version": __version__,
            "started": self._started,
        }

    def _line(self) -> str:
        return "; ".join([status_line(self.roster.values()), *self.board.trouble.values()])

    async def _in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        return await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), function, *args)
