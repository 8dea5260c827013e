"""When the engine is looked at: at once when something has happened, slowly otherwise, and later and later in vain."""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import LoopingCall

from ocs.agents.host_manager.alarm import Alarm
from ocs.agents.host_manager.docker.tools import Limits
from ocs.errors import DockerError

__all__ = ["Watch"]

SHORTEST_GAP = 0.2
"""Between two looks that events ask for, in seconds."""
LONGEST_GAP = 2.0
"""The same, while events go on and on: when there have been `MANY_LOOKS` of them in `MANY_LOOKS` seconds."""
MANY_LOOKS = 10


class Watch:
    """Calls for looks; one at a time. Belongs to the reactor's thread.

    Args:
        reactor: keeps the time.
        limits: how often, at least.
        look: looks at all; gives whether the engine has answered.
        follow: follows the engine's events until they end; calls its argument at each that matters.
        check_files: gives whether a file has changed.
    """

    def __init__(
        self,
        reactor: Any,
        limits: Limits,
        look: Callable[[], Awaitable[bool]],
        follow: Callable[[Callable[[], None]], Awaitable[None]],
        check_files: Callable[[], Awaitable[bool]],
    ) -> None:
        self._reactor = reactor
        self._limits = limits
        self._look = look
        self._follow = follow
        self._check_files = check_files
        self._alarm = Alarm(reactor, self._begin_look)
        self._follow_alarm = Alarm(reactor, self._begin_follow)
        self._files = LoopingCall(lambda: ensureDeferred(self._look_at_files()))
        self._files.clock = reactor
        self.running = False
        """Whether it calls for looks."""
        self._looking = False
        self._following = False
        self._waiting: list[Deferred[None]] = []
        self._pause = limits.first_pause
        self._follow_pause = 0.0
        self._has_news = False
        self._news_looks: deque[float] = deque(maxlen=MANY_LOOKS)
        """When events were the reason for the last looks."""
        self._last_look = float("-inf")

    def start(self) -> None:
        """Begin, with a look."""
        self.running, self._pause, self._follow_pause = True, self._limits.first_pause, 0.0
        self._alarm.set(0.0)
        self._files.start(self._limits.files, now=False)

    def stop(self) -> None:
        """Call for no more."""
        self.running = False
        self._alarm.stop()
        self._follow_alarm.stop()
        if self._files.running:
            self._files.stop()
        self._release(self._waiting)

    def look(self) -> "Deferred[None]":
        """Call for a look at once; fires at the end of the next that begins from now on."""
        seen: Deferred[None] = Deferred()
        if not self.running:
            seen.callback(None)
            return seen
        self._waiting.append(seen)
        self._alarm.set(0.0)
        return seen

    def _happened(self) -> None:
        self._has_news = True
        if self.running and not self._looking:
            self._alarm.set(self._until_next())

    def _until_next(self) -> float:
        """Return when what has happened is to be looked at, in seconds."""
        now, looks = self._reactor.seconds(), self._news_looks
        busy = len(looks) == MANY_LOOKS and now - looks[0] < MANY_LOOKS
        gap = LONGEST_GAP if busy else SHORTEST_GAP
        return max(0.0, float(self._last_look - now) + gap)

    def _begin_look(self) -> None:
        if self.running and not self._looking:
            self._looking = True
            ensureDeferred(self._look_once())

    async def _look_once(self) -> None:
        waiting, self._waiting = self._waiting, []
        answered = False
        if self._has_news:
            self._has_news = False
            self._news_looks.append(self._reactor.seconds())
        try:
            answered = await self._look()
        finally:
            self._looking = False
            self._last_look = self._reactor.seconds()
            self._release(waiting)
            if self.running:
                self._plan(answered=answered)

    def _plan(self, *, answered: bool) -> None:
        if not answered:
            self._alarm.set(0.0 if self._waiting else self._pause)
            self._pause = min(2 * self._pause, self._limits.poll)
            return
        self._pause = self._limits.first_pause
        self._alarm.set(0.0 if self._waiting else self._until_next() if self._has_news else self._limits.poll)
        if not self._following:
            self._follow_alarm.set(self._follow_pause)

    def _begin_follow(self) -> None:
        if self.running and not self._following:
            self._following = True
            ensureDeferred(self._follow_events())

    async def _follow_events(self) -> None:
        began = self._reactor.seconds()
        try:
            await self._follow(self._happened)
        except DockerError:
            pass  # the look tells what is wrong
        finally:
            self._following = False
            self._events_ended(self._reactor.seconds() - began)

    def _events_ended(self, lasted: float) -> None:
        """Look at once; follow them again at once only if that had gone well for a while."""
        limits = self._limits
        well = lasted > limits.poll
        self._follow_pause = 0.0 if well else min(limits.poll, max(limits.first_pause, 2 * self._follow_pause))
        if self.running:
            self._alarm.set(0.0)

    async def _look_at_files(self) -> None:
        if await self._check_files() and self.running:
            self._alarm.set(0.0)

    @staticmethod
    def _release(waiting: list[Deferred[None]]) -> None:
        for seen in list(waiting):
            seen.callback(None)
        waiting.clear()
