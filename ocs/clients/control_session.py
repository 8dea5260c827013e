"""Running a piece of work inside a joined WAMP session: the reactor is started for it, and ends with it."""

import sys
from argparse import Namespace
from collections.abc import Callable, Generator
from functools import partial
from inspect import isgenerator
from typing import Any, cast

from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.python.failure import Failure

from ocs.errors import OCSError, RouterError
from ocs.keys.finding import CLIENT, find_keys
from ocs.wamp.admission import KeyFinder
from ocs.wamp.lean_autobahn import ApplicationSession, CloseDetails, ComponentConfig, SessionDetails
from ocs.wamp.link import RouterLink

__all__ = ["FIRST_CONTACT", "ControlSession", "SessionRun", "run_in_session"]

FIRST_CONTACT = 3.0
"""How long the router gets to let us in at first, in seconds: enough for one that is being started beside us."""


class ControlSession(ApplicationSession):  # type: ignore[misc]
    """A WAMP session of a program that is no agent; ``call``, ``subscribe``, ``publish`` are autobahn's.

    Args:
        url: the router's WebSocket.
        realm: the WAMP realm.
        address_root: the first part of all agents' addresses.
    """

    def __init__(self, url: str, realm: str, address_root: str) -> None:
        super().__init__(ComponentConfig(realm, {}))
        self.url = url
        self.address_root = address_root

    def onLeave(self, details: CloseDetails) -> None:  # noqa: ARG002, N802 - autobahn's name and form
        """Disconnect; what is to be said of it is said by who runs the session."""
        self.disconnect()

    def onUserError(self, fail: Failure, msg: str) -> None:  # noqa: N802 - autobahn's name
        """Show what went wrong in a handler of the program's own, and go on."""
        sys.stderr.write(f"{msg}\n{fail.getTraceback()}")


def _keys_of(args: Namespace) -> KeyFinder:
    """Return what finds the key of who operates."""
    return partial(find_keys, getattr(args, "site_keys", None), [CLIENT], getattr(args, "key_file", None))


class SessionRun:
    """One piece of work in one session, from the first connection to the last.

    Args:
        work: is called with the session once it is joined; a function, a generator function whose ``yield`` waits for
            Deferreds, or a coroutine function.
        args: the parsed arguments, as `ocs.site_config.parse_args` returns them.
        reactor: is stopped when the work is done.
    """

    def __init__(self, work: Callable[[ControlSession], Any], args: Namespace, reactor: Any) -> None:
        self.outcome: Any = None
        """The result of the work, or a Failure."""
        self.finished = False
        self.interrupted = False
        """Whether a signal ended the reactor before the work was done."""
        self.session = ControlSession(args.site_hub, args.site_realm, args.address_root)
        self._work = work
        self._args = args
        self._reactor = reactor
        self._running: Deferred[Any] | None = None
        timeout = float(getattr(args, "crossbar_timeout", None) or 0)
        self._link = RouterLink(
            self.session,
            args.site_hub,
            args.site_realm,
            reactor=reactor,
            timeout=timeout,
            keys=_keys_of(args),
            on_give_up=lambda reason: self._finish(self._no_router(reason)),
        )
        self._first_contact: Any = None

    def start(self) -> None:
        """Connect; everything else follows."""
        self.session.on("join", self._joined)
        self.session.on("leave", self._left)
        self._reactor.addSystemEventTrigger("before", "shutdown", self._close)
        self._first_contact = self._reactor.callLater(
            FIRST_CONTACT, lambda: self._finish(self._no_router(self._link.last_error))
        )
        self._link.start()

    def _joined(self, session: ControlSession, _details: SessionDetails) -> None:
        if self._running is not None:
            return  # back again after the router was away
        self._first_contact.cancel()
        self._running = _as_deferred(self._work, session)
        self._running.addBoth(self._finish)

    def _left(self, _session: ControlSession, details: CloseDetails) -> None:
        if self._running is None and str(details.reason).startswith("wamp.error."):
            self._finish(self._refused(details))

    def _finish(self, outcome: Any) -> None:
        if self.finished:
            return
        self.finished, self.outcome = True, outcome
        self._reactor.callWhenRunning(self._reactor.stop)

    def _close(self) -> "Deferred[Any]":
        """End what still runs; the reactor waits for it before it stops."""
        if self._first_contact.active():
            self._first_contact.cancel()
        self.interrupted, self.finished = not self.finished, True
        if self._running is not None:
            self._running.cancel()
        return maybeDeferred(self._link.stop)

    def _no_router(self, reason: str) -> Failure:
        url = self._args.site_hub
        return Failure(RouterError(f"No router at {url} ({reason}): start it, or check wamp_server in the site config"))

    def _refused(self, details: CloseDetails) -> Failure:
        url, realm = self._args.site_hub, self._args.site_realm
        if details.reason == "wamp.error.no_such_realm":
            text = f"The router at {url} has no realm {realm!r}: check wamp_realm in the site config file"
        else:
            text = f"The router at {url} refuses us: {details.message or details.reason}"
        return Failure(RouterError(text))


def _as_deferred(work: Callable[[ControlSession], Any], session: ControlSession) -> "Deferred[Any]":
    return maybeDeferred(work, session).addCallback(_driven)


def _driven(result: Any) -> Any:
    """Go through a generator, as `inlineCallbacks` does; coroutines are known to Twisted."""
    if isgenerator(result):
        generator = cast("Generator[Deferred[Any], Any, Any]", result)
        return inlineCallbacks(lambda: generator)()
    return result


def run_in_session(work: Callable[[ControlSession], Any], args: Namespace) -> Any:
    """Start the reactor, join the router, and do a piece of work. The reactor cannot be started a second time.

    Args:
        work: see `SessionRun`.
        args: the parsed arguments, as `ocs.site_config.parse_args` returns them.

    Returns:
        What the work returned.

    Raises:
        RouterError: there is no router, or it does not let us in.
        KeyboardInterrupt: a signal ended it.
        Exception: whatever the work raised.
    """
    from twisted.internet import reactor as global_reactor  # noqa: PLC0415 - importing it chooses it

    if not (args.site_hub and args.site_realm and args.address_root):
        raise OCSError("Where is the router? Without a site config file: --site-hub, --site-realm and --address-root")
    reactor: Any = global_reactor
    run = SessionRun(work, args, reactor)
    run.start()
    reactor.run()
    if run.interrupted:
        raise KeyboardInterrupt
    if isinstance(run.outcome, Failure):
        run.outcome.raiseException()
    return run.outcome
