"""A component for tests of the spawn agent: as naughty as its name says, in words separated by hyphens.

``good`` registers; ``silent`` never does; ``exits`` ends at once with code 3; ``crashes`` ends soon after it has
registered; ``misnamed`` registers under another name; ``slow`` joins and registers after 3 s; ``stubborn`` ignores
signals; ``forks`` starts a child, and a daemon that leads a session of its own; both ignore SIGTERM; ``floods`` prints
100 MB before it registers. Each notes its process ids in the folder in which it runs.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ocs import ocs_agent, site_config
from ocs.components.component import Component
from ocs.components.names import ComponentId, Prefix

package_name = "naughty"
agents = {"NaughtyComponent": {"module": "tests.harness.naughty_component", "entry_point": "main"}}

_IGNORING = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
_CAREFUL = """import signal, sys, time
def told(*_):
    open(sys.argv[1], "w").write(f"{time.monotonic()}")
    sys.exit(0)
signal.signal(signal.SIGTERM, told)
time.sleep(600)
"""


def install(directory: Path) -> dict[str, str]:
    """Make the plugin in a folder, and return the environment in which ocs finds it."""
    info = directory / "naughty-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: naughty\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[ocs.plugins]\nnaughty = tests.harness.naughty_component\n")
    checkout = Path(__file__).parent.parent.parent
    return {"PYTHONPATH": os.pathsep.join([str(directory), str(checkout), os.environ.get("PYTHONPATH", "")])}


def pids(directory: Path, name: str) -> list[int]:
    """Return the ids of all processes that a component has had and started."""
    path = directory / f"{name}.pids"
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--prefix", required=True)
    parsed = site_config.parse_args("NaughtyComponent", parser, args)
    prefix = Prefix.parse(parsed.prefix)
    traits = prefix.name.split("-")
    _note(prefix.name, os.getpid())
    print(f"{prefix} is {', '.join(traits)}", flush=True)
    if "forks" in traits:
        _fork(prefix.name)
    if "exits" in traits:
        print("there is no filter wheel", file=sys.stderr, flush=True)
        sys.exit(3)
    if "slow" in traits:
        time.sleep(3)
    if "floods" in traits:
        for number in range(100_000):
            print(f"{number:06} " + "x" * 993)
    agent, runner = ocs_agent.init_site_agent(parsed)
    _register(agent, prefix, traits)
    if "stubborn" in traits:
        # Later than the runner, which sets its own handlers when it begins.
        agent.reactor.callWhenRunning(agent.reactor.callLater, 0, _be_deaf)
    runner.run(agent, auto_reconnect=True)


def _register(agent: Any, prefix: Prefix, traits: list[str]) -> None:
    if "silent" in traits:
        return
    name = Prefix(prefix.subsystem, f"not_{prefix.name}") if "misnamed" in traits else prefix
    Component(agent, ComponentId(name, "SequenceComponent"), {})
    if "crashes" in traits:
        agent.on("join", lambda *_, **__: agent.reactor.callLater(1, os._exit, 7))


def _be_deaf() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _fork(name: str) -> None:
    own, none = Path.cwd(), subprocess.DEVNULL
    program = [sys.executable, "-c"]
    _note(name, subprocess.Popen([*program, _IGNORING]).pid)
    daemon = subprocess.Popen([*program, _IGNORING], start_new_session=True, stdin=none, stdout=none, stderr=none)
    _note(name, daemon.pid)
    _note(name, subprocess.Popen([*program, _CAREFUL, str(own / f"{name}.told")]).pid)
    # Its parent goes: the daemon is nobody's child any more.
    orphan = (
        "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', sys.argv[1]], start_new_session=True,"
    )
    orphan += " stdout=subprocess.DEVNULL).pid)"
    found = subprocess.run([*program, orphan, _IGNORING], stdout=subprocess.PIPE, check=True)
    _note(name, int(found.stdout))
    time.sleep(0.2)


def _note(name: str, pid: int) -> None:
    with (Path.cwd() / f"{name}.pids").open("a") as file:
        file.write(f"{pid}\n")
