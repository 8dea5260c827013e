"""A supervisor to be killed, round after round: `python -m tests.harness.supervising ROOT ROUNDS SEED [--launch]`.

Each round is a process of its own, forked from this one so that it need not import everything again; it adopts what the
round before has left, wants all children up, and restarts and stops some at random until it is killed at a random
moment. The last round leaves them alone, prints `settled` with the children's process ids when all run, and ends them
on SIGTERM.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from twisted.logger import globalLogPublisher, textFileLogObserver

from ocs.supervisor import Command, Event, Policy, SendSignal, Supervisor
from tests.harness.supervised import Forker

NAMES = [f"child-{n}" for n in range(6)]

_POLICY = Policy(
    stop_signals=((SendSignal(signal.SIGINT), 2.0), (SendSignal(signal.SIGKILL, group=True), 2.0)),
    first_delay=0.05,
    longest_delay=0.2,
)

# Says so if there is another of its name; every second one has a child of its own.
_CHILD = """
import fcntl, os, signal, sys
root, name = sys.argv[1:]
lock = open(f"{root}/{name}.lock", "w")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    open(f"{root}/duplicates", "a").write(name + "\\n")
print("began", os.getpid(), flush=True)
if int(name[-1]) % 2:
    os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "1000")
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
while True:
    signal.pause()
"""


class Round:
    """One supervisor, from its start to its being killed."""

    def __init__(self, reactor, root, chance, *, calm, launch):
        self._reactor = reactor
        self._chance = chance
        self._calm = calm
        self.supervisor = Supervisor(
            reactor,
            policy=_POLICY,
            state_dir=root / "state",
            launcher=Forker() if launch else None,
        )
        self._root = root

    def begin(self):
        left = self.supervisor.leftovers()
        with (self._root / "adopted").open("a") as file:
            file.write(f"{len(left)}\n")
        for name in NAMES:
            argv = (sys.executable, "-I", "-S", "-c", _CHILD, str(self._root), name)
            self.supervisor.add(Command(name, argv, env={**os.environ, "OCS_TEST_ROOT": str(self._root)}))
            if name in left:
                self.supervisor.adopt(name)
        for name in NAMES:
            self.supervisor.tell(name, Event.WISH_UP)
        if self._calm:
            self._report()
        else:
            self._disturb()

    def _disturb(self):
        name, event = self._chance.choice(NAMES), self._chance.choice([Event.RESTART, Event.WISH_DOWN, Event.WISH_UP])
        self.supervisor.tell(name, event)
        self._reactor.callLater(self._chance.uniform(0.0, 0.03), self._disturb)

    def _report(self):
        children = self.supervisor.children.values()
        if all(child.process and child.process.begun for child in children):
            print("settled", json.dumps({child.name: child.pid for child in children}), flush=True)
        else:
            self._reactor.callLater(0.02, self._report)


def run_round(root, seed, *, calm, launch):
    """Run until killed, or ended by SIGTERM."""
    from twisted.internet import reactor

    reactor.seconds = time.monotonic
    globalLogPublisher.addObserver(textFileLogObserver((root / "log").open("a")))
    current = Round(reactor, root, random.Random(seed), calm=calm, launch=launch)
    reactor.callWhenRunning(current.begin)
    reactor.addSystemEventTrigger("before", "shutdown", current.supervisor.stop)
    reactor.run()


def fork_round(root, seed, *, calm, launch):
    pid = os.fork()
    if pid == 0:
        try:
            run_round(root, seed, calm=calm, launch=launch)
        finally:
            sys.stdout.flush()
            os._exit(0)
    return pid


def main(root, rounds, seed, launch):
    chance = random.Random(seed)
    for n in range(rounds):
        pid = fork_round(root, seed + n, calm=False, launch=launch)
        # Some before anything has been adopted, most in the middle of the disturbances.
        time.sleep(chance.choice([0.0, 0.1, 0.3, 0.6]) + chance.uniform(0.0, 0.3))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    pid = fork_round(root, seed + rounds, calm=True, launch=launch)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
    os.waitpid(pid, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), "--launch" in sys.argv)
