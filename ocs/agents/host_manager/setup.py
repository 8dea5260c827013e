"""What a manager is made of, from its command line and its place in the site."""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ocs import site_config
from ocs.agents.host_manager.commands import AgentCommands, child_environment, given_options
from ocs.agents.host_manager.manager import Manager, Plan
from ocs.agents.host_manager.reading import MANAGER_CLASS, SiteReader
from ocs.agents.host_manager.services import Composed
from ocs.core.keeping import state_folder
from ocs.errors import SiteConfigError
from ocs.scf import last_good
from ocs.supervisor.forking import Template
from ocs.systemd import notify

__all__ = ["make_manager", "parse_words"]


def parse_words(make_parser: Callable[[], argparse.ArgumentParser], words: Sequence[str]) -> argparse.Namespace:
    """Return the manager's arguments; while its site config file is broken, from the copy of when it was last good.

    Args:
        make_parser: makes the parser of the manager's own arguments.
        words: the command line.

    Raises:
        SiteConfigError: the file is missing, says nothing of this manager, or is broken and was never good.
    """
    try:
        return site_config.parse_args(agent_class=MANAGER_CLASS, parser=make_parser(), args=words)
    except SiteConfigError as error:
        path = _site_file(words)
        copy = last_good.copy_of(path) if last_good.is_mistake(error) else None
        if copy is None:
            raise
        again = [*words, "--site-file", copy]
        parsed = site_config.parse_args(agent_class=MANAGER_CLASS, parser=make_parser(), args=again)
        parsed.site_file = str(Path(path).absolute())
        return parsed


def _site_file(words: Sequence[str]) -> str:
    parser = site_config.add_arguments(argparse.ArgumentParser(add_help=False, allow_abbrev=False))
    return site_config.site_file_of(parser.parse_known_args(list(words))[0])


def make_manager(agent: Any, args: argparse.Namespace, words: Sequence[str]) -> Manager:
    """Return what does the work, set up as the arguments say.

    Args:
        agent: the OCSAgent.
        args: the parsed arguments.
        words: those that were given on the command line.
    """
    working_dir = Path(args.working_dir or ".").absolute()
    state = state_folder(args, args.site_realm, agent.agent_address)
    host = args.site_host or _host_name(args)
    plan = Plan(
        host_name=host,
        address_root=args.address_root,
        state=state,
        initial_state=args.initial_state,
        service_prefix=args.docker_service_prefix,
        leave_running=args.leave_running,
    )
    return Manager(
        agent,
        agent.reactor,
        plan,
        SiteReader(str(Path(args.site_file).absolute()), host, agent.instance_id),
        AgentCommands(host, working_dir, given_options(words), _output_folder(args, working_dir, state)),
        make_compose=_compose_maker(agent, args, working_dir),
        make_template=None if args.no_template else lambda: _make_template(agent),
        on_status=_tell_systemd,
    )


def _host_name(args: argparse.Namespace) -> str:
    site_file = last_good.copy_of(args.site_file) or args.site_file
    wanted = argparse.Namespace(site=None, site_file=site_file, site_host=None, instance_id=None)
    host = site_config.get_config(wanted, site_config.HOST).host
    return (host.name if host else None) or "localhost"


def _output_folder(args: argparse.Namespace, working_dir: Path, state: Path | None) -> Path | None:
    if args.output_dir:
        return working_dir / str(args.output_dir)
    if args.log_dir:
        return working_dir / str(args.log_dir) / "output"
    return state / "output" if state else None


def _compose_maker(
    agent: Any, args: argparse.Namespace, working_dir: Path
) -> Callable[[Callable[[], None]], Composed] | None:
    files = [working_dir / name.strip() for name in (args.docker_compose or "").split(",") if name.strip()]
    if not files:
        return None

    def make(on_change: Callable[[], None]) -> Composed:
        from ocs.agents.host_manager.docker import Compose  # noqa: PLC0415 - most hosts have no docker services

        binary = args.docker_compose_bin
        compose: Composed = Compose(agent.reactor, files, compose_bin=binary, log=agent.log, on_change=on_change)
        return compose

    return make


def _make_template(agent: Any) -> Template:
    return Template(agent.reactor, env=child_environment(os.environ), log=agent.log)


def _tell_systemd(line: str) -> None:
    notify("READY=1", f"STATUS={line}")
