"""The sequence manager agent: keeps an eye on observing modes, configures them, and provides sequence components."""

import argparse
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock, ensureDeferred
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread

from ocs import ocs_agent, site_config
from ocs.agent_service.status import agent_status
from ocs.agents.sequence_manager.choosing import (
    Situation,
    Unassigned,
    assign,
    conflicts,
    mode_states,
    plan_provision,
    resource_states,
)
from ocs.agents.sequence_manager.modes_file import ModesFile
from ocs.agents.sequence_manager.obs_modes import ObsMode
from ocs.agents.sequence_manager.provisioning import Service, carry_out, checked_counts, summary
from ocs.agents.sequence_manager.sequencers import Sequencers
from ocs.agents.sequence_manager.situation import situation_of
from ocs.components.arguments import prefix_argument
from ocs.components.component import Component
from ocs.components.locator import Locator
from ocs.components.names import ComponentId, Prefix
from ocs.errors import OCSError, SequenceError

__all__ = ["SequenceManager", "add_agent_args", "main"]

PREFIX = "ESW.sequence_manager"
LOOK = 5.0
"""How often the file of observing modes is looked at, in seconds."""

Params = dict[str, Any] | None
Result = tuple[bool, str]
Session = ocs_agent.OpSession


class SequenceManager:
    """The operations of the sequence manager. It remembers nothing: what is there, the router knows.

    Args:
        agent: the OCSAgent that this is the work of.
        prefix: the component's name.
        modes: the file of observing modes.
        service: makes a client of the agent service.
    """

    def __init__(self, agent: Any, prefix: Prefix, modes: ModesFile, service: Callable[[], Service]) -> None:
        self.agent = agent
        self.modes = modes
        self.locator = Locator(agent)
        self.component = Component(agent, ComponentId(prefix, "Service"), {"instanceId": agent.instance_id})
        self.sequencers = Sequencers(agent, self.locator.find, agent.agent_address.rpartition(".")[0])
        self._service = service
        self._session: Session | None = None
        self._looking = LoopingCall(self._look)
        self._looking.clock = agent.reactor
        # Whatever changes something is done one after the other: the next decides from what the last has left.
        self._turn = DeferredLock()
        self.locator.on_change(self._tell)
        self.locator.start()
        agent.register_process("main", self.main, self._stop_main, blocking=False, startup=True)
        for task in (
            self.provision,
            self.configure,
            self.shutdown_sequencer,
            self.get_resources,
            self.get_agent_status,
        ):
            agent.register_task(task.__name__, task, blocking=False)

    # What there is

    def situation(self) -> Situation:
        """Return what the router knows now."""
        return situation_of(*(self.locator.of_type(kind) for kind in _KINDS))

    @ocs_agent.param("_")
    def main(self, session: Session, params: Params) -> "Deferred[Result]":
        """main()

        **Process** - Show the observing modes and what there is for them; read their file again when it changes.

        Notes:
            It is degraded while the file of observing modes has a mistake; its last good reading stays in force::

                >>> response.session["data"]
                {"modes": {"dark": {"state": "configurable",  # or configured, in part, blocked
                                    "resources": ["camera-1"], "sequencers": ["ESW.dark"], "missing": ["ESW.dark"],
                                    "resources_held": {}, "no_component_for": []}},
                 "components": {"ESW.primary_1": None},       # or the sequencer that it has loaded
                 "resources": [{"resource": "camera-1", "held_by": []}],
                 "obs_mode_file": "/site/obs-modes.yaml", "trouble": None, "timestamp": 1790000012.73}
        """
        self._session = session
        return self._looking.start(LOOK).addCallback(lambda _: (True, "Ended."))

    def _stop_main(self, session: Session, params: Params) -> Result:
        """End the watch."""
        if self._looking.running:
            self._looking.stop()
        return True, "Ending."

    def _look(self) -> "Deferred[None]":
        """Read the file if it has changed, in a thread, and tell what there is."""
        return deferToThread(self.modes.refresh).addCallback(self._tell)

    def _tell(self, *_: Any) -> None:
        session = self._session
        if session is None or session.status == "done":
            return
        trouble, situation = self.modes.trouble, self.situation()
        if trouble and not session.degraded:
            session.add_message(trouble)
        session.degraded = trouble is not None
        session.data = {
            "modes": mode_states(self.modes.modes, situation),
            "components": _components_data(situation),
            "resources": resource_states(self.modes.modes, situation),
            "obs_mode_file": str(self.modes.path),
            "trouble": trouble,
            "timestamp": time.time(),
        }

    @ocs_agent.param("_")
    def get_resources(self, session: Session, params: Params) -> Result:
        """get_resources()

        **Task** - Tell which observing modes hold which resources: those that have a sequencer.

        Notes:
            The answer is in the data of the session::

                >>> response.session["data"]
                {"resources": [{"resource": "camera-1", "held_by": ["dark"]}]}
        """
        session.data = {"resources": resource_states(self.modes.modes, self.situation())}
        return True, f"{len(session.data['resources'])} resources."

    @ocs_agent.param("_")
    def get_agent_status(self, session: Session, params: Params) -> Result:
        """get_agent_status()

        **Task** - Tell which SpawnAgents there are, their sequence components, and what these have loaded.

        Notes:
            The answer is in the data of the session, in the form of the agent service's ``GetAgentStatus``::

                >>> response.session["data"]
                {"agentStatus": [{"agentId": {"prefix": "ESW.primary", "componentType": "Machine"},
                                  "seqCompsStatus": [{"seqCompId": {"prefix": "ESW.primary_1",
                                                                    "componentType": "SequenceComponent"},
                                                      "sequencerLocation": []}]}],
                 "seqCompsWithoutAgent": []}
        """
        session.data = agent_status(*(self.locator.of_type(kind) for kind in _KINDS))
        return True, f"{len(session.data['agentStatus'])} SpawnAgents."

    # What is changed

    @ocs_agent.param("config", cast=checked_counts, help="SpawnAgent's prefix -> how many sequence components")
    @ocs_agent.param("force", default=False, type=bool, help="kill those with a sequencer too")
    def provision(self, session: Session, params: Params) -> "Deferred[Result]":
        """provision(config, force=False)

        **Task** - See that SpawnAgents have as many sequence components as wanted: kill those that are too many, idle
        ones only, and spawn those that are missing. SpawnAgents that are not named keep what they have.

        Parameters:
            config (dict): SpawnAgent's prefix -> how many, as in ``{"ESW.primary": 2}``.
            force (bool): Kill those that have a sequencer loaded too. Default is False.

        Notes:
            ``session.data`` tells what became of each::

                >>> response.session["data"]
                {"results": [{"component": "ESW.primary_1", "action": "spawn", "agent": "ESW.primary",
                              "ok": True, "message": ""}]}       # action: spawn, kill or kept
        """
        given = params or {}
        return self._in_turn(lambda: self._provision(session, given["config"], force=given["force"]))

    async def _provision(self, session: Session, wanted: dict[Prefix, int], *, force: bool) -> Result:
        plan = plan_provision(wanted, self.situation(), force=force)
        service = self._service()
        session.data = {"results": await deferToThread(carry_out, plan, service)}
        return summary(session.data["results"])

    @ocs_agent.param("obs_mode", type=str)
    def configure(self, session: Session, params: Params) -> "Deferred[Result]":
        """configure(obs_mode)

        **Task** - Load the sequencers of an observing mode, all of them or none, in sequence components that are idle:
        of the sequencer's subsystem, else of ESW. A mode that needs what another one holds is refused.

        Parameters:
            obs_mode (str): The observing mode, as in the file.

        Notes:
            ``session.data`` tells which sequencer is where::

                >>> response.session["data"]
                {"obs_mode": "dark", "sequencers": {"ESW.dark": "ESW.primary_1"}}
        """
        return self._in_turn(lambda: self._configure(session, (params or {})["obs_mode"]))

    async def _configure(self, session: Session, name: str) -> Result:
        mode, situation = self._mode(name), self.situation()
        held = conflicts(mode, self.modes.modes, situation)
        if held:
            words = "; ".join(f"{resource} is held by {', '.join(by)}" for resource, by in sorted(held.items()))
            raise SequenceError(f"{name} cannot be configured: {words}: shut that down first")
        missing = [each for each in mode.sequencers if each.prefix not in situation.sequencers]
        choice = assign(missing, situation.idle())
        if isinstance(choice, Unassigned):
            words = ", ".join(str(each.prefix) for each in choice.sequencers)
            raise SequenceError(
                f"{name} cannot be configured: no sequence component is idle for {words}: provision more"
            )
        troubles = await self.sequencers.load_all(choice)
        session.data = {"obs_mode": name, "sequencers": self._places(mode)}
        if troubles:
            return False, f"{name} is not configured, nothing of it has been left: {'; '.join(troubles)}"
        return True, f"{name} is configured{'.' if missing else ' already.'}"

    def _places(self, mode: ObsMode) -> dict[str, str | None]:
        known = self.situation().sequencers
        return {
            str(each.prefix): str(known[each.prefix]) if known.get(each.prefix) else None for each in mode.sequencers
        }

    @ocs_agent.param("sequencer", default=None, type=str, help="prefix of a sequencer")
    @ocs_agent.param("obs_mode", default=None, type=str, help="an observing mode: all of its sequencers")
    @ocs_agent.param("force", default=False, type=bool, help="abort sequences that run")
    def shutdown_sequencer(self, session: Session, params: Params) -> "Deferred[Result]":
        """shutdown_sequencer(sequencer=None, obs_mode=None, force=False)

        **Task** - Unload a sequencer, or all of an observing mode, and so let go of the mode's resources. It is no
        mistake if there is none.

        Parameters:
            sequencer (str): Its prefix, as in ``ESW.dark``.
            obs_mode (str): In place of it: the observing mode.
            force (bool): Abort sequences that are running; without it a running one is a reason to refuse.
        """
        given = params or {}
        return self._in_turn(lambda: self._shut_down(given["sequencer"], given["obs_mode"], force=given["force"]))

    async def _shut_down(self, sequencer: str | None, obs_mode: str | None, *, force: bool) -> Result:
        situation = self.situation()
        if (sequencer is None) == (obs_mode is None):
            raise SequenceError("Which sequencer is to be shut down? Give either sequencer or obs_mode")
        wanted = situation.of_mode(obs_mode) if obs_mode is not None else [_prefix_of(sequencer)]
        places = {each: place for each in wanted if (place := situation.sequencers.get(each)) is not None}
        lost = [str(each) for each in wanted if each in situation.sequencers and each not in places]
        troubles = await self.sequencers.unload_all(places, force=force)
        troubles += [f"{each} does not say in which sequence component it is" for each in lost]
        done = f"Shut down: {', '.join(map(str, places))}." if places else "There is nothing to shut down."
        return not troubles, "; ".join(troubles) or done

    def _mode(self, name: str) -> ObsMode:
        if name not in self.modes.modes:
            known = ", ".join(self.modes.modes)
            raise SequenceError(f"There is no observing mode {name!r:.80} in {self.modes.path}; it has: {known}")
        return self.modes.modes[name]

    def _in_turn(self, work: Callable[[], Awaitable[Result]]) -> "Deferred[Result]":
        """Do one thing after the other; expected trouble is the answer."""

        async def guarded() -> Result:
            try:
                return await work()
            except OCSError as error:
                return False, str(error)

        return self._turn.run(lambda: ensureDeferred(guarded()))


_KINDS = ("Machine", "SequenceComponent", "Sequencer")


def _components_data(situation: Situation) -> dict[str, str | None]:
    loaded = {each: situation.loaded_in(each) for each in sorted(situation.components)}
    return {str(each): None if sequencer is None else str(sequencer) for each, sequencer in loaded.items()}


def _prefix_of(text: str | None) -> Prefix:
    try:
        return Prefix.parse(text or "")
    except ValueError as error:
        raise SequenceError(str(error)) from None


def add_agent_args(parser_in: argparse.ArgumentParser | None = None) -> argparse.ArgumentParser:
    """Add the agent's own arguments to a parser, or to a new one."""
    parser = parser_in or argparse.ArgumentParser(description="Configures observing modes.")
    group = parser.add_argument_group("Agent Options")
    group.add_argument(
        "--prefix",
        type=prefix_argument,
        default=PREFIX,
        metavar="SUBSYSTEM.NAME",
        help=f"the component's name (default: {PREFIX})",
    )
    group.add_argument("--obs-mode-file", required=True, metavar="FILE", help="the observing modes, YAML or JSON")
    group.add_argument(
        "--agent-service-url",
        metavar="URL",
        help="the agent service, for provision (default: $OCS_AGENT_SERVICE_URL)",
    )
    group.add_argument(
        "--agent-service-token-file",
        metavar="FILE",
        help="has the token that lets it spawn and kill (default: the text of $OCS_AGENT_SERVICE_TOKEN)",
    )
    return parser


def service_from(url: str | None, token_file: str | None, environment: Any = os.environ) -> Service:
    """Return a client of the agent service.

    Args:
        url: its address; else ``OCS_AGENT_SERVICE_URL``.
        token_file: read now, so that a token can be renewed; else ``OCS_AGENT_SERVICE_TOKEN``.
        environment: the variables.

    Raises:
        SequenceError: there is no address, the file cannot be read, or the client is not installed.
    """
    address = url or environment.get("OCS_AGENT_SERVICE_URL")
    if not address:
        raise SequenceError("Where is the agent service? Give --agent-service-url, or set OCS_AGENT_SERVICE_URL")
    try:
        token = Path(token_file).read_text().strip() if token_file else environment.get("OCS_AGENT_SERVICE_TOKEN")
    except (OSError, ValueError) as error:
        raise SequenceError(f"{token_file}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        from ocs.agent_service.client import AgentServiceClient  # noqa: PLC0415 - for provision alone
    except ImportError as error:
        raise SequenceError(
            f"The agent service's client is not installed ({error}): pip install 'ocs[agent-service]'"
        ) from None
    return AgentServiceClient(address, token or None)


def main(args: Sequence[str] | None = None) -> None:
    """Run the agent.

    Args:
        args: the command line; that of the program unless given.
    """
    parsed = site_config.parse_args(agent_class="SequenceManager", parser=add_agent_args(), args=args)
    modes = ModesFile(Path(parsed.obs_mode_file))
    agent, runner = ocs_agent.init_site_agent(parsed)
    SequenceManager(
        agent,
        parsed.prefix,
        modes,
        lambda: service_from(parsed.agent_service_url, parsed.agent_service_token_file),
    )
    runner.run(agent, auto_reconnect=True)


if __name__ == "__main__":
    main()
