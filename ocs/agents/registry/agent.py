"""The registry agent: who is alive, and the state of every operation, for clients and for plots."""

import argparse
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import LoopingCall, deferLater

from ocs import ocs_agent, site_config
from ocs.agents.registry.operations_feed import samples
from ocs.base import OpCode
from ocs.presence.heartbeat import MalformedHeartbeatError
from ocs.presence.roster import Moment, RegisteredAgent, Roster

__all__ = ["RegisteredAgent", "Registry", "main", "make_parser"]

FEED = "agent_operations"
AGENT_TIMEOUT = 5.0
"""Silence, in seconds, after which an agent has expired: five heartbeats."""
TICK = 1.0
"""How often the registry looks for what is due, in seconds: as often as hearts beat."""
SLICE = 200
"""Agents that are dealt with before the reactor gets a turn: about a millisecond of work."""
COMPLAIN_EVERY = 60.0
"""Seconds between two log lines about malformed heartbeats, which may come in any number."""

Result = tuple[bool, str]
Steps = Generator[Deferred[Any], Any, Result]


class Registry:
    """Keeps track of all agents by their heartbeats.

    Heartbeats are taken in from the start; the process `main` expires agents and publishes the state of operations.

    Args:
        agent: the OCSAgent that this is the work of.
        args: has ``wait_time`` (s) and ``address_root``.
        reactor: the clock of the loop; the global reactor unless given.
        now: reads the clocks.

    Attributes:
        agent_timeout: silence, in seconds, after which an agent has expired.
        registered_agents: the agents heard so far, by address.
    """

    def __init__(
        self, agent: Any, args: argparse.Namespace, *, reactor: Any = None, now: Callable[[], Moment] = Moment.now
    ) -> None:
        self.agent = agent
        self.log = agent.log
        self.wait_time = float(args.wait_time)
        self.agent_timeout = AGENT_TIMEOUT
        self.roster = Roster(AGENT_TIMEOUT)
        self._reactor = reactor or _global_reactor()
        self._now = now
        self._session: ocs_agent.OpSession | None = None
        self._loop: LoopingCall | None = None
        self._complained = float("-inf")
        agent.subscribe_on_start(self._hear, f"{args.address_root}..feeds.heartbeat", options={"match": "wildcard"})
        # The wait lets the changes of a second travel together.
        agent.register_feed(FEED, record=True, agg_params={"frame_length": 60}, buffer_time=1)

    @property
    def registered_agents(self) -> Mapping[str, RegisteredAgent]:
        """The agents heard so far, by address."""
        return self.roster.agents

    @ocs_agent.param("test_mode", default=False, type=bool, help="run the loop once")
    @inlineCallbacks
    def main(self, session: ocs_agent.OpSession, params: dict[str, Any] | None) -> Steps:
        """main(test_mode=False)

        **Process** - Keep the list of agents: expire those that have been silent for 5 s, and publish the state of
        every operation, when it changes and every wait-time, on the feed ``agent_operations``.

        Parameters:
            test_mode (bool): Run the loop once. Default is False.

        Notes:
            ``session.data`` has an entry for each agent that has been heard since the registry started. Times are
            unix seconds; the codes are those of ``ocs.OpCode``, 7 for all operations of an expired agent::

                >>> response.session["data"]
                {"observatory.thermometry": {
                    "expired": False,
                    "time_expired": None,
                    "last_updated": 1790000012.73,
                    "op_codes": {"acq": 3, "calibrate": 5},
                    "agent_class": "ThermometryAgent",
                    "agent_address": "observatory.thermometry"}}
        """
        session.data = self.roster.records
        self.roster.publish_all_again()
        self._session = session
        try:
            if (params or {}).get("test_mode"):
                yield self._tick()
            else:
                self._loop = LoopingCall(self._tick)
                self._loop.clock = self._reactor
                yield self._loop.start(TICK)
        finally:
            self._session = self._loop = None
            session.data = {address: agent.encoded() for address, agent in self.roster.agents.items()}
        return True, "Main loop has ended."

    def stop_main(self, session: ocs_agent.OpSession, params: dict[str, Any] | None) -> Result:
        """End the loop of `main`."""
        if self._loop is None:
            return False, "main is not running."
        self._loop.stop()
        return True, "Asked main to stop."

    def register_agent(self, session: ocs_agent.OpSession, params: dict[str, Any] | None) -> Result:
        """register_agent(agent_data)

        **Task** - Deprecated; does nothing. Agents are registered by their heartbeats.
        """
        self.log.warn("register_agent is deprecated: agents are registered by their heartbeats.")
        return True, "Nothing to do: agents are registered by their heartbeats."

    @ocs_agent.param("_")
    def summary(self, session: ocs_agent.OpSession, params: dict[str, Any] | None) -> Result:
        """summary()

        **Task** - Count the agents and the heartbeats.

        Notes:
            ``malformed`` heartbeats were ignored. The registry remembers 50,000 agents: beyond that, the one that
            expired first was ``forgotten`` for each new one, or the new one ``refused`` where none had expired::

                >>> response.session["data"]
                {"agents": 12, "expired": 1, "heartbeats": 86400, "malformed": 0, "forgotten": 0, "refused": 0}
        """
        session.data = self.roster.counts()
        return True, f"{session.data['agents']} agents, {session.data['expired']} of them expired."

    def _hear(self, event: Any) -> None:
        now = self._now()
        try:
            agent = self.roster.hear(event, now)
        except MalformedHeartbeatError as error:
            self._complain(error, now)
            return
        if agent is not None and self._session is not None:
            self._publish([agent], now)

    def _complain(self, error: MalformedHeartbeatError, now: Moment) -> None:
        if now.steady - self._complained < COMPLAIN_EVERY:
            return
        self._complained = now.steady
        text = f"Ignored a malformed heartbeat ({self.roster.malformed} so far): {error}"
        self.log.warn("{text}", text=text)
        if self._session is not None:
            self._session.add_message(text)

    @inlineCallbacks
    def _tick(self) -> Generator[Deferred[Any], Any, None]:
        now = self._now()
        self._hear(self._own_heartbeat())
        for agents in self._work(now):
            self._publish(agents, now)
            if len(agents) == SLICE:
                yield deferLater(self._reactor, 0)

    def _work(self, now: Moment) -> Iterator[Sequence[RegisteredAgent]]:
        while agents := self.roster.expire_silent(now, SLICE):
            yield agents
        while agents := self.roster.due(now, self.wait_time, SLICE):
            yield agents

    def _publish(self, agents: Iterable[RegisteredAgent], now: Moment) -> None:
        for agent in agents:
            for sample in samples(agent, now.wall):
                self.agent.publish_to_feed(FEED, sample, from_reactor=True)
            self.roster.published(agent, now)

    def _own_heartbeat(self) -> tuple[dict[str, int], dict[str, str]]:
        """Return the registry's own heartbeat, which the router does not send back to it."""
        codes = {name: int(s.op_code if s else OpCode.NONE) for name, s in self.agent.sessions.items()}
        return codes, {"agent_address": self.agent.agent_address, "agent_class": self.agent.class_name}


def _global_reactor() -> Any:
    from twisted.internet import reactor  # noqa: PLC0415 - importing it installs one

    return reactor


def _wait_time(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be more than 0 s, not {text}")
    return value


def make_parser(parser: argparse.ArgumentParser | None = None) -> argparse.ArgumentParser:
    """Add the agent's own arguments to a parser, or to a new one."""
    parser = parser or argparse.ArgumentParser(description="Keeps track of all agents and of their operations.")
    group = parser.add_argument_group("Agent Options")
    group.add_argument(
        "--wait-time",
        type=_wait_time,
        default=30.0,
        metavar="SECONDS",
        help="how often the state of every operation is published, changed or not (default: 30)",
    )
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Run the agent.

    Args:
        args: the command line; that of the program unless given.
    """
    parsed = site_config.parse_args(agent_class="RegistryAgent", parser=make_parser(), args=args)
    agent, runner = ocs_agent.init_site_agent(parsed)
    registry = Registry(agent, parsed, reactor=agent.reactor)
    agent.register_process("main", registry.main, registry.stop_main, blocking=False, startup=True)
    agent.register_task("register_agent", registry.register_agent, blocking=False)
    agent.register_task("summary", registry.summary, blocking=False)
    runner.run(agent, auto_reconnect=True)


if __name__ == "__main__":
    main()
