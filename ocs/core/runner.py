"""Running one agent: the reactor, the signals, and what becomes of a router that stays away."""

import signal
import sys
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.error import ReactorNotRunning

from ocs.wamp.admission import KeyFinder, no_keys
from ocs.wamp.link import RouterLink

__all__ = ["SiteRunner"]


class SiteRunner:
    """Runs an agent until it is told to end.

    Args:
        url: the router's WebSocket.
        realm: the WAMP realm.
        timeout: how long to look for a lost router before giving up, in seconds; 0 looks for ever.
        reactor: the reactor.
        keys: finds the key to show at a closed site.
    """

    def __init__(self, url: str, realm: str, timeout: float, *, reactor: Any, keys: KeyFinder = no_keys) -> None:
        self.url = url
        self.realm = realm
        self.timeout = timeout
        self.longest_delay = 5.0
        """Attempts to reach the router are never further apart, in seconds."""
        self.before_end: Callable[[], Deferred[Any]] = lambda: succeed(None)
        """Called when the agent is to end: what it returns is waited for, while the connection still lasts."""
        self.hurry: Callable[[], None] = lambda: None
        """Called at each further signal while the agent is ending."""
        self._reactor = reactor
        self._keys = keys
        self._why_lost: str | None = None
        self._ending = False

    def run(self, agent: Any, auto_reconnect: bool = True) -> None:
        """Join the router and run the reactor until SIGINT, SIGTERM, or the router is given up for lost.

        Args:
            agent: the agent.
            auto_reconnect: whether to come back when the connection is lost; without it the agent ends then.

        Raises:
            SystemExit: with code 1, after a line that says so, if there was no router for too long, or the agent has
                given up.
        """
        agent.on_give_up = self._give_up
        link = RouterLink(
            agent,
            self.url,
            self.realm,
            reactor=self._reactor,
            hears_others=agent.hears_others,
            timeout=self.timeout,
            on_give_up=self._give_up_router,
            longest_delay=self.longest_delay,
            keys=self._keys,
        )
        if self._keys().key is None:
            agent.log.warn(
                "this site is open: whoever reaches {url} may do everything; `ocs keys init` closes it", url=self.url
            )
        if not auto_reconnect:
            agent.on("disconnect", lambda *_, **__: self._end_without_link())
        self._reactor.addSystemEventTrigger("before", "shutdown", self._end, agent, link)
        self._reactor.callWhenRunning(self._begin, link)
        self._reactor.run()
        if self._why_lost is not None:
            # sys.stderr goes to the log by now.
            print(f"{agent.instance_id}: {self._why_lost}", file=sys.__stderr__, flush=True)
            raise SystemExit(1)

    def _begin(self, link: RouterLink) -> None:
        # A second signal while the agent is ending must not interrupt the flush; SIGKILL is there for that.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._reactor.callFromThread(self._interrupt))
        link.start()

    def _interrupt(self) -> None:
        if self._ending:
            self.hurry()
        self._stop()

    def _stop(self) -> None:
        with suppress(ReactorNotRunning):  # it is stopping already
            self._reactor.stop()

    def _give_up(self, why: str) -> None:
        self._why_lost = why
        self._stop()

    def _give_up_router(self, why: str) -> None:
        self._give_up(
            f"gave up: no router at {self.url} (realm {self.realm}) for {self.timeout:g} s: {why}."
            " Start the router, correct wamp_server in the site config file, or wait longer with --crossbar-timeout."
        )

    def _end_without_link(self) -> None:
        if not self._ending:
            self._give_up(f"the connection to the router at {self.url} was lost, and is not to be made again.")

    @inlineCallbacks
    def _end(self, agent: Any, link: RouterLink) -> "Generator[Deferred[Any], Any, None]":
        self._ending = True
        yield self.before_end()
        yield agent.shut_down()
        yield link.stop()
