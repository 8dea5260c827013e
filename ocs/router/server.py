"""The crossbar router as a child process: started, waited for, stopped, with nothing left behind."""

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from ocs.errors import RouterError
from ocs.router import config as router_config
from ocs.router import health

__all__ = ["Command", "Router", "free_port", "last_words", "prepare", "require_port", "router_command", "stop_tree"]

LOG_NAME = "crossbar.log"
PID_NAME = "node.pid"
POLL_S = 0.05


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


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port that nothing listens at now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def require_port(host: str, port: int) -> None:
    """Make sure that a port can be listened at.

    Raises:
        RouterError: it cannot; names who holds it where that can be told.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError as error:
            raise RouterError(f"port {port} needs privileges that you do not have; choose one over 1023") from error
        except OSError as error:
            raise RouterError(_busy(host, port, error)) from error


def _busy(host: str, port: int, error: OSError) -> str:
    holder = _holder(port)
    who = f"by {holder}" if holder else f"({error.strerror})"
    return f"port {port} on {host} is in use {who}: stop that, or choose another port with --port"


def _holder(port: int) -> str | None:
    """Name the process that listens at ``port``, where the system lets us see it."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.pid
                and getattr(connection.laddr, "port", None) == port
            ):
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return None


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
    argv = (
        program,
        "start",
        "--cbdir",
        str(directory),
        "--loglevel",
        "warn",
        "--logformat",
        "none",
        "--color",
        "false",
    )
    return Command(argv, {**os.environ, "PYTHONUNBUFFERED": "1"}, directory, directory / LOG_NAME)


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
    (directory / PID_NAME).unlink(missing_ok=True)
    log = directory / LOG_NAME
    if log.exists():
        log.replace(log.with_suffix(".log.1"))


def running_pid(directory: Path) -> int | None:
    """Return the process id of the router that runs from a node directory, or None."""
    lock = directory / PID_NAME
    try:
        pid, written = int(json.loads(lock.read_text())["pid"]), lock.stat().st_mtime
        process = psutil.Process(pid)
        alive = process.create_time() <= written + 1 and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None
    return pid if alive else None


def last_words(log: Path, lines: int = 2) -> str:
    """Condense the end of crossbar's log into one line: its last lines that say something."""
    try:
        text = log.read_text(errors="replace")[-20_000:]
    except OSError:
        return "no log"
    spoken = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith((" ", "]"))]
    errors = [line for line in spoken if not line.startswith(("Traceback", "Invalid node configuration"))]
    return "; ".join(dict.fromkeys(errors[-lines:])) or "nothing in its log"


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
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _signal(process: psutil.Process, how: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(how)


class Router:
    """One crossbar router, owned by the program that made this object.

    All calls block; a program with a reactor starts the router itself, from `router_command`.

    Args:
        config: what `ocs.router.config.crossbar_config` returned.
        directory: crossbar's node directory; made, and kept when the router stops.
        binary: the crossbar program; None finds it.
        log: takes one line of progress at a time, for a person.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        directory: Path,
        *,
        binary: str | None = None,
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.config = config
        self.directory = directory
        self.host, self.port = router_config.listening_address(config)
        self.realm = router_config.realm(config)
        self.ws_url = router_config.ws_url(config)
        self.http_url = router_config.http_url(config)
        self._binary = binary
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of crossbar's controller, None while there is none."""
        return self._child.pid if self.is_alive and self._child else None

    @property
    def is_alive(self) -> bool:
        """Whether the process that we started is there."""
        return self._child is not None and self._child.poll() is None

    @property
    def log_path(self) -> Path:
        """The file that crossbar's output goes to."""
        return self.directory / LOG_NAME

    def start(self, timeout: float = 30.0) -> None:
        """Start the router and wait until it takes WAMP sessions.

        Args:
            timeout: in seconds; crossbar takes two to three on an idle machine.

        Raises:
            RouterError: the port is taken, crossbar is not installed, it refuses the configuration, or it is not ready
                in time; nothing is left running.
        """
        if self.is_alive:
            return
        command = router_command(self.directory, binary=self._binary)
        require_port(self.host, self.port)
        prepare(self.config, self.directory)
        self._log(f"starting the router at {self.ws_url}")
        self._child = _spawn(command)
        try:
            self._wait_until_ready(time.monotonic() + timeout, timeout)
        except BaseException:
            self.kill()
            raise

    def _wait_until_ready(self, deadline: float, timeout: float) -> None:
        while True:
            if not self.is_alive:
                raise RouterError(f"the router did not start: {last_words(self.log_path)} (log: {self.log_path})")
            if health.port_is_open(self.host, self.port) and health.check(self.ws_url, self.realm, 2.0).ok:
                return
            if time.monotonic() > deadline:
                raise RouterError(
                    f"the router was not ready within {timeout:g} s: {last_words(self.log_path)} (log: {self.log_path})"
                )
            time.sleep(POLL_S)

    def stop(self, timeout: float = 10.0) -> None:
        """Stop the router; what has not gone within ``timeout`` seconds is killed. Harmless if it is not running."""
        self._end(signal.SIGTERM, timeout)

    def kill(self) -> None:
        """Kill the router and its workers at once, as a power cut would."""
        self._end(signal.SIGKILL, 0)

    def _end(self, how: signal.Signals, timeout: float) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        stop_tree(child.pid, how=how, timeout=timeout)
        # Whoever lost its parent before we saw it is still in the group that we made.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _spawn(command: Command) -> subprocess.Popen[bytes]:
    with command.log.open("ab") as log:
        try:
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
            raise RouterError(f"cannot run {command.argv[0]}: {error.strerror}") from error
    raise_open_files(child.pid)
    return child


def raise_open_files(pid: int) -> None:
    """Let a process, and what it starts, open as many files as the system allows: each agent is a socket."""
    with contextlib.suppress(OSError, ValueError):
        _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
