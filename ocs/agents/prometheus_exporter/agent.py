"""The Prometheus exporter: operations, agents, recorders, publishers, hosts and alarms of a site at ``/metrics``."""

import argparse
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThreadPool

from ocs import ocs_agent, site_config
from ocs.agents.prometheus_exporter.exposition import Exposition, expose
from ocs.agents.prometheus_exporter.figures import Figure
from ocs.agents.prometheus_exporter.site_view import AGENT_TIMEOUT, SiteView, Snapshot
from ocs.agents.prometheus_exporter.web import make_site
from ocs.base import OpCode
from ocs.presence.asking import Asker, Question
from ocs.presence.heartbeat import MalformedHeartbeatError
from ocs.presence.roster import Moment

__all__ = ["PrometheusExporter", "main", "make_parser"]

PORT = 9185
TICK = 1.0
"""How often the exporter looks for who has fallen silent, in seconds: as often as hearts beat."""
STALE_TURNS = 3
"""After so many turns without an answer what an agent told is not told any more."""
LISTEN_EVERY = 5.0
"""Seconds between two attempts to get a port that is taken."""

Params = dict[str, Any] | None
Result = tuple[bool, str]
Session = ocs_agent.OpSession
Steps = Generator[Deferred[Any], Any, Result]


class PrometheusExporter:
    """Serves what it hears and asks, in the reactor's thread; answers are made in another one.

    Args:
        agent: the OCSAgent that this is the work of.
        args: has ``address_root``, ``host``, ``port``, ``interval`` (s), ``forget`` (s) and ``max_series``.
        clock: reads the clocks.

    Attributes:
        port: where it listens; None while it does not.
    """

    def __init__(self, agent: Any, args: argparse.Namespace, *, clock: Callable[[], Moment] = Moment.now) -> None:
        self.agent, self.log = agent, agent.log
        self.port: int | None = None
        self._args = args
        self._now = clock
        self._view = SiteView(args.address_root, STALE_TURNS * args.interval, args.forget)
        self._asker = Asker(agent, args.address_root, self._answered, self._view.no_answer)
        self._site = make_site(self.scrape)
        self._listener: Any = None
        self._loops: list[LoopingCall] = []
        self._session: Session | None = None
        self._hearing_since: float | None = None
        self._scrapes = self._series = self._left_out = 0
        self._scrape_seconds = 0.0
        self._trouble: str | None = None
        agent.subscribe_on_start(self._hear, f"{args.address_root}..feeds.heartbeat", options={"match": "wildcard"})
        agent.on("leave", lambda *_args, **_kwargs: self._deaf())
        agent.register_process("main", self.main, self._stop_main, blocking=False, startup=True, restart="on-failure")

    @ocs_agent.param("_")
    @inlineCallbacks
    def main(self, session: Session, params: Params) -> Steps:
        """main()

        **Process** - Hear the agents, ask those that have figures, and serve all of it at ``/metrics``.

        Notes:
            It is degraded while it cannot listen at its port. ``series`` and ``left_out`` are of the last answer;
            series are left out beyond ``--max-series``::

                >>> response.session["data"]
                {"url": "http://127.0.0.1:9185/metrics", "agents": 42, "expired": 1, "scrapes": 360, "series": 611,
                 "left_out": 0, "scrape_seconds": 0.012, "asked": 720, "unanswered": 0, "malformed": 0,
                 "trouble": None, "timestamp": 1790000012.7}
        """
        self._session = session
        turns = ((self._tick, TICK), (self._ask, self._args.interval), (self._listen, LISTEN_EVERY))
        self._loops = [LoopingCall(turn) for turn, _ in turns]
        for loop in self._loops:
            loop.clock = self.agent.reactor
        try:
            yield gatherResults([loop.start(every) for loop, (_, every) in zip(self._loops, turns, strict=True)])
        finally:
            self._session = None
            self._end_loops()
            yield self._hang_up()
        return True, "Serving has ended."

    def _stop_main(self, session: Session, params: Params) -> Result:
        """End `main`: nothing listens any more."""
        session.set_status("stopping")
        self._end_loops()
        return True, "Ending."

    def _end_loops(self) -> None:
        for loop in self._loops:
            if loop.running:
                loop.stop()

    # Serving

    def _listen(self) -> None:
        if self._listener is not None:
            return
        host, port = self._args.host, self._args.port
        try:
            self._listener = self.agent.reactor.listenTCP(port, self._site, interface=host)
        except (CannotListenError, OSError) as error:
            why = getattr(getattr(error, "socketError", error), "strerror", None) or str(error)
            self._say(f"cannot listen at port {port} of {host}: {why}; give another --port or --host")
            return
        self.port = self._listener.getHost().port
        self._say(None)
        self.log.info("serves {url}", url=self._url())

    def _say(self, trouble: str | None) -> None:
        if self._session is None:
            return
        if trouble and trouble != self._trouble:
            self.log.error("{trouble}", trouble=trouble)
            self._session.add_message(trouble)
        self._trouble = trouble
        self._session.degraded = trouble is not None
        self._show()

    @inlineCallbacks
    def _hang_up(self) -> Generator[Deferred[Any], Any, None]:
        listener, self._listener, self.port = self._listener, None, None
        if listener is not None:
            yield listener.stopListening()

    def _url(self) -> str | None:
        host = self._args.host if ":" not in self._args.host else f"[{self._args.host}]"
        return None if self.port is None else f"http://{host}:{self.port}/metrics"

    def scrape(self, accept: str) -> "Deferred[Exposition]":
        """Make an answer from what is known now.

        Args:
            accept: the request's header ``Accept``.
        """
        began = time.perf_counter()
        self._scrapes += 1
        snapshot, own = self._view.snapshot(self._now(), hears=self._hears()), self._own_figures()
        pool = self.agent.reactor.getThreadPool()
        making = deferToThreadPool(self.agent.reactor, pool, _make, own, snapshot, accept, self._args.max_series)
        return making.addCallback(self._made, began)

    def _made(self, made: Exposition, began: float) -> Exposition:
        self._scrape_seconds = time.perf_counter() - began
        if made.left_out and not self._left_out:
            self.log.warn(
                "{n} series are left out: there are more than --max-series {most}",
                n=made.left_out,
                most=self._args.max_series,
            )
        self._series, self._left_out = made.series, made.left_out
        return made

    def _own_figures(self) -> list[Figure]:
        own = {
            "ocs_router_connected": float(self.agent.is_at_work),
            "ocs_exporter_scrape_seconds": self._scrape_seconds,
            "ocs_exporter_scrapes_total": float(self._scrapes),
            "ocs_exporter_malformed_heartbeats_total": float(self._view.roster.malformed),
        }
        asked = self._view.asked.items()
        return [
            *(Figure(name, (), value) for name, value in own.items()),
            *(Figure("ocs_exporter_asked_total", labels, float(count)) for labels, count in asked),
        ]

    # Hearing and asking

    def _hears(self) -> bool:
        """Tell whether heartbeats have been arriving for long enough to know who is silent."""
        since = self._hearing_since
        return since is not None and self._now().steady - since > AGENT_TIMEOUT

    def _deaf(self) -> None:
        self._hearing_since = None

    def _hear(self, event: Any) -> None:
        try:
            self._view.hear(event, self._now())
        except MalformedHeartbeatError as error:
            count = self._view.roster.malformed
            if count & (count - 1) == 0:  # the 1st, 2nd, 4th, 8th ...: they may come in any number
                self.log.warn("Ignored a malformed heartbeat ({n} so far): {why}", n=count, why=str(error))

    @inlineCallbacks
    def _tick(self) -> Generator[Deferred[Any], Any, None]:
        now = self._now()
        if not self.agent.is_at_work:
            self._deaf()
        elif self._hearing_since is None:
            self._hearing_since = now.steady
        self._hear(self._own_heartbeat())
        if self._hears():
            for _ in self._view.tick(now):
                yield deferLater(self.agent.reactor, 0)
        self._show()

    def _own_heartbeat(self) -> tuple[dict[str, int], dict[str, str]]:
        """Return the exporter's own heartbeat, which the router does not send back to it."""
        codes = {name: int(s.op_code if s else OpCode.NONE) for name, s in self.agent.sessions.items()}
        return codes, {"agent_address": self.agent.agent_address, "agent_class": self.agent.class_name}

    def _ask(self) -> None:
        if self.agent.is_at_work and not self._asker.is_busy:
            self._asker.ask_all(self._view.questions())

    def _answered(self, question: Question, reply: Mapping[str, Any]) -> None:
        self._view.answer(question, reply, self._now())

    def _show(self) -> None:
        if self._session is None:
            return
        counts = self._view.roster.counts()
        self._session.data = {
            "url": self._url(),
            "agents": counts["agents"],
            "expired": counts["expired"],
            "scrapes": self._scrapes,
            "series": self._series,
            "left_out": self._left_out,
            "scrape_seconds": round(self._scrape_seconds, 6),
            "asked": self._asker.asked,
            "unanswered": self._asker.unanswered,
            "malformed": counts["malformed"],
            "trouble": self._trouble,
            "timestamp": self._now().wall,
        }


def _make(own: Sequence[Figure], snapshot: Snapshot, accept: str, max_series: int) -> Exposition:
    return expose(own, snapshot.figures(), accept, max_series)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be more than 0 s, not {text}")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value < 65536:  # noqa: PLR2004 - ports there are
        raise argparse.ArgumentTypeError(f"must be from 0 to 65535, not {text}")
    return value


def _series(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return value


def make_parser(parser: argparse.ArgumentParser | None = None) -> argparse.ArgumentParser:
    """Add the agent's own arguments to a parser, or to a new one."""
    parser = parser or argparse.ArgumentParser(description="Serves what is known of a site to Prometheus.")
    parser.set_defaults(crossbar_timeout=0)  # that the router is away is one of the figures
    group = parser.add_argument_group("Agent Options")
    group.add_argument("--host", default="127.0.0.1", help="where to listen; 0.0.0.0: everywhere (default: 127.0.0.1)")
    group.add_argument("--port", type=_port, default=PORT, help=f"port to listen at (default: {PORT})")
    group.add_argument(
        "--interval", type=_seconds, default=10.0, metavar="S", help="how often agents are asked, s (default: 10)"
    )
    group.add_argument(
        "--forget",
        type=_seconds,
        default=86400.0,
        metavar="S",
        help="how long an agent that has fallen silent is told, s (default: 86400, a day)",
    )
    group.add_argument(
        "--max-series", type=_series, default=200_000, metavar="N", help="most series of an answer (default: 200000)"
    )
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Run the agent.

    Args:
        args: the command line; that of the program unless given.
    """
    parsed = site_config.parse_args(agent_class="PrometheusExporter", parser=make_parser(), args=args)
    agent, runner = ocs_agent.init_site_agent(parsed)
    PrometheusExporter(agent, parsed)
    runner.run(agent, auto_reconnect=True)


if __name__ == "__main__":
    main()
