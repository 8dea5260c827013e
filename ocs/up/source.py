"""The user's site file while a run goes on: a change is taken into the run's copy, and told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool

from ocs.errors import OCSError
from ocs.site_config import SiteConfig
from ocs.up.folder import DataFolder
from ocs.up.plan import SitePlan, write_site_file

__all__ = ["SourceWatch"]

_INTERVAL = 1.0
"""Time between two looks, in seconds."""

_State = tuple[int, int, int] | None


class SourceWatch:
    """Looks at the file now and then, in a thread.

    Args:
        reactor: keeps the time and lends the thread.
        plan: what runs.
        folder: where the copy is.
        on_change: called with an error if the file has a mistake now, else with None.
    """

    def __init__(
        self, reactor: Any, plan: SitePlan, folder: DataFolder, on_change: Callable[[OCSError | None], None]
    ) -> None:
        self._reactor = reactor
        self._plan = plan
        self._folder = folder
        self._on_change = on_change
        self._seen = _state_of(plan.source)
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor

    def start(self) -> None:
        """Begin to look."""
        self._looking.start(_INTERVAL, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._looking.running:
            self._looking.stop()

    async def _look(self) -> None:
        pool = self._reactor.getThreadPool()
        state = await deferToThreadPool(self._reactor, pool, _state_of, self._plan.source)
        if state == self._seen:
            return
        self._seen = state
        error = await deferToThreadPool(self._reactor, pool, self._take)
        if self._looking.running:
            self._on_change(error)

    def _take(self) -> OCSError | None:
        """Make the copy anew, if there is one; one that the user edits itself is left alone."""
        try:
            SiteConfig.from_yaml(self._plan.source)
            if self._plan.source.resolve() != self._folder.site_file.resolve():
                write_site_file(self._plan, self._folder)
            if self._plan.keys:
                self._plan.keys.settle(self._plan.site_file)
        except OCSError as error:
            return error
        return None


def _state_of(path: Path) -> _State:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
