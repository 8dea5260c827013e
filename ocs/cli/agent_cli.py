"""``ocs-agent-cli``: start any agent of the site by its instance-id."""

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ocs import site_config
from ocs.agent_classes import (
    build_agent_list,
    entry_point_of,
    find_agent_class,
    import_problem,
    installed_classes,
    load_entry_point,
)
from ocs.cli import output
from ocs.errors import AgentClassError, OCSError, SiteConfigError
from ocs.scf import last_good
from ocs.scf.arguments import site_words

__all__ = ["agent_arguments", "build_agent_list", "main"]

_DESCRIPTION = """\
Start an agent: its class is looked up in the site config file by its instance-id,
and the class in the installed plugins. Arguments that are not listed here go to
the agent.

  ocs-agent-cli --instance-id fake-1
  ocs-agent-cli --instance-id fake-1 --site-file site.yaml --sample-rate 20
  ocs-agent-cli --agent my_agent.py --entrypoint main --instance-id mine
  ocs-agent-cli --agent-class SequenceComponent --instance-id seq-1 --prefix ESW.primary
  ocs-agent-cli --agent-help FakeDataAgent
"""

_EPILOG = """\
environment, where the option is not given:
  OCS_CONFIG_DIR    the folder of the site config file, {site}.yaml
  INSTANCE_ID, SITE_HOST, SITE_HUB, SITE_HTTP, CROSSBAR_TIMEOUT
                    as the options of these names
  LOGLEVEL          debug, info (default), warn, error; debug also shows the
                    traceback of an agent that cannot be imported
"""

_FROM_ENVIRONMENT = {
    "instance_id": "INSTANCE_ID",
    "site_host": "SITE_HOST",
    "site_hub": "SITE_HUB",
    "site_http": "SITE_HTTP",
    "crossbar_timeout": "CROSSBAR_TIMEOUT",
}


def main(args: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        args: single words; None for those of the command line.

    Returns:
        The exit code: 0, or 1 after an error that was told in one line.
    """
    return output.program(lambda: _main(sys.argv[1:] if args is None else list(args)))


def _main(words: list[str]) -> int:
    own, others = _make_parser().parse_known_args(words)
    if own.list_agents:
        return _list_agents()
    passed = agent_arguments(own, others, os.environ)
    if own.agent_class and not own.agent_help:
        passed = _without_site_file(own, passed)
    if own.agent_help:
        passed = ["--help"]
    start = _entry_point(own, others)
    if own.instance_id and not own.agent_help:
        _set_process_title(f"ocs-agent:{own.instance_id}")
    result = start(args=passed)
    return result if isinstance(result, int) else 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ocs-agent-cli",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        usage="%(prog)s --instance-id ID [options] [the agent's own options]",
    )
    parser.add_argument("--instance-id", metavar="ID", help="the instance to start, as in the site config file")
    site = parser.add_argument_group("site")
    site.add_argument(
        "--site-host", metavar="HOST", help="the host section to look in (default: this host's, or localhost)"
    )
    site.add_argument("--site-hub", metavar="URL", help="the router's websocket address")
    site.add_argument("--site-http", metavar="URL", help="the address of the router's HTTP bridge")
    site.add_argument(
        "--crossbar-timeout", metavar="S", help="seconds without a router before the agent exits; 0 = never"
    )
    unlisted = parser.add_argument_group("an agent that the site config file does not list")
    unlisted.add_argument(
        "--agent-class", metavar="CLASS", help="start an agent of this class; of the file only the hub and host count"
    )
    script = parser.add_argument_group("an agent that is no plugin")
    script.add_argument("--agent", metavar="FILE", help="the script to run")
    script.add_argument("--entrypoint", metavar="FUNC", default="main", help="its function to call (default: main)")
    about = parser.add_argument_group("to learn more")
    about.add_argument(
        "--agent-help",
        metavar="CLASS",
        nargs="?",
        const=True,
        help="an agent's own options: of a class, or of the instance",
    )
    about.add_argument("--list-agents", action="store_true", help="the agent classes that are installed")
    return parser


def agent_arguments(own: argparse.Namespace, others: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Return what the agent gets: its part of the command line, and ours, completed from the environment.

    Args:
        own: our options; those that were not given and are in the environment are filled in.
        others: the words that are not ours.
        environment: empty variables count as absent.
    """
    words: list[str] = []
    for name, variable in _FROM_ENVIRONMENT.items():
        value = getattr(own, name) or environment.get(variable)
        setattr(own, name, value)
        if value:
            words += [f"--{name.replace('_', '-')}", value]
    return [*words, *others]


def _list_agents() -> int:
    classes = installed_classes(output.warn)
    output.table(
        ("agent class", "plugin", "module"), [(c.name, c.plugin, c.module) for _name, c in sorted(classes.items())]
    )
    return 0


def _entry_point(own: argparse.Namespace, others: Sequence[str]) -> Callable[..., Any]:
    try:
        if own.agent:
            return entry_point_of(_load_script(Path(own.agent)), own.entrypoint)
        return load_entry_point(find_agent_class(_class_name(own, others), output.warn))
    except AgentClassError as error:
        if error.__cause__ and os.environ.get("LOGLEVEL", "").lower() == "debug":
            import traceback  # noqa: PLC0415 - only here

            traceback.print_exception(error.__cause__)
        raise


def _class_name(own: argparse.Namespace, others: Sequence[str]) -> str:
    if isinstance(own.agent_help, str):
        return own.agent_help
    if own.agent_class:
        return str(own.agent_class)
    if not own.instance_id:
        raise OCSError("which agent? Give --instance-id, or set INSTANCE_ID")
    # No abbreviations: the agent's own options are among these words, and may begin like one of ours.
    parser = site_config.add_arguments(argparse.ArgumentParser(add_help=False, allow_abbrev=False))
    args = parser.parse_known_args(others)[0]
    args.instance_id, args.site_host = own.instance_id, own.site_host
    instance = _instance(args)
    if instance is None:
        raise OCSError("without a site config file (--site none) an agent is started with --agent FILE")
    return instance.agent_class


def _without_site_file(own: argparse.Namespace, words: Sequence[str]) -> list[str]:
    """Return the words for an agent that is not in the site config file: what it would have of the file is in them."""
    if not own.instance_id:
        raise OCSError("which agent? With --agent-class give --instance-id too: the name it is to have on the network")
    args, rest = site_config.add_arguments(
        argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    ).parse_known_args(words)
    site, host, _ = site_config.get_config(args, site_config.CONTROL)
    if host is not None and any(each.instance_id == own.instance_id for each in host.instances):
        raise OCSError(
            f"{own.instance_id} is an instance of host {host.name} in the site config file: "
            "start it without --agent-class, or give it another --instance-id"
        )
    site_config.add_site_attributes(args, site, host)
    if site.source_file:
        # Without the file itself: what agents look for beside it is found by this.
        os.environ.setdefault("OCS_CONFIG_DIR", str(Path(site.source_file).absolute().parent))
    restarts = [f"--restart-process={name}={policy}" for name, policy in args.restart_process or ()]
    return [*rest, *restarts, *site_words(args, "instance_id", "working_dir", "crossbar_timeout", "key_file")]


def _instance(args: argparse.Namespace) -> site_config.InstanceConfig | None:
    """Return the instance; of a file with a mistake in it only a host manager, as the last good copy describes it."""
    try:
        return site_config.get_config(args).instance
    except SiteConfigError as error:
        copy = last_good.copy_of(site_config.site_file_of(args)) if last_good.is_mistake(error) else None
        if copy is None:
            raise
        args.site_file = copy
        instance = site_config.get_config(args).instance
        if instance is None or instance.agent_class != "HostManager":
            raise
        return instance


def _load_script(path: Path) -> Any:
    """Import a file as Python would run it: its own folder is where it imports from."""
    if not path.is_file():
        raise AgentClassError(f"{path}: there is no such file to run as an agent")
    name = path.stem if path.stem not in sys.modules else f"{path.stem}_script"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise AgentClassError(f"{path}: is not a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # an agent is somebody else's code, and so is what it imports
        raise AgentClassError(import_problem(str(path), error)) from error
    return module


def _set_process_title(title: str) -> None:
    from setproctitle import setproctitle  # noqa: PLC0415 - not wanted where only help is shown

    setproctitle(title)
