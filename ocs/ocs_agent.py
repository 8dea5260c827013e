"""`OCSAgent`: a WAMP session that serves operations, publishes feeds and stays joined to its router."""

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgpack
import txaio
from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks
from twisted.internet.task import LoopingCall
from twisted.python import threadable

from ocs.base import OpCode, ResponseCode
from ocs.core.access_gate import AccessGate
from ocs.core.answering import Answering
from ocs.core.audit import trail_of
from ocs.core.callers import caller_of
from ocs.core.desk import AgentDesk
from ocs.core.hearing import Hearing
from ocs.core.keeping import as_from, keeping_of
from ocs.core.log import log_formatter, log_level, start_log_file
from ocs.core.membership import Membership
from ocs.core.operations import AgentProcess, AgentTask, Operations
from ocs.core.runner import SiteRunner
from ocs.feeds.outbox import Outbox, Parcel
from ocs.keys.finding import find_keys
from ocs.ocs_feed import Feed
from ocs.op_session import SESSION_STATUS_CODES, OpSession
from ocs.params import ParamError, ParamHandler, param
from ocs.wamp.admission import KeyFinder, require_tls
from ocs.wamp.lean_autobahn import (
    ApplicationError,
    ApplicationSession,
    CloseDetails,
    ComponentConfig,
    SessionDetails,
    TransportLost,
)
from ocs.wamp.link import within
from ocs.wamp.transport import pack

__all__ = [
    "SESSION_STATUS_CODES",
    "AgentProcess",
    "AgentTask",
    "OCSAgent",
    "OpCode",
    "OpSession",
    "ParamError",
    "ParamHandler",
    "init_site_agent",
    "log_formatter",
    "param",
]

_STOP_GRACE = 5.0
"""How long operations get to stop before the agent exits, in seconds."""
_FLUSH_GRACE = 2.0
"""How long the last messages get to reach the router, and those that recorders lack the disk, in seconds."""
_HEARTBEAT = 1.0
_CALLERS = frozenset({"maybeDeferred", "unwindGenerator"})
"""Twisted's functions that call a procedure: an error that comes from them comes from its arguments."""

Handler = Callable[..., Any]


class OCSAgent(Answering, Hearing, ApplicationSession):  # type: ignore[misc]
    """An agent on the network: register operations and feeds on it, then have its runner run it.

    Args:
        config: autobahn's component configuration.
        site_args: the parsed arguments, as `ocs.site_config.parse_args` returns them.
        address: the agent's address; made of the arguments unless given.
        class_name: the agent's class, as the site config file names it.
        reactor: the reactor; the global one unless given.

    Attributes:
        agent_address: ``{address_root}.{instance-id}``.
        agent_session_id: text that is fixed for one run of the agent: its start time (unix s).
        procedures: functions that are called over WAMP as they are, by what follows the agent's address; to be filled
            before the agent is run. What they return is answered, or what their Deferred fires with.
        sessions: operation name to its current or last `OpSession`, or None.
        heartbeat_on: whether heartbeats are published; for tests of those who watch them.
        stop_grace: how long operations get to stop before the agent exits, in seconds.
        on_give_up: what ends the agent when it gives up; its runner sets it.
    """

    def __init__(
        self,
        config: ComponentConfig,
        site_args: Any,
        address: str | None = None,
        class_name: str | None = None,
        reactor: Any = None,
    ) -> None:
        super().__init__(config)
        if reactor is None:
            from twisted.internet import reactor  # noqa: PLC0415 - importing it installs one
        self.reactor = reactor
        self.log = txaio.make_logger()
        self.site_args = site_args
        self.agent_address = address or f"{site_args.address_root}.{site_args.instance_id}"
        self.instance_id = self.agent_address.rsplit(".", 1)[-1]
        self.class_name = class_name
        self.agent_session_id = str(time.time())
        self.realm_joined = False
        self.heartbeat_on = True
        self.stop_grace = _STOP_GRACE
        self.on_give_up: Callable[[str], None] = lambda _: None
        self.feeds: dict[str, Feed] = {}
        self.procedures: dict[str, Handler] = {}
        self.startup_ops: list[tuple[str, str, Any]] = []
        self._started = False
        self._desk = AgentDesk(self)
        self._membership = Membership(self, partial(ApplicationSession.subscribe, self))
        self.subscribed_topics = self._membership.topics
        self._keeping = keeping_of(self, config.realm)
        self.outbox = Outbox(self._send_parcel, reactor=reactor, log=self.log, keep=self._keeping.keep)
        self.operations = Operations(
            self,
            reactor=reactor,
            log=self.log,
            on_done=self._operation_done,
            restarts=_restarts_of(site_args),
            on_again=self._started_again,
        )
        self.tasks = self.operations.tasks
        self.processes = self.operations.processes
        self.sessions = self.operations.sessions
        self.access = AccessGate(site_args.access_policy, self.instance_id, class_name, log=self.log)
        self._heartbeat = LoopingCall(self._beat)
        self._heartbeat.clock = reactor
        self.register_feed("heartbeat")
        self._trail = trail_of(self, config.realm)
        if site_args.log_dir is not None:
            start_log_file(site_args.log_dir, _text_or_none(site_args.working_dir), self.agent_address)

    # What an agent is made of

    def register_task(
        self,
        name: str,
        func: Callable[..., Any],
        aborter: Callable[..., Any] | None = None,
        blocking: bool = True,
        aborter_blocking: bool | None = None,
        startup: bool | dict[str, Any] = False,
        min_privs: int = 0,
        *,
        quiet: bool = False,
    ) -> None:
        """Offer a task: an operation that ends by itself.

        Args:
            name: what clients call it.
            func: called ``(session, params)``; returns ``(ok, message)``. ``params`` is None where the client gave none
                and no `param` is declared.
            aborter: called ``(session, params)`` to end it early.
            blocking: whether ``func`` runs in a thread of its own; else it runs in the reactor and may return a
                Deferred.
            aborter_blocking: the same for ``aborter``; None takes the value of ``blocking``.
            startup: start it once the agent has joined the router for the first time; a dict gives its parameters.
            min_privs: the least credential level that may use it, 1 to 4; 0 means 1.
            quiet: keep its sessions out of the agent's log, but for the last word of one that fails: for what clients
                ask for again and again.

        Raises:
            ValueError: if the name is taken.
        """
        self.operations.register(name, AgentTask(func, blocking, aborter, aborter_blocking, min_privs, quiet=quiet))
        self._note_startup("task", name, startup)

    def register_process(
        self,
        name: str,
        start_func: Callable[..., Any],
        stop_func: Callable[..., Any],
        blocking: bool = True,
        stopper_blocking: bool | None = None,
        startup: bool | dict[str, Any] = False,
        min_privs: int = 0,
        *,
        restart: str = "never",
    ) -> None:
        """Offer a process: an operation that runs until it is stopped.

        Args:
            name: what clients call it.
            start_func: called ``(session, params)``; runs until stopped, then returns ``(ok, message)``.
            stop_func: called ``(session, params)`` to stop it.
            blocking: whether ``start_func`` runs in a thread of its own; else it runs in the reactor and may return a
                Deferred.
            stopper_blocking: the same for ``stop_func``; None takes the value of ``blocking``.
            startup: start it once the agent has joined the router for the first time; a dict gives its parameters.
            min_privs: the least credential level that may use it, 1 to 4; 0 means 1.
            restart: whether it is started again, with the same parameters, when it has ended without having been
                asked to: ``never``, ``on-failure`` or ``always``; after 1, 2, 4 ... 60 s. The argument
                ``--restart-process`` of an instance has precedence.

        Raises:
            ValueError: if the name is taken, or there is no such ``restart``.
        """
        op = AgentProcess(start_func, stop_func, blocking, stopper_blocking, min_privs, restart=restart)
        self.operations.register(name, op)
        self._note_startup("process", name, startup)

    def _note_startup(self, kind: str, name: str, startup: bool | dict[str, Any]) -> None:
        if startup is not False and startup is not None:
            self.startup_ops.append((kind, name, startup))

    def register_feed(
        self,
        feed_name: str,
        record: bool = False,
        agg_params: dict[str, Any] | None = None,
        buffer_time: float = 0,
        max_messages: int = 0,
    ) -> Feed:
        """Offer a feed.

        Args:
            feed_name: the last part of its topic.
            record: whether its messages are samples, to be recorded.
            agg_params: advice to recorders: ``frame_length`` (s), ``fresh_time`` (s), ``exclude_aggregator`` (bool),
                ``exclude_influx`` (bool).
            buffer_time: how long samples may wait for others to share a message with, in seconds.
            max_messages: no longer used.

        Returns:
            The feed.
        """
        self.feeds[feed_name] = Feed(self, feed_name, record, agg_params, buffer_time, max_messages)
        return self.feeds[feed_name]

    # Publishing

    def publish_to_feed(self, feed_name: str, message: Any, from_reactor: bool | None = None) -> None:  # noqa: ARG002 - no longer needed
        """Publish a message, from any thread.

        Args:
            feed_name: a registered feed; the name of another is logged, not raised.
            message: what `Feed.publish_message` takes.
            from_reactor: no longer used; kept since agents give it.

        Raises:
            FeedError: (also a TypeError, ValueError or KeyError) naming the feed and the field that cannot be sent.
        """
        feed = self.feeds.get(feed_name)
        if feed is None:
            self.log.error("{feed} is not a feed of this agent; register_feed it first", feed=feed_name)
            return
        feed.publish_message(message)

    def flush_feeds(self) -> None:
        """Send what feeds have buffered."""
        for feed in list(self.feeds.values()):
            feed.flush_buffer()

    def call_in_reactor(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function in the reactor's thread: at once if the caller is there."""
        if threadable.isInIOThread():
            function(*args)
        else:
            self.reactor.callFromThread(function, *args)

    def _send_parcel(self, parcel: Parcel) -> bool:
        """Send one event; return whether the link took it."""
        transport = self._transport
        if transport is None or not self.realm_joined:
            return False
        try:
            if transport.takes_packed:
                head = pack([16, self._request_id_gen.next(), {}, parcel.topic])
                transport.send_packed(b"\x95" + head[1:] + parcel.payload)
            else:
                self.publish(parcel.topic, *msgpack.unpackb(parcel.payload, strict_map_key=False))
        except TransportLost:
            return False
        return True

    def _beat(self) -> None:
        if self.heartbeat_on:
            feed = self.feeds["heartbeat"]
            # Not by way of the outbox: a heartbeat that waited says nothing.
            beat = feed.pack_message(self.operations.op_codes(), last_seq=self.outbox.last_sent)
            self._send_parcel(Parcel(feed.address, beat, 0))

    # Answering

    def encoded(self) -> dict[str, Any]:
        """Return what the agent is, in short."""
        return {
            "agent_address": self.agent_address,
            "session_id": self.agent_session_id,
            "feeds": [feed.encoded() for feed in self.feeds.values()],
            "tasks": list(self.tasks),
            "processes": list(self.processes),
        }

    def _operation_done(self, session: OpSession) -> None:
        self._trail.ended(session)
        self.flush_feeds()

    # Joining, leaving, coming back

    @inlineCallbacks
    def onJoin(self, details: SessionDetails) -> Any:  # noqa: N802 - autobahn's name
        """Take up the address, subscribe, beat; the first time also start what is to be started."""
        self.log.info(
            "joined {realm} as {address} (session {session})",
            realm=details.realm,
            address=self.agent_address,
            session=details.session,
        )
        self.realm_joined = True
        if self._started:
            self._resume_feeds()
        desk: dict[str, Handler] = {
            **{f"{self.agent_address}.{name}": serve for name, serve in self.procedures.items()},
            f"{self.agent_address}.ops": self._desk.serve_ops,
            f"{self.agent_address}.replay": self._serve_recorder,
            self.agent_address: self._desk.serve_query,  # the last: who is answered there finds the others too
        }
        if not (yield self._membership.take_address(details.session, desk)):
            return
        yield self._membership.subscribe_all(details.session, self.access.subscriptions(self))
        if self.is_current(details.session):
            self.access.poll(self)
            self._take_up_work()

    def onUserError(self, fail: Any, msg: str) -> None:  # noqa: N802 - autobahn's name
        """Log what one of the agent's own procedures or handlers has failed with.

        Neither a refusal nor a call with arguments that the procedure does not take is one: they are answered.
        """
        misused = fail.check(TypeError) and fail.frames and fail.frames[-1][0] in _CALLERS
        if not (fail.check(ApplicationError) or misused):
            self.log.error("{what}\n{traceback}", what=msg, traceback=fail.getTraceback())

    def _serve_recorder(self, *args: Any, call_details: Any = None, **named: Any) -> Any:
        request = args[0] if args else named.get("request")
        return self._keeping.serve(as_from(caller_of(call_details), request))

    def _take_up_work(self) -> None:
        if not self._heartbeat.running:
            self._heartbeat.start(_HEARTBEAT)
        if not self._started:
            self._started = True
            self._keeping.start()
            self._resume_feeds()
            self._warn_of_unknown_restarts()
            self._start_startup_ops()

    @property
    def is_at_work(self) -> bool:
        """Whether the agent has its address and its subscriptions, on the connection that there is."""
        return bool(self._heartbeat.running)

    def is_current(self, session_id: int) -> bool:
        """Tell whether a WAMP session is the one that is joined."""
        return self._session_id == session_id and self.realm_joined

    def _resume_feeds(self) -> None:
        if self._transport is not None:
            self._transport.unregisterProducer()
            self._transport.registerProducer(self.outbox, True)
            self.outbox.open()

    def _warn_of_unknown_restarts(self) -> None:
        if unknown := self.operations.unknown_restarts():
            self.log.error(
                "--restart-process names {unknown}, which is no process of this agent; it has: {known}",
                unknown=", ".join(unknown),
                known=", ".join(sorted(self.processes)) or "none",
            )

    def _start_startup_ops(self) -> None:
        for _, name, startup in self.startup_ops:
            params = startup if isinstance(startup, dict) else None
            code, message, _ = self.act_itself("start", name, params)
            if code != ResponseCode.OK:
                self.log.error("start-up operation: {message}", message=message)

    def onLeave(self, details: CloseDetails) -> None:  # noqa: N802 - autobahn's name
        """Note that the router is away. Operations go on."""
        self.realm_joined = False
        self.outbox.close()
        if self._heartbeat.running:
            self._heartbeat.stop()
        self.log.info("left the router: {why}", why=details.message or details.reason)
        self.disconnect()

    def onDisconnect(self) -> None:  # noqa: N802 - autobahn's name
        """Forget what only held for the connection that is gone."""
        self.realm_joined = False
        self.outbox.close()
        super().onDisconnect()
        self._subscriptions.clear()
        self._registrations.clear()

    # The end

    def give_up(self, why: str) -> None:
        """End the agent, after a line that says why, with exit code 1; operations are stopped first.

        Args:
            why: the line.
        """
        self.log.error("{why}", why=why)
        self.on_give_up(why)

    @inlineCallbacks
    def shut_down(self) -> Any:
        """Stop all operations, send what is left, and see that recorders get what they lack.

        Returns:
            A Deferred that fires when that is done, or the time for it is up.
        """
        self.operations.begin_end()
        ended = [self.operations.wait(session.op_name, None) for session in self.operations.active()]
        for session in self.operations.active():
            op = self.operations.find(session.op_name)
            if op is not None and op.ender is not None:
                self.act_itself(op.verb, session.op_name)
        yield within(self.reactor, DeferredList(ended), self.stop_grace)
        late = [session.op_name for session in self.operations.active()]
        if late:
            self.log.warn("exiting though these did not stop: {late}", late=", ".join(late))
        self._trail.flush()
        self.flush_feeds()
        sent: Deferred[None] = Deferred()
        self.outbox.when_empty(lambda: sent.callback(None))
        yield within(self.reactor, sent, _FLUSH_GRACE)
        yield within(self.reactor, DeferredList([self._keeping.finish(), self._trail.finish()]), _FLUSH_GRACE)


def _restarts_of(site_args: Any) -> dict[str, str]:
    """Return what ``--restart-process`` says; nothing for arguments that a mock or an older script made."""
    given = getattr(site_args, "restart_process", None)
    return dict(given) if isinstance(given, list) else {}


def _text_or_none(value: Any) -> str | None:
    """Return a path argument, or None for one that a mock or an older script left out."""
    return value if isinstance(value, str) else None


def _keys_of(args: Any) -> KeyFinder:
    """Return what finds the agent's key; at an open site, nothing."""
    folder, file = _text_or_none(getattr(args, "site_keys", None)), _text_or_none(getattr(args, "key_file", None))
    return partial(find_keys, folder, [args.instance_id], file)


def init_site_agent(args: Any, address: str | None = None) -> tuple[OCSAgent, SiteRunner]:
    """Make an agent, and what runs it, from the parsed arguments.

    Args:
        args: what `ocs.site_config.parse_args` returned; its ``agent_class`` names the agent's class.
        address: the agent's address; made of the arguments unless given.

    Returns:
        The agent and its runner.

    Raises:
        LogFileError: if the folder for log files cannot be written to.
        KeysError: the site is closed, and there is no key, or what TLS takes is not installed.
    """
    from twisted.internet import reactor  # noqa: PLC0415 - importing it installs one

    keys = _keys_of(args)
    keys()  # a key that is missing is told of before the log takes what goes to stderr
    require_tls(str(args.site_hub))
    # Timers go by a clock that nobody sets: with the time of day, setting it back would stop every timer of the agent.
    setattr(reactor, "seconds", time.monotonic)  # noqa: B010 - a plain assignment is an error to the type checker
    txaio.use_twisted()
    txaio.config.loop = reactor
    txaio.start_logging(level=log_level())
    agent = OCSAgent(
        ComponentConfig(args.site_realm, {}), args, address=address, class_name=args.agent_class, reactor=reactor
    )
    if os.environ.get("OCS_SPAWNED_BY"):
        from ocs.components.component import be_agent  # noqa: PLC0415 - only what a spawn agent has started needs it

        be_agent(agent)
    timeout = 10.0 if args.crossbar_timeout is None else float(args.crossbar_timeout)
    return agent, SiteRunner(args.site_hub, args.site_realm, timeout, reactor=reactor, keys=keys)
