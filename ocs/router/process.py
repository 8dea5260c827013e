"""The crossbar process: started in its node directory, watched until ready, ended with all its workers."""

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ocs.errors import RouterError
from ocs.router import config as router_config
from ocs.router import health
from ocs.router.ports import busy_url

__all__ = [
    "Command",
    "clear_leftovers",
    "last_words",
    "prepare",
    "raise_open_files",
    "router_command",
    "running_pid",
    "spawn",
    "start_detached",
    "stop_tree",
    "wait_until_ready",
]

LOG_NAME = "crossbar.log"
PID_NAME = "node.pid"
POLL_S = 0.05

_EVERY_PYTHON = Path(__file__).with_name("every_python")
"""Has what bounds how deep a message can be nested."""

_NOISE = re.compile(r"^Traceback|^Invalid node configuration|^crossbar\.common\.checkconfig|shutting down")
"""Lines of crossbar's log that do not tell why it ended."""

_FAILED_PART = re.compile(r"""error=<wamp\.error\.runtime_error>, args=\[(['"])(.*?)\1\]""")
"""What a part of the router, such as the guard of a closed one, gave as the reason why it cannot work."""

_NUMPY_NOISE = re.compile(r"^A module that was compiled using NumPy.*?_ARRAY_API not found$", re.DOTALL | re.MULTILINE)
"""What a serializer that we do not use says of itself at every start, where it was built for an older NumPy."""


@dataclass(frozen=True)
class Command:
    """How to start the router, for whoever supervises it.

    Attributes:
        argv: the program and its arguments.
        env: the whole environment.
        directory: crossbar's node directory.
        log: where its output belongs.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    directory: Path
    log: Path


def router_command(directory: Path, *, binary: str | None = None) -> Command:
    """Tell how to start crossbar in a node directory.

    Args:
        directory: the node directory, with its ``config.json``.
        binary: the crossbar program; None looks beside the running Python first, then along ``PATH``.

    Raises:
        RouterError: crossbar is not installed.
    """
    directory = directory.absolute()
    program = binary or _find_binary()
    quiet = ("--loglevel", "warn", "--logformat", "none", "--color", "false")
    argv = (program, "start", "--cbdir", str(directory), *quiet)
    path = os.pathsep.join(filter(None, (str(_EVERY_PYTHON), os.environ.get("PYTHONPATH"))))
    return Command(argv, {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": path}, directory, directory / LOG_NAME)


def _find_binary() -> str:
    beside = Path(sys.executable).with_name("crossbar")
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("crossbar")
    if found is None:
        raise RouterError("crossbar, the router, is not installed: run `pip install 'ocs[router]'`")
    return found


def prepare(config: Mapping[str, Any], directory: Path) -> None:
    """Make a node directory ready for a start: write its configuration, clear what a killed router left there.

    Raises:
        RouterError: a router is running from this directory, or it cannot be written to.
    """
    clear_leftovers(directory)
    router_config.write(config, directory)


def clear_leftovers(directory: Path) -> None:
    """Remove the lock of a router that was killed, and put the log of the last run aside.

    Crossbar looks only whether the process number in its lock exists and is a crossbar; after a kill that number may
    belong to somebody else's router, so we compare when the two began.

    Raises:
        RouterError: the lock's owner is alive.
    """
    owner = running_pid(directory)
    if owner is not None:
        raise RouterError(
            f"a router already runs from {directory} (pid {owner}): stop it with `ocs-local-support stop crossbar`"
        )
    log = directory / LOG_NAME
    try:
        (directory / PID_NAME).unlink(missing_ok=True)
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
    except OSError as error:
        raise RouterError(f"cannot write to {directory}: {error.strerror}; its files must be yours") from error


def running_pid(directory: Path) -> int | None:
    """Return the process id of the router that runs from a node directory, or None."""
    lock = directory / PID_NAME
    try:
        pid, written = int(json.loads(lock.read_text())["pid"]), lock.stat().st_mtime
        process = psutil.Process(pid)
        older = process.create_time() <= written + 1
        crossbar = "crossbar" in " ".join(process.cmdline())  # a zombie has no command line
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None
    return pid if older and crossbar else None


def last_words(log: Path, lines: int = 2) -> str:
    """Condense the end of crossbar's log into one line: its last lines that say something."""
    try:
        text = log.read_text(errors="replace")[-20_000:]
    except OSError:
        return "no log"
    text = _NUMPY_NOISE.sub("", text)
    spoken = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith((" ", "]"))]
    telling = [line for line in spoken if not _NOISE.search(line)]
    causes = [cause for line in telling if (cause := _cause_in(line))]
    return "; ".join(dict.fromkeys((causes or telling)[-lines:])) or "nothing in its log"


def _cause_in(line: str) -> str:
    if line.startswith("twisted.internet.error."):
        return line.partition("Error: ")[2]
    part = _FAILED_PART.search(line)
    return part[2].replace("\\'", "'") if part else ""


def stop_tree(pid: int, *, how: signal.Signals = signal.SIGTERM, timeout: float = 10.0) -> None:
    """End a process and everything it started; what has not gone within ``timeout`` seconds is killed.

    Args:
        pid: the process.
        how: the polite signal, given to the process itself; it is expected to stop its children.
        timeout: in seconds.
    """
    try:
        head = psutil.Process(pid)
        family = [head, *head.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    _signal(head, how)
    if how != signal.SIGKILL:
        _wait_gone(family, timeout)
    for process in family:
        _signal(process, signal.SIGKILL)
    _wait_gone(family, 5)


def _wait_gone(family: Sequence[psutil.Process], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not all(_is_gone(process) for process in family) and time.monotonic() < deadline:
        time.sleep(POLL_S / 5)


def _is_gone(process: psutil.Process) -> bool:
    """Tell whether a process has ended, be it reaped or not: an orphan is reaped by init, in init's own time."""
    try:
        return not process.is_running() or (process.status() == psutil.STATUS_ZOMBIE and not _has_threads(process.pid))
    except psutil.NoSuchProcess:
        return True


def _has_threads(pid: int) -> bool:
    """Tell whether an ended process still has threads on their way out, which hold its sockets until they are."""
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except OSError:
        return False


def _signal(process: psutil.Process, how: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(how)


def start_detached(command: Command, ws_url: str, realm: str, timeout: float = 30.0) -> int:
    """Start a router that outlives this program, from the configuration that is in its directory.

    Args:
        command: from `router_command`.
        ws_url: where it is expected to take WAMP sessions.
        realm: the realm that it is expected to serve.
        timeout: in seconds.

    Returns:
        Its process id.

    Raises:
        RouterError: it did not come up; nothing is left running.
    """
    clear_leftovers(command.directory)
    if health.check(ws_url, realm, 2.0).stage != "tcp":
        raise RouterError(busy_url(ws_url))
    child = spawn(command)
    try:
        wait_until_ready(child, command.log, ws_url, realm, timeout)
    except BaseException:
        stop_tree(child.pid, how=signal.SIGKILL)
        child.wait()
        raise
    child.returncode = 0  # disowned: it is no leak that this program ends first
    return child.pid


def wait_until_ready(child: "subprocess.Popen[bytes]", log: Path, ws_url: str, realm: str, timeout: float) -> None:
    """Wait until the router takes sessions.

    Args:
        child: crossbar's controller.
        log: the file that it prints to.
        ws_url: where it will take WAMP sessions.
        realm: the realm that it will serve.
        timeout: in seconds.

    Raises:
        RouterError: it ended, or was not ready in time.
    """
    deadline = time.monotonic() + timeout
    while child.poll() is None:
        state = health.check(ws_url, realm, 2.0)
        if state.ok:
            return
        if time.monotonic() > deadline:
            raise RouterError(f"the router was not ready within {timeout:g} s: {_cause(state, log)} (log: {log})")
        time.sleep(POLL_S)
    raise RouterError(f"the router did not start: {last_words(log)} (log: {log})")


def _cause(state: health.Health, log: Path) -> str:
    return last_words(log) if state.stage == "tcp" else state.message


def spawn(command: Command) -> subprocess.Popen[bytes]:
    """Start the router, in a session and process group of its own.

    Raises:
        RouterError: the program cannot be run, or its log not be written.
    """
    try:
        with command.log.open("ab") as log:
            child = subprocess.Popen(
                command.argv,
                env=command.env,
                cwd=command.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    except OSError as error:
        raise RouterError(f"cannot run {command.argv[0]} in {command.directory}: {error.strerror}") from error
    raise_open_files(child.pid)
    return child


def raise_open_files(pid: int) -> None:
    """Let a process, and what it starts, open as many files as the system allows: each agent is a socket."""
    with contextlib.suppress(OSError, ValueError):
        _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
