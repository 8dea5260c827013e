"""What the command line of a spawn agent comes to: its name, and where things are for its components."""

import argparse
import os
from pathlib import Path

from ocs.agents.spawn_agent.commands import Commands
from ocs.components.names import Prefix
from ocs.errors import OCSError
from ocs.keys.finding import find_keys
from ocs.scf.arguments import site_words

__all__ = ["make_commands", "prefix_of"]


def make_commands(args: argparse.Namespace, prefix: Prefix, state: Path | None) -> Commands:
    """Return what makes the commands of components, as the arguments say.

    Args:
        args: the parsed arguments.
        prefix: the spawn agent's.
        state: its state folder.
    """
    working_dir = Path(args.working_dir or ".").absolute()
    site_file = str(Path(args.site_file).absolute()) if args.site_file else None
    return Commands(
        spawned_by=str(prefix),
        working_dir=working_dir,
        site_words=(*site_words(args), *_key_words(args)),
        site_file=site_file,
        site_host=args.site_host,
        config_dir=_config_dir(args.config_dir, site_file, working_dir),
        agent_service_url=args.agent_service_url,
        sequence_component=args.sequence_component,
        output_dir=_output_dir(args, working_dir, state),
        mark=str(state.absolute()) if state else f"{prefix}:{os.getpid()}",
    )


def _key_words(args: argparse.Namespace) -> tuple[str, ...]:
    """Return how a component without a key of its own gets that of its spawn agent, at a closed site."""
    folder, file = getattr(args, "site_keys", None), getattr(args, "key_file", None)
    key = find_keys(folder, [getattr(args, "instance_id", None) or ""], file).key
    return (f"--key-file={key.path.absolute()}",) if key and key.path else ()


def _config_dir(given: str | None, site_file: str | None, working_dir: Path) -> Path | None:
    if given:
        return working_dir / given
    return Path(site_file).parent if site_file else None


def _output_dir(args: argparse.Namespace, working_dir: Path, state: Path | None) -> Path | None:
    if args.output_dir:
        return working_dir / str(args.output_dir)
    if args.log_dir:
        return working_dir / str(args.log_dir) / "output"
    return state / "output" if state else None


def prefix_of(given: str | None, host: str) -> Prefix:
    """Return the prefix of a spawn agent.

    Args:
        given: as on the command line; None: it is made of the host's name.
        host: the machine.

    Raises:
        OCSError: what is given cannot be one.
    """
    try:
        return Prefix.parse(given) if given else Prefix("ESW", host.replace(".", "_").strip())
    except ValueError as error:
        raise OCSError(f"--prefix: {error}") from None
