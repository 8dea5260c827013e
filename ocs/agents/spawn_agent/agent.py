"""The spawn agent: starts components on its machine when it is asked to, and kills them."""

import argparse
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.task import deferLater

from ocs import ocs_agent, site_config
from ocs.agents.spawn_agent.answers import Answer, failed
from ocs.agents.spawn_agent.arguments import make_commands, prefix_of
from ocs.agents.spawn_agent.bell import Bell
from ocs.agents.spawn_agent.children import Children, child_name
from ocs.agents.spawn_agent.containers import read, spawn_all
from ocs.agents.spawn_agent.ending import Ender
from ocs.agents.spawn_agent.place import Place
from ocs.agents.spawn_agent.report import report
from ocs.agents.spawn_agent.requests import (
    ConfigFile,
    Wanted,
    containers_request,
    killed_component,
    requested_component,
    spawn_request,
)
from ocs.agents.spawn_agent.reunion import Reunion
from ocs.agents.spawn_agent.spawning import Spawner
from ocs.agents.spawn_agent.threads import in_thread
from ocs.components.component import Component
from ocs.components.locator import Locator
from ocs.components.names import ComponentId
from ocs.core.keeping import state_folder
from ocs.errors import OCSError

__all__ = ["SpawnAgent", "main", "make_parser"]

STOP_GRACE = 15.0
"""How long the end may take, in seconds: what is being spawned is taken back first."""

_MOST_LINES = 400
"""How many lines of each component are kept in memory; the log files have more."""

_REPORT_INTERVAL = 0.2
"""`session.data` is made anew at most this often, in seconds, whatever happens meanwhile."""

Result = tuple[bool, str]
Params = dict[str, Any] | None


class SpawnAgent:
    """The procedures and operations of the spawn agent; what they do is in `Spawner`.

    Args:
        agent: the OCSAgent that this is the work of.
        spawner: spawns and kills.
        place: where this spawn agent is.
        children: the components' processes.
        bell: rung when a component comes or goes, and when a process ends.
    """

    def __init__(self, agent: Any, spawner: Spawner, place: Place, children: Children, bell: Bell) -> None:
        self.agent = agent
        self._spawner = spawner
        self._place = place
        self._children = children
        self._bell = bell
        self._is_over = False
        agent.stop_grace = STOP_GRACE
        agent.procedures.update(
            {"spawn": self.serve_spawn, "kill": self.serve_kill, "containers": self.serve_containers}
        )
        agent.register_process("main", self.main, self._stop_main, blocking=False, startup=True)
        agent.register_task("spawn", self.spawn, blocking=False)
        agent.register_task("spawn_containers", self.spawn_containers, blocking=False)
        agent.register_task("kill", self.kill, blocking=False)
        agent.register_task("logs", self.logs, blocking=False, quiet=True)

    # For the agent service: many at once

    def serve_spawn(self, request: Any = None, *_args: Any, **_kwargs: Any) -> "Deferred[Answer]":
        """Spawn what a request asks for; see `spawn_request`."""
        return self._serve(lambda: self._spawn(request))

    def serve_kill(self, component: Any = None, *_args: Any, **_kwargs: Any) -> "Deferred[Answer]":
        """Kill a component; see `killed_component`."""
        return self._serve(lambda: self._kill(component))

    def serve_containers(self, request: Any = None, *_args: Any, **_kwargs: Any) -> "Deferred[Answer]":
        """Spawn all that a file lists; see `containers_request`."""
        return self._serve(lambda: self._spawn_containers(request))

    async def _spawn(self, request: Any) -> Answer:
        return await self._spawner.spawn(spawn_request(request, self._place.prefix.subsystem))

    async def _kill(self, component: Any) -> Answer:
        return await self._spawner.kill(killed_component(component))

    async def _spawn_containers(self, request: Any) -> Answer:
        reactor = self.agent.reactor
        wanted = await in_thread(reactor, self._read_containers, containers_request(request))
        return {"_type": "Completed", "res": await spawn_all(reactor, wanted, self._spawner.spawn)}

    def _read_containers(self, file: ConfigFile) -> list[Wanted]:
        commands = self._children.commands
        check = lambda wanted: commands.make(child_name(wanted.component), wanted)  # noqa: E731 - given on at once
        return read(commands.config_file(file), self._place.prefix.subsystem, check)

    def _serve(self, work: Callable[[], Awaitable[Answer]]) -> "Deferred[Answer]":
        """Answer a call; a caller that hangs up does not break off what it has asked for."""

        async def answer() -> Answer:
            try:
                return await work()
            except (OCSError, OSError) as error:
                return failed(str(error))

        def broken(failure: Any) -> Answer:
            self.agent.log.failure("a request could not be carried out", failure)
            return failed(f"the spawn agent {self._place.prefix} could not carry that out; its log says why")

        def hand_over(result: Answer) -> None:
            if not reply.called:
                reply.callback(result)

        reply: Deferred[Answer] = Deferred(lambda cancelled: cancelled.errback(CancelledError()))
        ensureDeferred(answer()).addErrback(broken).addCallback(hand_over)
        return reply

    # For operators

    @ocs_agent.param("_")
    def main(self, session: ocs_agent.OpSession, params: Params) -> "Deferred[Result]":
        """main()

        **Process** - Tell what has become of the components that have been spawned here.

        Notes:
            ``session.data`` has all that have been started, also by an earlier run of this agent. ``state`` is
            ``spawned`` or ``killed`` while that is being done, then ``running``, ``unregistered`` (the process is
            there, but the router does not know the component) or ``ended``; times are unix seconds::

                >>> response.session["data"]
                {"prefix": "ESW.machine1", "host": "machine1", "trouble": "",
                 "children": {"SequenceComponent.ESW.primary": {
                     "component": {"prefix": "ESW.primary", "componentType": "SequenceComponent"},
                     "instance_id": "seqcomp-esw-primary", "state": "running",
                     "pid": 4711, "started": 1790000012.73,
                     "exits": [{"started": 1789990000.1, "ended": 1789999999.2, "code": 1, "signal": None,
                                "text": "exit code 1"}],
                     "log_file": "/data/log/output/SequenceComponent.ESW.primary.log"}}}
        """
        return ensureDeferred(self._main(session))

    async def _main(self, session: Any) -> Result:
        self._is_over = False
        while not self._is_over:
            session.data = report(self._children, self._place, self._spawner.busy)
            await self._bell.until(lambda: self._is_over, self.agent.reactor.seconds() + 1.0)
            await deferLater(self.agent.reactor, _REPORT_INTERVAL)
        return True, "Told what there was to tell."

    def _stop_main(self, session: ocs_agent.OpSession, params: Params) -> Result:
        """Tell no more; components are not touched."""
        self._is_over = True
        self._bell.ring()
        return True, "The report ends."

    @ocs_agent.param("request", type=dict)
    def spawn(self, session: ocs_agent.OpSession, params: Params) -> "Deferred[Result]":
        """spawn(request)

        **Task** - Bring a component to life on this machine.

        Parameters:
            request (dict): What is wanted, as one of these; each may have a ``version``::

                {"kind": "SequenceComponent", "componentName": "primary"}
                {"kind": "SequenceManager", "obsModeConfigPath": "obs_modes.yaml", "isConfigLocal": True}
                {"kind": "Agent", "instanceId": "fake-1"}

        Notes:
            Succeeds when the component has registered with the router; fails within 20 s, saying why, with nothing
            left behind.
        """
        return ensureDeferred(self._task(lambda: self._spawn((params or {})["request"]), "Spawned."))

    @ocs_agent.param("request", type=dict)
    def spawn_containers(self, session: ocs_agent.OpSession, params: Params) -> "Deferred[Result]":
        """spawn_containers(request)

        **Task** - Bring all components to life that a file lists.

        Parameters:
            request (dict): The file, a path on this machine or, if it is not local, below ``--config-dir``::

                {"hostConfigPath": "machine1.yaml", "isConfigLocal": False}

        Notes:
            Succeeds when all of them have been spawned. If the file has a mistake, none is. What has become of each
            is in the data of the session::

                >>> response.session["data"]
                {"ESW.primary": {"_type": "Spawned"},
                 "OCS.fake-1": {"_type": "Failed", "msg": "Agent OCS.fake-1 is registered already: on machine2"}}
        """
        return ensureDeferred(self._containers_task(session, (params or {})["request"]))

    async def _containers_task(self, session: Any, request: Any) -> Result:
        try:
            session.data = (await self._spawn_containers(request))["res"]
        except (OCSError, OSError) as error:
            return False, str(error)
        trouble = [answer["msg"] for answer in session.data.values() if answer["_type"] == "Failed"]
        spawned = f"{len(session.data) - len(trouble)} of {len(session.data)} spawned"
        return not trouble, "; ".join([spawned, *(text.partition("\n")[0] for text in trouble)])

    @ocs_agent.param("component", cast=requested_component)
    @ocs_agent.param("unregistered", default=False, type=bool, help="also if only its process is there")
    def kill(self, session: ocs_agent.OpSession, params: Params) -> "Deferred[Result]":
        """kill(component, unregistered=False)

        **Task** - End a component of this machine, and all that it has started: SIGTERM, after 10 s SIGKILL.

        Parameters:
            component (dict or str): ``{"prefix": "ESW.primary", "componentType": "SequenceComponent"}``, or
                ``SequenceComponent.ESW.primary``.
            unregistered (bool): End it also where the router does not know it, but its process is here. Default is
                False.
        """
        given = params or {}
        force = bool(given.get("unregistered"))
        return ensureDeferred(self._task(lambda: self._spawner.kill(given["component"], unregistered=force), "Killed."))

    async def _task(self, work: Callable[[], Awaitable[Answer]], done: str) -> Result:
        try:
            answer = await work()
        except (OCSError, OSError) as error:
            return False, str(error)
        return answer["_type"] != "Failed", answer.get("msg", done)

    @ocs_agent.param("component", cast=requested_component)
    @ocs_agent.param("lines", default=50, type=int, check=lambda lines: 0 < lines <= _MOST_LINES)
    @ocs_agent.param("position", default=None, type=int, help="go on from there, as the last answer gave it")
    def logs(self, session: ocs_agent.OpSession, params: Params) -> Result:
        """logs(component, lines=50, position=None)

        **Task** - Show the last of what a component has printed, also after its end.

        Parameters:
            component (dict or str): As for ``kill``.
            lines (int): How many lines at most, up to 400. Default is 50.
            position (int): Show what came after it; as an earlier answer gave it. Default: the last lines.

        Notes:
            The answer is in the data of the session::

                >>> response.session["data"]
                {"component": {"prefix": "ESW.primary", "componentType": "SequenceComponent"},
                 "lines": ["joined test_realm", "ready"],
                 "position": 4711,
                 "log_file": "/data/log/output/SequenceComponent.ESW.primary.log"}
        """
        given = params or {}
        component: ComponentId = given["component"]
        child = self._children.child(child_name(component))
        if child is None:
            known = ", ".join(self._children.names()) or "none"
            return False, f"{child_name(component)} has never been spawned here; known: {known}."
        found, position = child.output.read_since(given.get("position"), given.get("lines", 50))
        log_file = str(child.command.log_file or "")
        session.data = {"component": component.to_json(), "lines": found, "position": position, "log_file": log_file}
        return True, f"{len(found)} lines."

    # The life of the agent

    def begin(self) -> None:
        """Take over what an earlier spawn agent has left."""
        for name in self._children.take_over():
            self.agent.log.info("{name}: taken over from an earlier spawn agent", name=name)
            if not self._children.is_confirmed(name):
                settling = ensureDeferred(self._spawner.settle(name))
                settling.addErrback(lambda failure: self.agent.log.failure("a component is unsettled", failure))

    async def end(self) -> None:
        """Take back what is being spawned, and let go of all others: they run on."""
        await self._spawner.close()
        await self._children.close()


def make_parser(parser: argparse.ArgumentParser | None = None) -> argparse.ArgumentParser:
    """Add the agent's own arguments to a parser, or to a new one."""
    parser = parser or argparse.ArgumentParser(description="Starts and kills components on this machine.")
    group = parser.add_argument_group("Agent Options")
    group.add_argument(
        "--prefix", metavar="PREFIX", help="the name of this machine among the components (default: ESW.HOSTNAME)"
    )
    group.add_argument(
        "--config-dir",
        metavar="DIR",
        help="where files of configuration that are not local are (default: the folder of the site config file)",
    )
    group.add_argument(
        "--agent-service-url", metavar="URL", help="what a sequence manager started here calls to provision components"
    )
    group.add_argument(
        "--sequence-component",
        metavar="CLASS",
        default="SequenceComponent",
        help="the agent class of sequence components (default: SequenceComponent)",
    )
    group.add_argument(
        "--output-dir",
        metavar="DIR",
        help="where what components print is kept (default: output, in the folder of --log-dir, else in the state"
        " folder)",
    )
    # Like what it starts, it never gives up the router, unless told to.
    parser.set_defaults(crossbar_timeout=0)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Run the agent.

    Args:
        args: the command line; that of the program unless given.
    """
    parsed = site_config.parse_args(agent_class="SpawnAgent", parser=make_parser(), args=args)
    host = os.uname().nodename
    prefix = prefix_of(parsed.prefix, host)
    agent, runner = ocs_agent.init_site_agent(parsed)
    state = state_folder(parsed, parsed.site_realm, agent.agent_address)
    bell, locator = Bell(agent.reactor), Locator(agent)
    children = Children(agent.reactor, make_commands(parsed, prefix, state), state, bell.ring)
    reunion = Reunion(agent.reactor, bell.ring)
    agent.on("join", reunion.joined)
    place = Place(prefix, host, locator, lambda: locator.complete, agent.call, reunion.is_over)
    spawner = Spawner(agent.reactor, place, children, bell, Ender(agent.reactor))
    ours = SpawnAgent(agent, spawner, place, children, bell)
    locator.on_change(bell.ring)
    locator.start()
    Component(agent, ComponentId(prefix, "Machine"), {"address": agent.agent_address})
    agent.reactor.callWhenRunning(ours.begin)
    agent.reactor.addSystemEventTrigger("before", "shutdown", lambda: ensureDeferred(ours.end()))
    runner.run(agent, auto_reconnect=True)


if __name__ == "__main__":
    main()
