"""The agent's side of the receiver, on the tests' reactor, with what it logs."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from ocs.agents.pysmurf_monitor.receiving import Receiving


class Lines:
    """A logger that remembers its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warn(self, text: str, **values: Any) -> None:
        self.lines.append(text.format(**values))

    info = warn


class Received:
    """A `Receiving` and what it has said by now."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.log = Lines()
        self.news = 0
        usual = {"bind": "127.0.0.1", "port": 0, "journal_bytes": 1 << 30, "socket_bytes": 4 << 20}
        self.receiving = Receiving(reactor, folder, **{**usual, **options}, on_news=self._on_news, log=self.log)

    def _on_news(self) -> None:
        self.news += 1

    @property
    def status(self) -> Any:
        return self.receiving.status

    @property
    def pid(self) -> int:
        return int(self.receiving._process.transport.pid)  # type: ignore[union-attr]

    async def until(self, condition: Callable[[], Any], seconds: float = 30.0) -> None:
        """Return when a condition holds, looked at every few milliseconds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"in vain: {self.status}, {self.log.lines}"
            await deferLater(reactor, 0.01)

    async def begin(self) -> int:
        """Start it and return its port."""
        self.receiving.start()
        return await self.receiving.ready()
