"""The host manager agent: keeps all agents of a machine as they should be, as processes and as docker services."""

import argparse
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import LoopingCall

from ocs import ocs_agent
from ocs.agents.host_manager.logs import log_page
from ocs.agents.host_manager.manager import Manager
from ocs.agents.host_manager.requests import checked_ids, checked_requests
from ocs.agents.host_manager.services import Composed
from ocs.agents.host_manager.setup import make_manager, parse_words
from ocs.errors import OCSError
from ocs.systemd import notify, watchdog_interval

__all__ = ["HostManager", "main", "make_parser"]

STOP_GRACE = 40.0
"""How long the end of all children may take before the agent goes without it, in seconds: their signals take 15."""
_MOST_LINES = 10_000
_LONGEST_STOP = 3600.0
"""How long a container may get to stop, in seconds."""
_REPLY_TIME = 0.2
"""How long the answer to `die` gets to reach the router, in seconds."""

LONGEST_DELAY = 0.4
"""Between two attempts to reach the router, in seconds: all agents of this machine wait for it, and it is only one."""

Result = tuple[bool, str]
Params = dict[str, Any] | None


class HostManager:
    """The operations of the host manager; what they do is in `Manager`.

    Args:
        agent: the OCSAgent that this is the work of.
        docker_composes: compose files whose services are managed.
        docker_service_prefix: with the instance-id behind it, the name of an instance's service.
        manager: does the work; None: one that is set up as the agent's arguments say.
    """

    def __init__(
        self,
        agent: Any,
        docker_composes: Sequence[str] = (),
        docker_service_prefix: str = "ocs-",
        *,
        manager: Manager | None = None,
    ) -> None:
        self.agent = agent
        self.docker_composes = list(docker_composes)
        self.docker_service_prefix = docker_service_prefix
        self._keeper = manager
        agent.stop_grace = STOP_GRACE
        agent.on("join", lambda *_args, **_kwargs: self.keeper.wake())
        agent.register_process("manager", self.manager, self._stop_manager, blocking=False)
        agent.register_task("update", self.update, blocking=False)
        agent.register_task("restart", self.restart, blocking=False)
        agent.register_task("logs", self.logs, blocking=False, quiet=True)
        agent.register_task("remove_orphans", self.remove_orphans, blocking=False)
        agent.register_task("docker_pull", self.docker_pull, blocking=False)
        agent.register_task("die", self.die, blocking=False)

    @property
    def keeper(self) -> Manager:
        """What does the work."""
        if self._keeper is None:
            args = make_parser().parse_args([])
            vars(args).update(vars(self.agent.site_args))
            args.docker_compose, args.docker_service_prefix = ",".join(self.docker_composes), self.docker_service_prefix
            self._keeper = make_manager(self.agent, args, ())
        return self._keeper

    @ocs_agent.param(
        "requests", default=[], cast=checked_requests, type=list, help="[(instance_id or 'all', 'up' or 'down')]"
    )
    @ocs_agent.param("reload_config", default=True, type=bool, help="read the site config file")
    def manager(self, session: ocs_agent.OpSession, params: Params) -> "Deferred[Result]":
        """manager(requests=[], reload_config=True)

        **Process** - Keep all instances of this host as they are wanted.

        Parameters:
            requests (list): Targets to begin with, as in ``update``.
            reload_config (bool): Read the site config file. Default is True; False keeps an earlier reading.
        """
        given = params or {}
        return ensureDeferred(
            self._manage(session, given.get("requests") or [], reload_config=given.get("reload_config", True))
        )

    async def _manage(self, session: Any, requests: list[tuple[str, str]], *, reload_config: bool) -> Result:
        return True, await self.keeper.run(session, requests, reload_config=reload_config)

    def _stop_manager(self, session: ocs_agent.OpSession, params: Params) -> Result:
        """Bring everything down, and end."""
        self.keeper.stop()
        return True, "Letting go of all." if self.keeper.leave_running else "Bringing all down."

    @ocs_agent.param(
        "requests", default=[], cast=checked_requests, type=list, help="[(instance_id or 'all', 'up' or 'down')]"
    )
    @ocs_agent.param("reload_config", default=False, type=bool, help="read the site config file first")
    def update(self, session: ocs_agent.OpSession, params: Params) -> "Deferred[Result]":
        """update(requests=[], reload_config=False)

        **Task** - Set what instances are to be, and have the site config file read again.

        Parameters:
            requests (list): ``(instance_id, target_state)`` each, carried out in this order; ``all`` means every
                instance that is managed, the target is ``up`` or ``down``.
            reload_config (bool): Read the site config file first. Default is False.

        Notes:
            Returns when the targets are set, before they are reached. It fails where the process ``manager`` does not
            run, and where an instance is not known; the other requests are carried out all the same::

                client.update(requests=[("all", "up"), ("thermo1", "down")])
        """
        given = params or {}
        return ensureDeferred(self._update(given.get("requests") or [], reload_config=bool(given.get("reload_config"))))

    async def _update(self, requests: list[tuple[str, str]], *, reload_config: bool) -> Result:
        if not await self.keeper.when_begun():
            return _NOT_RUNNING
        return _result(await self.keeper.request(requests, reload_config=reload_config), "Update requested.")

    @ocs_agent.param("instances", default=[], cast=checked_ids, type=list, help="instance-ids, or 'all'")
    def restart(self, session: ocs_agent.OpSession, params: Params) -> "Deferred[Result]":
        """restart(instances=[])

        **Task** - End instances and start them again.

        Parameters:
            instances (list): Instance-ids; ``all`` means all that are to be up.
        """
        return ensureDeferred(self._restart((params or {}).get("instances") or []))

    async def _restart(self, instances: list[str]) -> Result:
        if not await self.keeper.when_begun():
            return _NOT_RUNNING
        return _result(self.keeper.restart(instances), "Restart requested.")

    @ocs_agent.param("instance_id", type=str)
    @ocs_agent.param("lines", default=50, type=int, check=lambda lines: 0 < lines <= _MOST_LINES)
    @ocs_agent.param("position", default=None, type=int, help="go on from there, as the last answer gave it")
    def logs(self, session: ocs_agent.OpSession, params: Params) -> "Deferred[Result]":
        """logs(instance_id, lines=50, position=None)

        **Task** - Show the last of what an instance has printed.

        Parameters:
            instance_id (str): The instance.
            lines (int): How many lines at most. Default is 50.
            position (int): Show what came after it; as an earlier answer gave it. Default: the last lines.

        Notes:
            The answer is in the data of the session::

                >>> response.session["data"]
                {"instance_id": "thermo1",
                 "lines": ["connected to 10.0.0.5", "acq started"],
                 "position": 4711,
                 "log_file": "/data/log/output/thermo1.log"}
        """
        given = params or {}
        return ensureDeferred(self._logs(session, given["instance_id"], given["lines"], given["position"]))

    async def _logs(self, session: Any, instance_id: str, lines: int, position: int | None) -> Result:
        if instance_id not in self.keeper.roster:
            known = ", ".join(self.keeper.roster) or "none"
            return False, f"There is no instance {instance_id} here; known: {known}."
        try:
            session.data = await log_page(self.keeper.roster[instance_id], lines, position, self.keeper.compose)
        except OCSError as error:
            return False, str(error)
        return True, f"{len(session.data['lines'])} lines."

    @ocs_agent.param(
        "stop_time", default=10.0, type=float, check=lambda seconds: 0 <= seconds <= _LONGEST_STOP, unit="s"
    )
    def remove_orphans(self, session: ocs_agent.OpSession, params: Params) -> "Deferred[Result]":
        """remove_orphans(stop_time=10.)

        **Task** - Stop and remove the containers of services that the compose files no longer describe.

        Parameters:
            stop_time (float): Seconds that a container gets to stop. Default is 10.
        """
        stop_time = (params or {}).get("stop_time", 10.0)
        return ensureDeferred(
            self._with_docker(
                lambda compose: compose.remove_orphans(stop_time, session.add_message), "Orphans removed."
            )
        )

    @ocs_agent.param("_")
    def docker_pull(self, session: ocs_agent.OpSession, params: Params) -> "Deferred[Result]":
        """docker_pull()

        **Task** - Have docker fetch the images that the compose files name.
        """
        return ensureDeferred(self._with_docker(lambda compose: compose.pull(session.add_message), "Images fetched."))

    async def _with_docker(self, work: Callable[[Composed], Awaitable[None]], done: str) -> Result:
        if self.keeper.compose is None:
            return True, "No compose files are managed: there is nothing to do."
        try:
            await work(self.keeper.compose)
        except OCSError as error:
            return False, str(error)
        return True, done

    @ocs_agent.param("disown_dockers", default=False, type=bool, help="leave containers as they are")
    @ocs_agent.param("leave_running", default=False, type=bool, help="leave everything running")
    def die(self, session: ocs_agent.OpSession, params: Params) -> "Deferred[Result]":
        """die(disown_dockers=False, leave_running=False)

        **Task** - Stop the process ``manager``, then end this agent.

        Parameters:
            disown_dockers (bool): Leave the docker services as they are. Default is False.
            leave_running (bool): Leave everything running, for the next manager to take over. Default is False.
        """
        given = params or {}
        if given.get("disown_dockers"):
            self.keeper.disown_services()
        self.keeper.leave_running = self.keeper.leave_running or bool(given.get("leave_running"))
        return ensureDeferred(self._die())

    async def _die(self) -> Result:
        operations = self.agent.operations
        if any(session.op_name == "manager" for session in operations.active()):
            operations.end_early("manager", "stop", None)
            await operations.wait("manager", None)
        self.agent.reactor.callLater(_REPLY_TIME, _stop_reactor, self.agent.reactor)
        return True, "The manager has ended; the agent ends now."


_NOT_RUNNING = (False, "The process manager does not run: start it first.")


def _result(trouble: Sequence[str], done: str) -> Result:
    return (not trouble, " ".join(trouble) or done)


def _stop_reactor(reactor: Any) -> None:
    try:
        reactor.stop()
    except ReactorNotRunning:
        return  # a signal was quicker


def make_parser(parser: argparse.ArgumentParser | None = None) -> argparse.ArgumentParser:
    """Add the agent's own arguments to a parser, or to a new one."""
    parser = parser or argparse.ArgumentParser(description="Keeps all agents of a machine as they should be.")
    group = parser.add_argument_group("Agent Options")
    group.add_argument(
        "--initial-state", choices=["up", "down"], help="the target of all instances at first, whatever the file says"
    )
    group.add_argument(
        "--docker-compose", metavar="FILES", help="compose files whose services are managed, separated by commas"
    )
    group.add_argument(
        "--docker-service-prefix",
        metavar="PREFIX",
        default="ocs-",
        help="with the instance-id behind it, the name of an instance's docker service (default: 'ocs-')",
    )
    group.add_argument(
        "--docker-compose-bin",
        metavar="FILE",
        help="the docker-compose program (default: `docker compose`, else docker-compose in PATH)",
    )
    group.add_argument("--quiet", action="store_true", help="print nothing")
    group.add_argument(
        "--leave-running", action="store_true", help="at the end leave all running, for the next manager to take over"
    )
    group.add_argument(
        "--output-dir",
        metavar="DIR",
        help="where what agents print is kept (default: output, in the folder of --log-dir, else in the state folder)",
    )
    group.add_argument("--no-template", action="store_true", help="start each agent as a program of its own")
    # It keeps this machine's agents for years: it never gives up the router, unless told to.
    parser.set_defaults(crossbar_timeout=0)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Run the agent.

    Args:
        args: the command line; that of the program unless given.
    """
    words = list(sys.argv[1:] if args is None else args)
    parsed = parse_words(make_parser, words)
    if not parsed.site_file:
        raise SystemExit("The host manager needs a site config file: give --site-file, or --site and $OCS_CONFIG_DIR")
    if parsed.quiet:
        _be_quiet()
    agent, runner = ocs_agent.init_site_agent(parsed)
    keeper = make_manager(agent, parsed, words)
    HostManager(agent, (parsed.docker_compose or "").split(","), parsed.docker_service_prefix, manager=keeper)
    agent.reactor.callWhenRunning(_begin, agent)
    agent.reactor.addSystemEventTrigger("before", "shutdown", notify, "STOPPING=1")
    agent.reactor.addSystemEventTrigger("before", "shutdown", _hurry_on_signals, agent.reactor, keeper)
    runner.longest_delay = LONGEST_DELAY
    runner.run(agent, auto_reconnect=True)


def _be_quiet() -> None:
    """Have everything that is printed go nowhere, also what the interpreter itself has to say."""
    with Path(os.devnull).open("wb") as nowhere:
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)


def _hurry_on_signals(reactor: Any, keeper: Manager) -> None:
    """Have a second signal, while children are ending, send each the next, harder one."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: reactor.callFromThread(keeper.hurry))


def _begin(agent: Any) -> None:
    agent.operations.start("manager", None, agent.access.own_level)
    if interval := watchdog_interval():
        LoopingCall(notify, "WATCHDOG=1").start(interval)


if __name__ == "__main__":
    main()
