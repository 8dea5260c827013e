"""The runs of one docker service, as one look after the other shows them: which is on, and how the last ones ended."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["ServiceRuns", "host_pid"]

KEPT = 10
"""How many ends are remembered."""


class ServiceRuns:
    """Follows one service.

    Args:
        now: the wall clock, unix s.
        find_pid: given a process id and a container's id, returns the id if it means that container's process here.

    Attributes:
        pid: the first process of the container that runs, as this machine counts; None where it cannot be known.
        started: since when it runs, unix s; None while it does not.
        restarts: how often it was found running anew.
        exits: how it ended, the last one last, as ``child_states`` shows it.
    """

    def __init__(
        self, now: Callable[[], float] = time.time, find_pid: Callable[[int, str], int | None] | None = None
    ) -> None:
        self.pid: int | None = None
        self.started: float | None = None
        self.restarts = 0
        self.exits: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._now = now
        self._find_pid = find_pid or host_pid
        self._run: tuple[str, float] | None = None
        self._any = False

    def observe(self, found: Mapping[str, Any]) -> dict[str, Any] | None:
        """Take in what a look has shown of the service.

        Args:
            found: what `parse_docker_state` says of it; ``running`` is None while nobody knows, which changes nothing.

        Returns:
            The entry of ``exits`` for a run that has ended since, if its container is still there to be asked what it
            printed: its ``lines`` are to be filled in.
        """
        if found.get("running") is None:
            return None
        run = (str(found.get("container_id")), float(found.get("started") or 0.0)) if found["running"] else None
        if run == self._run:
            return None
        ended, self._run = self._run, run
        self._note_start(found)
        return self._note_end(ended[0], found) if ended else None

    def _note_start(self, found: Mapping[str, Any]) -> None:
        self.pid = self.started = None
        if self._run is None:
            return
        self.restarts += self._any
        self._any = True
        self.started = found.get("started")
        if found.get("pid"):
            self.pid = self._find_pid(found["pid"], self._run[0])

    def _note_end(self, container: str, found: Mapping[str, Any]) -> dict[str, Any] | None:
        same = str(found.get("container_id")) == container
        code = found.get("exit_code") if same and not found["running"] else None
        when = (found.get("finished") if same else None) or self._now()
        text = "its container has been removed" if not same else "it ended" if code is None else f"exit code {code}"
        entry: dict[str, Any] = {"time": when, "code": code, "signal": None, "text": text, "lines": []}
        self.exits.append(entry)
        return entry if same else None


def host_pid(pid: int, container: str) -> int | None:
    """Return a process id that docker has told, if it means that container's process here, and not somebody else's.

    Docker may count processes otherwise: on another machine, or where the manager runs in a container itself.
    """
    with suppress(OSError):
        if container in Path(f"/proc/{pid}/cgroup").read_text():
            return pid
    return None
