"""Helpers for tests of the supervisor: patience for tests, scripts as children, waiting, and a launcher."""

import ctypes
import signal
import subprocess
import sys
import textwrap
import time

from twisted.internet import reactor
from twisted.internet.task import deferLater

from ocs.supervisor import Command, Event, LaunchError, Policy, SendSignal, Supervisor
from ocs.supervisor.proc import read_stat

QUICK = Policy(
    stop_signals=(
        (SendSignal(signal.SIGINT), 0.5),
        (SendSignal(signal.SIGTERM), 0.5),
        (SendSignal(signal.SIGKILL, group=True), 5.0),
    ),
    first_delay=0.1,
    longest_delay=1.0,
    stable_after=30.0,
)

SLEEPER = """
    import time
    print("ready")
    time.sleep(1000)
"""

STUBBORN = """
    import signal, time
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ready")
    time.sleep(1000)
"""

_FORKER = """
import os, sys
output, gate = int(sys.argv[1]), int(sys.argv[2])
if pid := os.fork():
    print(pid, flush=True)
    os._exit(0)
os.setsid()
os.dup2(output, 1)
os.dup2(output, 2)
os.close(output)
if not os.read(gate, 1):
    os._exit(0)
os.close(gate)
os.execvp(sys.argv[3], sys.argv[3:])
"""


class Watcher:
    """A supervisor, and Deferreds for what happens to its children."""

    def __init__(self, path, policy=QUICK, **keywords):
        self.path = path
        self.phases = []
        self.supervisor = Supervisor(reactor, policy=policy, on_change=self.changed, **keywords)

    def command(self, script, name="child", log=True):
        path = self.path / f"{name.replace('/', '_')}.py"
        path.write_text(textwrap.dedent(script))
        log_file = path.with_suffix(".log") if log else None
        return Command(name, (sys.executable, "-u", str(path)), cwd=self.path, log_file=log_file)

    def start(self, script, name="child", log=True, policy=None):
        child = self.supervisor.add(self.command(script, name, log), policy)
        self.supervisor.tell(name, Event.WISH_UP)
        return child

    def changed(self, child):
        self.phases.append(child.state.phase)

    def told(self):
        return {child.name: (child.state, child.output.tail.lines()) for child in self.supervisor.children.values()}

    async def until(self, ready, seconds=15.0):
        """Return when ``ready()``, looked at every few milliseconds."""
        deadline = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < deadline, f"in vain: {self.told()}"
            await deferLater(reactor, 0.01)

    def prints(self, child, text):
        # Whole lines: between a line and its end a signal may come.
        return self.until(lambda: any(text in line for line in child.output.read_since(0, 400)[0]))

    def is_in(self, child, phase):
        return self.until(lambda: child.state.phase is phase)

    async def end(self):
        """End all children as quickly as can be, those that nobody has adopted too, and give the folder free."""
        for name in self.supervisor.leftovers():
            if name not in self.supervisor.children:
                self.supervisor.add(Command(name, ("true",)))
            self.supervisor.adopt(name)
        stopped = self.supervisor.stop()
        for _ in range(3):
            self.supervisor.hurry()
        await stopped
        await self.supervisor.release()


class Forker:
    """A launcher as the template is one: what it starts has been forked twice, and becomes the subreaper's child."""

    def __init__(self):
        self.pids = []

    async def __call__(self, command, output, gate):
        if "unlaunchable" in command.name:
            raise LaunchError("not this one")
        argv = [sys.executable, "-I", "-S", "-c", _FORKER, str(output), str(gate), *command.argv]
        fds, cwd = (output, gate), command.cwd
        done = subprocess.run(  # noqa: ASYNC221 - a launcher of milliseconds, for tests
            argv, pass_fds=fds, cwd=cwd, env=dict(command.env), capture_output=True, text=True, check=True, timeout=20
        )
        self.pids.append(int(done.stdout))
        return self.pids[-1]


def gone(pid):
    """Whether a process does not run."""
    stat = read_stat(pid)
    return stat is None or not stat.runs


def reap_no_more():
    """Undo what a supervisor with a launcher has asked the system for, in the process of the tests."""
    ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)
