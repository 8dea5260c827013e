"""Agents for tests of those who start agents: quick to start, without a router, and as naughty as they are told."""

import argparse
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ocs import site_config

package_name = "tiny"
agents = {"TinyAgent": {"module": "tests.harness.tiny_agent", "entry_point": "main"}}


def install(directory: Path) -> dict[str, str]:
    """Make the plugin in a folder, and return the environment in which ocs finds it."""
    info = directory / "tiny-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[ocs.plugins]\ntiny = tests.harness.tiny_agent\n")
    checkout = Path(__file__).parent.parent.parent
    return {"PYTHONPATH": os.pathsep.join([str(directory), str(checkout)])}


def duplicates(directory: Path) -> list[str]:
    """Return who found another of its name running, in the folder in which they run."""
    return [path.name for path in directory.glob("*.duplicate")]


def starts(directory: Path, instance_id: str) -> int:
    """Return how often an instance has been started."""
    path = directory / f"{instance_id}.starts"
    return len(path.read_text().splitlines()) if path.exists() else 0


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ignore-signals", action="store_true")
    parser.add_argument("--exit-at-once", type=int)
    parser.add_argument("--with-grandchild", action="store_true")
    parsed = site_config.parse_args("TinyAgent", parser, args)
    here = Path.cwd() / parsed.instance_id
    with here.with_suffix(".starts").open("a") as file:
        file.write(f"{os.getpid()}\n")
    lock = here.with_suffix(".lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        here.with_name(f"{here.name}.{os.getpid()}.duplicate").touch()
    if parsed.exit_at_once is not None:
        return int(parsed.exit_at_once)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN if parsed.ignore_signals else lambda *_: sys.exit(0))
    if parsed.with_grandchild:
        subprocess.Popen(["sleep", "1000"])
    print("ready", flush=True)
    while True:
        signal.pause()
