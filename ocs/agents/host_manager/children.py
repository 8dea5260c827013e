"""The processes of one run of the manager: the supervisor that keeps them, and the template that forks them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool

from ocs.agents.host_manager.commands import AgentCommands
from ocs.agents.host_manager.hosted import HostedRunner
from ocs.agents.host_manager.reading import SiteReader
from ocs.agents.host_manager.runner import NO_RUNNER, Runner
from ocs.errors import SupervisorInUseError
from ocs.supervisor import Child, Command, Policy, Supervisor
from ocs.supervisor.forking import Template

__all__ = ["Children"]

TRY_AGAIN = 1.0
"""How often it is tried to use a folder that another manager has, in seconds."""


class Children:
    """Starts, ends, takes over and lets go of the processes of this host's agents.

    Args:
        reactor: keeps the time and lends threads.
        state: the folder that says what runs; None: nothing outlives this process.
        reader: says which site config file agents are to read.
        commands: makes the command of an agent.
        log: tells of trouble with a start.
        on_change: called with a child that has changed.
        make_template: makes what forks them; None: each is started as a program of its own.
    """

    def __init__(
        self,
        reactor: Any,
        state: Path | None,
        reader: SiteReader,
        commands: AgentCommands,
        *,
        log: Any,
        on_change: Callable[[Child], None],
        make_template: Callable[[], Template] | None = None,
    ) -> None:
        self._reactor = reactor
        self._state = state
        self._reader = reader
        self._commands = commands
        self._log = log
        self._on_change = on_change
        self._make_template = make_template
        self._template: Template | None = None
        self._supervisor: Supervisor | None = None

    def warm_up(self) -> None:
        """Have the template load what agents need."""
        if self._make_template and not self._template:
            self._template = self._make_template()
            self._template.start()

    async def open(self, wanted: Callable[[], bool], complain: Callable[[str], None]) -> None:
        """Take the folder as soon as an earlier manager lets go of it: two would fight over its processes.

        Args:
            wanted: whether it still is to be taken.
            complain: called with what keeps us from it; with an empty text once nothing does any more.
        """
        while wanted() and self._supervisor is None:
            try:
                self._supervisor = self._new_supervisor(self._state)
                complain("")
            except SupervisorInUseError as error:
                complain(str(error))
            except OSError as error:
                complain(f"{self._state} cannot be used: {error.strerror}; agents would end with their manager")
                if self._state is not None and not self._state.exists():
                    # Nobody can have left anything there.
                    self._supervisor = self._new_supervisor(None)
            if self._supervisor is None:
                await deferLater(self._reactor, TRY_AGAIN)

    def _new_supervisor(self, state: Path | None) -> Supervisor:
        return Supervisor(
            self._reactor,
            policy=Policy(restarts=False),
            on_change=self._on_change,
            state_dir=state,
            launcher=self._template.launch if self._template else None,
        )

    async def close(self, *, leave_running: bool) -> None:
        """End all processes, or let go of them, and give the folder free."""
        if self._supervisor:
            if not leave_running:
                await self._supervisor.stop()
            await self._supervisor.release()
        if self._template:
            await self._template.stop()
        self._supervisor = self._template = None

    @property
    def trouble(self) -> str:
        """Why the next manager would not find all that runs; empty while all is well."""
        return self._supervisor.trouble if self._supervisor else ""

    def leftovers(self) -> list[str]:
        """Return the names of what an earlier manager has left running."""
        return list(self._supervisor.leftovers()) if self._supervisor else []

    def make_runner(self, name: str) -> Runner:
        """Return what starts and stops an agent."""
        if self._supervisor is None:
            return NO_RUNNER
        child = self._supervisor.add(self._commands.make(name, self._reader.site_file))
        return HostedRunner(self._supervisor, child, self._prepare, self._log)

    def adopt(self, name: str) -> Child | None:
        """Take over what an earlier manager has left of an agent; None if it has ended meanwhile."""
        supervisor = self._supervisor
        return supervisor.children[name] if supervisor and supervisor.adopt(name) else None

    def ended_unseen(self, name: str) -> bool:
        """Tell whether an agent has ended while no manager was there, other than with the whole machine."""
        child = self._supervisor.children.get(name) if self._supervisor else None
        if child is None or not child.history or child.state.alive:
            return False
        return child.history[-1].end.unknown and child.history[-1].started > psutil.boot_time()

    def forget(self, name: str) -> None:
        """Forget an agent that is down."""
        if self._supervisor and name in self._supervisor.children:
            self._supervisor.remove(name)

    def hurry(self) -> None:
        """Send those that are stopping the next, harder signal."""
        if self._supervisor:
            self._supervisor.hurry()

    def pids(self) -> list[int]:
        """Return the process ids of all that run."""
        children = self._supervisor.children.values() if self._supervisor else ()
        return [child.pid for child in children if child.pid is not None]

    async def _prepare(self, name: str) -> Command:
        """Return the command of an agent as the files say now."""
        site_file = await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), self._make_ready)
        return self._commands.make(name, site_file)

    def _make_ready(self) -> str:
        """See that output can be kept, and return the site config file. Blocks."""
        if self._commands.log_dir is not None:
            self._commands.log_dir.mkdir(parents=True, exist_ok=True)
        return self._reader.file_for_children()
