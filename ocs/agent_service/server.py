"""Running the agent service: one process that is an agent of OCS towards the router, and a web server to all others."""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn
from twisted.internet import asyncioreactor
from twisted.internet.defer import Deferred
from uvicorn.protocols.http.h11_impl import H11Protocol

from ocs.agent_service.app import make_app
from ocs.agent_service.audit import AuditLog, NoAuditLog
from ocs.agent_service.location import RouterLocation
from ocs.agent_service.security import Guard
from ocs.agent_service.service import AgentService
from ocs.agent_service.settings import Settings
from ocs.components.component import Component
from ocs.components.locator import Locator
from ocs.components.names import ComponentId, Prefix
from ocs.errors import AgentServiceError, OCSError

__all__ = ["COMPONENT", "serve"]

COMPONENT: Final = ComponentId(Prefix("ESW", "agent_service"), "Service")

GRACE: Final = 25.0
"""How long requests that are under way may take when the service is to end, in seconds: as long as any takes."""
_MOST_CONNECTIONS: Final = 500
_IDLE: Final = 10
"""How long a connection may stay open without a request, in seconds."""
_HEAD_WITHIN: Final = 10.0
"""How long the head of a request may take, in seconds."""
_BACKLOG: Final = 256
_TURN: Final = 5.0
"""How often a second service tries to be the first, in seconds."""

_log = logging.getLogger(__name__)


def serve(settings: Settings) -> int:
    """Run the agent service until SIGTERM or SIGINT.

    Args:
        settings: where it listens, which site it serves, whom it lets in.

    Returns:
        The exit code.

    Raises:
        OCSError: it cannot begin; the port is taken, for example.
        SystemExit: with code 1, when it has given up.
    """
    _check_certificate(settings)
    with _listening(settings) as listener:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        # Before anything else gets hold of a reactor: this one lives on the same loop as the web server.
        asyncioreactor.install(loop)
        from ocs.ocs_agent import init_site_agent  # noqa: PLC0415 - its reactor has to be ours

        agent, runner = init_site_agent(settings.site_args)
        _log_by(agent)
        program = _Program(settings, agent, listener, loop)
        agent.reactor.callWhenRunning(program.begin)
        runner.before_end = lambda: Deferred.fromFuture(asyncio.ensure_future(program.end()))
        runner.hurry = program.hurry
        runner.run(agent)
    return 0


class _Server(uvicorn.Server):
    """Leaves the signals to the agent's runner."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing."""
        yield


class _Impatient(H11Protocol):
    """Closes a connection over which the head of a request does not come to its end: there are only so many."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Take what has come, and see whether it is a request by now."""
        super().data_received(data)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._relax()
        super().connection_lost(exc)

    def _expect(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._relax()
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(_HEAD_WITHIN, self.transport.close)

    def _relax(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Program:
    """The service while it runs.

    Args:
        settings: what it is told.
        agent: what it is towards the router.
        listener: the socket that callers connect to.
        loop: the loop that drives all.
    """

    def __init__(
        self, settings: Settings, agent: Any, listener: socket.socket, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._agent = agent
        self._listener = listener
        self._url = url_of(settings, listener)
        self._guard = Guard(settings.security)
        self._audit = AuditLog(settings.audit_log) if settings.audit_log else NoAuditLog()
        locator = Locator(agent)
        locator.start()
        self._component = Component(agent, COMPONENT, {"url": self._url}, on_taken=self._is_second)
        self._turn: Any = None
        self._service = AgentService(RouterLocation(agent, locator, loop), self._guard, self._audit)
        self._server = _Server(_config(settings, self._service))
        self._serving: asyncio.Task[None] | None = None
        self._hurried = asyncio.Event()

    def begin(self) -> None:
        """Take requests."""
        self._serving = asyncio.ensure_future(self._serve())
        self._serving.add_done_callback(self._ended)

    async def end(self) -> None:
        """Take no more requests, answer those that are under way, and see that the audit log is written."""
        if self._serving is not None:
            self._server.should_exit = True
            hurried = asyncio.ensure_future(self._hurried.wait())
            await asyncio.wait({self._serving, hurried}, timeout=GRACE, return_when=asyncio.FIRST_COMPLETED)
            hurried.cancel()
            self._server.force_exit = True
            self._serving.cancel()
            await asyncio.wait({self._serving}, timeout=1.0)
        await asyncio.to_thread(self._audit.close)

    def hurry(self) -> None:
        """End at once."""
        self._hurried.set()

    async def _serve(self) -> None:
        async with self._guard:
            _log.info("listening on %s", self._url)
            await self._server.serve(sockets=[self._listener])
            await self._service.drain()

    def _ended(self, serving: "asyncio.Task[None]") -> None:
        error = None if serving.cancelled() else serving.exception()
        if isinstance(error, OCSError | ValueError):
            self._agent.give_up(str(error))
        elif error is not None:
            _log.error("the web server has ended", exc_info=error)
            self._agent.give_up(f"the web server has ended: {error!r}")

    def _is_second(self, line: str) -> None:
        _log.info("%s; this service works beside it", line)
        self._wait_for_turn()

    def _wait_for_turn(self, *_: object) -> None:
        """Be the one that components find, as soon as the other has ended."""
        if self._turn is None or not self._turn.active():
            self._turn = self._agent.reactor.callLater(_TURN, self._take_turn)

    def _take_turn(self) -> None:
        self._component.add(COMPONENT, {"url": self._url}).addErrback(self._wait_for_turn)


def _config(settings: Settings, service: AgentService) -> uvicorn.Config:
    return uvicorn.Config(
        make_app(service, allow_origins=settings.allow_origins),
        loop="none",
        http=_Impatient,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_IDLE,
        timeout_graceful_shutdown=int(GRACE),
        backlog=_BACKLOG,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )


def _check_certificate(settings: Settings) -> None:
    """Raise where https cannot be spoken, before anything is begun.

    Raises:
        AgentServiceError: the certificate or its key is missing, is none, or needs a password.
    """
    if settings.tls_cert is None:
        return
    try:
        # Without a password of its own, the library would ask the terminal for one.
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            settings.tls_cert, settings.tls_key, password=""
        )
    except OSError as error:  # also ssl.SSLError
        why = error.strerror or error
        raise AgentServiceError(f"the certificate {settings.tls_cert} and its key cannot be used: {why}") from None


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    """Provide the socket that callers connect to.

    Raises:
        AgentServiceError: it cannot be had.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        hint = ": another agent service? --port takes another" if error.errno == errno.EADDRINUSE else ""
        raise AgentServiceError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}{hint}"
        ) from None
    with listener:
        # Else an answer's body waits until its head has been confirmed, which takes 40 ms. Connections inherit it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


def url_of(settings: Settings, listener: socket.socket) -> str:
    """Return the service's address, as others reach it.

    Args:
        settings: of the service.
        listener: knows the port.
    """
    host = socket.gethostname() if settings.host in ("0.0.0.0", "::", "") else settings.host.strip("[]")  # noqa: S104 - compared
    port = listener.getsockname()[1]
    return f"{'https' if settings.tls_cert else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _log_by(agent: Any) -> None:
    """Have all that is logged go where the agent's log goes."""
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[_ToAgentsLog(agent)], force=True)


class _ToAgentsLog(logging.Handler):
    """Passes on what libraries log.

    Args:
        agent: whose log it goes to.
    """

    def __init__(self, agent: Any) -> None:
        super().__init__()
        self._agent = agent

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        self._level(record.levelno)("{text}", text=self.format(record))

    def _level(self, number: int) -> Callable[..., None]:
        name = "error" if number >= logging.ERROR else "warn" if number >= logging.WARNING else "info"
        method: Callable[..., None] = getattr(self._agent.log, name)
        return method
