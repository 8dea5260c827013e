"""The pysmurf monitor's receiver as a process, and what it has put into its journal."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from ocs.agents.pysmurf_monitor.arrivals import Arrival, unpack_arrival
from ocs.journal import Follower
from tests.harness.waiting import wait_for

Report = dict[str, Any]


class ReceiverProgram:
    """A receiver with its journal in `directory`; it listens to a free port of the loopback interface unless told."""

    def __init__(self, directory: Path, *options: str, env: Mapping[str, str] | None = None, fd: int = -1) -> None:
        self.directory = directory
        where = ["--socket-fd", str(fd)] if fd >= 0 else ["--bind", "127.0.0.1", "--port", "0"]
        command = [sys.executable, "-m", "ocs.agents.pysmurf_monitor.receiver", "--directory", str(directory)]
        self.process = subprocess.Popen(
            [*command, *where, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            pass_fds=[fd] if fd >= 0 else [],
        )
        self.reports: list[Report] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.reports.append(json.loads(line))

    @property
    def last(self) -> Report:
        return self.reports[-1] if self.reports else {}

    @property
    def port(self) -> int:
        return int(wait_for(lambda: self.last.get("port", 0)))

    def reports_that(self, condition: Callable[[Report], bool], timeout: float = 30.0) -> Report:
        """Wait for a report of which something holds."""
        return wait_for(lambda: next(filter(condition, list(self.reports)), {}), timeout)

    def has(self, timeout: float = 30.0, **figures: Any) -> Report:
        """Wait for a last report with these figures."""
        return wait_for(lambda: self.last if figures.items() <= self.last.items() else {}, timeout)

    def order(self, text: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def finish(self, timeout: float = 30.0) -> str:
        """End its standard input, wait for its end, and return what it complained about."""
        assert self.process.stdin
        self.process.stdin.close()
        return self.wait(timeout)

    def wait(self, timeout: float = 30.0) -> str:
        """Wait for its end, and return what it complained about."""
        self.process.wait(timeout)
        self._reader.join(timeout)
        assert self.process.stderr
        return self.process.stderr.read().decode()

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                stream.close()


def arrivals(directory: Path, start: int = 0) -> list[tuple[int, Arrival]]:
    """Return all that is in a journal by now: index and arrival."""
    follower = Follower(directory, start)
    found = []
    while entries := follower.read():
        found += [(entry.index, unpack_arrival(entry.body)) for entry in entries]
    follower.close()
    assert follower.damaged == []
    return found


def texts(directory: Path, start: int = 0) -> list[bytes]:
    """Return the datagrams that are in a journal by now."""
    return [arrival.data for _index, arrival in arrivals(directory, start)]


def numbered(begin: int, end: int, size: int = 0) -> list[bytes]:
    """Return datagrams that can be told apart."""
    return [b"%08d" % number + bytes(size) for number in range(begin, end)]
