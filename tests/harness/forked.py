"""Agents started both ways, plainly and by a template, through the same supervisor; and what they saw."""

import json
import os
import sys
import textwrap
import time
from dataclasses import dataclass

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater

from ocs.supervisor import Command, Event, Phase, Policy, Supervisor
from ocs.supervisor.forking import Template
from ocs.supervisor.proc import become_subreaper
from tests.harness.supervised import reap_no_more

PATIENCE = 40.0
OUR_OWN = b"  --- "
"""How lines begin that the supervisor has added to a log."""

ONCE = Policy(restarts=False)


@dataclass(frozen=True)
class Run:
    """How an agent ran, and how it ended."""

    output: bytes
    code: int | None
    signum: int | None

    @property
    def text(self):
        return self.output.decode(errors="replace")


class Log:
    """Remembers what would be logged."""

    def __init__(self):
        self.lines = []

    def warn(self, text, **values):
        self.lines.append(text.format(**values))

    info = debug = warn


class Starter:
    """Starts agents in a folder, plainly or by a template, which is made once it is needed.

    Attributes:
        launches: for each start by the template its process id, or why it was refused.
    """

    def __init__(self, folder, **keywords):
        self.folder = folder
        self.log = Log()
        self.launches = []
        self.template = Template(reactor, log=self.log, **keywords)
        self._number = 0
        self._supervisors = []

    def env(self, **more):
        env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COVERAGE", "COV_"))}
        return {**env, "PYTHONUNBUFFERED": "1", "OCS_STATE_DIR": str(self.folder / "state"), **more}

    def script(self, text, name="agent.py"):
        path = self.folder / name
        path.write_text(textwrap.dedent(text))
        return path

    def command(self, *words, env=None, cwd=None):
        self._number += 1
        argv = (sys.executable, "-m", "ocs.agent_cli", *map(str, words))
        log = self.folder / f"output-{self._number}.log"
        return Command(f"agent-{self._number}", argv, self.env() if env is None else env, cwd or self.folder, log)

    async def launch(self, *request):
        """Launch, and remember what came of it: a `Launcher`."""
        try:
            self.launches.append(await self.template.launch(*request))
        except OSError as error:
            self.launches.append(str(error))
            raise
        return self.launches[-1]

    def begin(self, command, forked):
        """Start an agent; return its child."""
        supervisor = Supervisor(
            reactor, policy=ONCE, launcher=self.launch if forked else None, state_dir=self.folder / command.name
        )
        self._supervisors.append(supervisor)
        child = supervisor.add(command)
        supervisor.tell(command.name, Event.WISH_UP)
        return child

    async def until(self, ready):
        """Return when ``ready()``, looked at every few milliseconds."""
        deadline = time.monotonic() + PATIENCE
        while not ready():
            assert time.monotonic() < deadline, f"in vain: {self.told()}"
            await deferLater(reactor, 0.01)

    def told(self):
        children = [child for supervisor in self._supervisors for child in supervisor.children.values()]
        return self.launches, self.log.lines, [child.output.tail.lines() for child in children]

    async def finish(self, child):
        """Wait for the end of an agent."""
        await self.until(lambda: child.history and child.state.phase is Phase.DOWN)
        await child.output.drained()
        end = child.history[-1].end
        written = child.command.log_file.read_bytes() if child.command.log_file.exists() else b""
        lines = [line for line in written.splitlines(keepends=True) if not line.startswith(OUR_OWN)]
        return Run(b"".join(lines), end.code, end.signum)

    async def run(self, *words, forked, **keywords):
        """Run an agent to its end."""
        if forked:
            before = len(self.launches)
        ended = await self.finish(self.begin(self.command(*words, **keywords), forked))
        if forked:
            assert isinstance(self.launches[before], int), self.launches
        return ended

    async def both(self, *words, **keywords):
        """Run an agent both ways: (plain, forked)."""
        plain = await self.run(*words, forked=False, **keywords)
        return plain, await self.run(*words, forked=True, **keywords)

    async def seen(self, text, *words, **keywords):
        """Run a script both ways that defines ``look()``; return what it returned, each time."""
        path = self.script(_LOOK.format(look=textwrap.dedent(text)))
        runs = await self.both("--agent", path, "--instance-id", "it", *words, **keywords)
        return tuple(json.loads(run.text.splitlines()[-1]) if run.code == 0 else run.text for run in runs)

    async def end(self):
        for supervisor in self._supervisors:
            stopped = supervisor.stop()
            for _ in range(3):
                supervisor.hurry()
            await stopped
            await supervisor.release()
        await self.template.stop()


_LOOK = """
import json, os, sys
{look}
def main(args):
    print(json.dumps(look()))
"""


def starting(folder, **keywords):
    """Yield a starter, for a fixture."""
    become_subreaper()
    starter = Starter(folder, **keywords)
    yield starter
    pytest_twisted.blockon(ensureDeferred(starter.end()))
    reap_no_more()
