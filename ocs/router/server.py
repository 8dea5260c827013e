"""The crossbar router as a child process: started, waited for, stopped, with nothing left behind."""

import atexit
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from ocs.router import config as router_config
from ocs.router.ports import free_port, require_port
from ocs.router.process import (
    LOG_NAME,
    Command,
    prepare,
    router_command,
    running_pid,
    spawn,
    stop_tree,
    wait_until_ready,
)

__all__ = ["Command", "Router", "free_port", "prepare", "require_port", "router_command", "running_pid", "stop_tree"]


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
        self._child = spawn(command)
        atexit.register(self.stop)  # a program that ends by an exception takes its router with it
        try:
            wait_until_ready(self._child, self.log_path, self.ws_url, self.realm, timeout)
        except BaseException:
            self.kill()
            raise

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
        atexit.unregister(self.stop)
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
