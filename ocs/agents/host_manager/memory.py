"""What a killed manager leaves to the next one: the targets that people have set."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool

from ocs.agents.host_manager.instances import TARGETS

__all__ = ["Targets", "load_targets"]


def load_targets(path: Path | None) -> dict[str, str]:
    """Return what an earlier manager left, by instance-id. Blocks."""
    try:
        found = json.loads(path.read_bytes()) if path else {}
    except (OSError, ValueError):
        return {}  # none was left, or what is there is damaged: then the site config file's count
    if not isinstance(found, dict):
        return {}
    return {str(name): target for name, target in found.items() if target in TARGETS}


class Targets:
    """The targets that are not the site config file's, on the disk. For the reactor's thread; a thread writes.

    Args:
        reactor: lends the thread.
        path: the file; None: nothing is remembered.
        log: tells when the disk refuses.
    """

    def __init__(self, reactor: Any, path: Path | None, log: Any) -> None:
        self.path = path
        self._reactor = reactor
        self._log = log
        self._latest: dict[str, str] | None = None
        self._on_disk: dict[str, str] | None = None
        self._writing: Deferred[None] | None = None

    def remember(self, targets: Mapping[str, str]) -> None:
        """Have these on the disk, soon."""
        self._latest = dict(targets)
        self._write()

    def written(self) -> "Deferred[Any]":
        """Return a Deferred that fires when the disk has what is to be remembered, or has refused it."""
        if self._writing is None:
            return succeed(None)
        done: Deferred[Any] = Deferred()
        self._writing.addBoth(lambda _result: self.written().chainDeferred(done))
        return done

    def _write(self) -> None:
        if self._writing is not None or self.path is None or self._latest is None or self._latest == self._on_disk:
            return
        self._on_disk = self._latest
        pool = self._reactor.getThreadPool()
        self._writing = deferToThreadPool(self._reactor, pool, _replace, self.path, self._on_disk)
        self._writing.addErrback(self._refused)
        self._writing.addCallback(self._next)

    def _refused(self, failure: Any) -> None:
        # Not again until they change: what a full disk has refused is of no use to a manager that lives.
        self._log.warn("targets cannot be remembered over a crash: {why}", why=failure.value)

    def _next(self, _result: Any) -> None:
        self._writing = None
        self._write()


def _replace(path: Path, targets: Mapping[str, str]) -> None:
    if not targets:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    with new.open("w") as file:
        json.dump(dict(targets), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
