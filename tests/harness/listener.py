"""A raw autobahn subscriber in a process of its own: what it hears is what any other program would hear."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self


class Listener:
    """Subscribes to a topic and remembers the events. Use it in a `with` block.

    Args:
        router: where; its `ws_url` and `realm` count.
        topic: what to listen to.
        match: `exact`, `prefix` or `wildcard`.
        directory: for the file that the events go to.
    """

    def __init__(self, router: Any, topic: str, directory: Path, *, match: str = "exact") -> None:
        self._path = directory / f"listener-{time.monotonic_ns()}.jsonl"
        self._command = [sys.executable, __file__, router.ws_url, router.realm, topic, match, str(self._path)]
        self._read = 0
        self._lines: list[Any] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
        from tests.harness.waiting import wait_for  # this file is run as a program too

        wait_for(self._all)
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.wait()

    def _all(self) -> list[Any]:
        if self._path.exists():
            with self._path.open() as file:
                file.seek(self._read)
                while (line := file.readline()).endswith("\n"):
                    self._read += len(line)
                    self._lines.append(json.loads(line))
        return self._lines

    @property
    def events(self) -> list[Any]:
        """The first argument of every event so far: `[data, envelope]`."""
        return [line for line in self._all() if line != "ready"]

    def column(self, block: str, field: str) -> list[Any]:
        """All values of one field of a block so far."""
        return [value for data, _ in self.events if block in data for value in data[block]["data"][field]]


def _main(url: str, realm: str, topic: str, match: str, path: str) -> None:
    from autobahn.twisted.wamp import ApplicationRunner, ApplicationSession
    from autobahn.wamp.types import SubscribeOptions
    from twisted.internet.defer import inlineCallbacks

    output = Path(path).open("w")  # noqa: SIM115 - for the life of the process

    def write(value):
        output.write(json.dumps(value) + "\n")
        output.flush()

    class Session(ApplicationSession):
        @inlineCallbacks
        def onJoin(self, details):
            yield self.subscribe(write, topic, SubscribeOptions(match=match))
            write("ready")

    ApplicationRunner(url, realm).run(Session, auto_reconnect=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
