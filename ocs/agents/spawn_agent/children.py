"""The processes of a spawn agent's components: started once, watched, found again by the next spawn agent."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from twisted.internet.threads import deferToThreadPool

from ocs.agents.spawn_agent.commands import Commands
from ocs.agents.spawn_agent.family import Member
from ocs.agents.spawn_agent.records import ExitNote, Record, RecordsFile, read_records, surplus
from ocs.agents.spawn_agent.requests import Wanted
from ocs.components.names import ComponentId, Prefix
from ocs.supervisor import Child, Command, Event, Policy, Supervisor
from ocs.supervisor.proc import stamp

__all__ = ["Children", "child_name"]

MOST_REMEMBERED = 200
"""How many components are remembered at least; beyond that, those that ended the longest ago are forgotten."""

_KEPT_LOGS = ("", ".1", ".2", ".3")


def child_name(component: ComponentId) -> str:
    """Return what a component's process is called, in files, logs and tasks: ``SequenceComponent.ESW.primary``."""
    return f"{component.component_type}.{quote(str(component.prefix), safe='')}"


def _component_of(name: str) -> ComponentId:
    component_type, _, prefix = unquote(name).partition(".")
    return ComponentId(Prefix.parse(prefix), component_type)


def _is_ours(name: str) -> bool:
    """Tell whether a child in the ledger is called as ours are: files get damaged."""
    try:
        return child_name(_component_of(name)) == name
    except ValueError:
        return False


class Children:
    """Starts components' processes, and remembers what has become of them. It restarts none, and ends none.

    Args:
        reactor: spawns, keeps the time and lends threads.
        commands: tell where output goes, and how processes are marked.
        state: the folder in which all is remembered; None: nothing outlives this process.
        on_change: called when a process has been started, has ended, or is remembered otherwise.

    Raises:
        SupervisorInUseError: another spawn agent uses the folder.
        OSError: the folder cannot be made.
    """

    def __init__(self, reactor: Any, commands: Commands, state: Path | None, on_change: Callable[[], None]) -> None:
        self.commands = commands
        self._reactor = reactor
        self._on_change = on_change
        self._file = RecordsFile(reactor, state / "components.json" if state else None)
        self.records = read_records(state / "components.json" if state else None)
        """What is remembered, by the names of children."""
        policy = Policy(restarts=False)
        self._supervisor = Supervisor(reactor, policy=policy, on_change=self._changed, state_dir=state)

    @property
    def trouble(self) -> str:
        """Why the next spawn agent would not find all that runs; empty while all is well."""
        return self._supervisor.trouble or self._file.trouble

    def take_over(self) -> list[str]:
        """Take over what an earlier spawn agent has left; return the names of what still runs."""
        left = [name for name in self._supervisor.leftovers() if _is_ours(name)]
        for name in left:
            # Where the disk has not taken the records, the name still tells.
            self.records.setdefault(name, Record(_component_of(name), ""))
        for name in self.records:
            self._supervisor.add(self.commands.command(name))
            self._note_exits(name)
        return [name for name in left if self._supervisor.adopt(name)]

    def child(self, name: str) -> Child | None:
        """Return a child, running or not; None if nobody knows it."""
        return self._supervisor.children.get(name)

    def names(self) -> list[str]:
        """Return the names of all children that are known."""
        return list(self._supervisor.children)

    def process(self, name: str) -> Member | None:
        """Return the process of a child; None if there is none."""
        child = self.child(name)
        if child is None or not child.state.alive or child.pid is None:
            return None
        # It is our child, not reaped yet, or watched: until then nobody else has its id.
        return Member(child.pid, stamp(child.pid) or "")

    def is_alive(self, name: str) -> bool:
        """Tell whether a child has a process, or is getting one."""
        child = self.child(name)
        return child is not None and child.state.alive

    def by_pid(self, pid: int) -> str | None:
        """Return the name of the child that has this process."""
        found = (child.name for child in self._supervisor.children.values() if child.pid == pid and child.state.alive)
        return next(found, None)

    def start(self, wanted: Wanted, command: Command) -> None:
        """Start a component's process.

        Args:
            wanted: the component; no process of it is there.
            command: how it is started.
        """
        if command.name in self._supervisor.children:
            self._supervisor.replace_command(command.name, command)
        else:
            self._supervisor.add(command)
        record = self.records.setdefault(command.name, Record(wanted.component, wanted.instance_id))
        record.instance_id = wanted.instance_id
        self._forget_old(command.name)
        self._save()
        self._supervisor.tell(command.name, Event.WISH_UP)

    def confirm(self, name: str) -> None:
        """Remember that a component's process has registered it."""
        if process := self.process(name):
            self.records[name].confirmed = process.stamp
            self._save()

    def is_confirmed(self, name: str) -> bool:
        """Tell whether it is remembered that the process of a child has registered its component."""
        process = self.process(name)
        return process is not None and self.records[name].confirmed == process.stamp

    def last_lines(self, name: str, lines: int) -> list[str]:
        """Return the last of what a child has printed in its last run."""
        child = self.child(name)
        if child is None:
            return []
        if not child.state.alive and child.history:
            return list(child.history[-1].last_lines)[-lines:]
        return child.output.tail.lines()[-lines:]

    async def close(self) -> None:
        """Let go of all: they run on, for the next spawn agent to take over."""
        await self._supervisor.release()
        await self._file.written()

    def _changed(self, child: Child) -> None:
        if not child.state.alive:
            self._note_exits(child.name)
        self._on_change()

    def _note_exits(self, name: str) -> None:
        """Remember the last end of a child, if that is new."""
        child, record = self._supervisor.children[name], self.records.get(name)
        if record is None or not child.history:
            return
        past = child.history[-1]
        note = ExitNote(past.started, past.ended, past.end.code, past.end.signum, str(past.end))
        if not (record.exits and _is_same(record.exits[-1], note)):
            record.exits.append(note)
            self._save()

    def _forget_old(self, beginning: str) -> None:
        kept = [beginning, *(name for name in self.records if self.is_alive(name))]
        for name in surplus(self.records, kept, MOST_REMEMBERED):
            del self.records[name]
            if name in self._supervisor.children:
                log_file = self._supervisor.children[name].command.log_file
                self._supervisor.remove(name)
                self._discard(log_file)

    def _discard(self, log_file: Path | None) -> None:
        if log_file:
            discarding = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), _unlink, log_file)
            discarding.addErrback(lambda _failure: None)

    def _save(self) -> None:
        self._file.save(self.records)
        self._on_change()


def _is_same(known: ExitNote, found: ExitNote) -> bool:
    """Tell whether an end is known already; one that was found late has the ledger's idea of when the run began."""
    return known == found or (found.code is found.signal is None and abs(known.started - found.started) < 1.0)


def _unlink(log_file: Path) -> None:
    for suffix in _KEPT_LOGS:
        log_file.with_name(log_file.name + suffix).unlink(missing_ok=True)
