"""``ocs-local-support``: what a host runs for the whole site: the crossbar router, and its HostManager."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict

from ocs import site_config
from ocs.cli.local_support_crossbar import (
    crossbar_status,
    generate,
    has_router,
    local_router,
    start_crossbar,
    stop_crossbar,
)
from ocs.cli.local_support_manager import HostManager, find_manager
from ocs.cli.local_support_status import BAD, TARGETS, Status
from ocs.cli.output import fail, program, say_json, table
from ocs.cli.parsing import Parser, seconds
from ocs.errors import HostManagerError

__all__ = ["Status", "main"]

_DESCRIPTION = """\
Control what runs on this host for the whole site: the crossbar router, the
HostManager agent, and that agent's process, which keeps all other agents.
"""

_EPILOG = """\
examples:
  ocs-local-support generate_crossbar_config   once, and after changes of the site file
  ocs-local-support start                      the router, the HostManager, its process
  ocs-local-support status
  ocs-local-support stop agent                 with all agents that it keeps
  ocs-local-support start agent --foreground   in this terminal, until Ctrl-C

On a machine that is to come up by itself, `ocs-install-systemd` sets up the HostManager.
"""


def _make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="ocs-local-support",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("command", choices=("status", "start", "stop", "generate_crossbar_config"))
    parser.add_argument("target", nargs="?", choices=TARGETS, help="one of them only")
    parser.add_argument("--foreground", action="store_true", help="start: run in this terminal, until Ctrl-C")
    parser.add_argument("--force", action="store_true", help="generate_crossbar_config: replace a file that differs")
    parser.add_argument("--port", type=int, help="generate_crossbar_config: listen here, not at the hub's port")
    parser.add_argument(
        "--leave-running", action="store_true", help="stop agent: what it keeps runs on, and the next one takes it over"
    )
    parser.add_argument("--timeout", type=seconds, default=60.0, help="seconds to wait for start and stop (60)")
    parser.add_argument("--privs", metavar="LEVEL", help="a level from 1 to 3 of the password file, or a password")
    parser.add_argument("--json", action="store_true", help="status: print JSON")
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run ``ocs-local-support``; returns the exit code."""
    words = list(sys.argv[1:] if args is None else args)
    return program(lambda: _main(words))


def _main(words: list[str]) -> int:
    args = site_config.parse_args(site_config.HOST, _make_parser(), words)
    if args.command == "generate_crossbar_config":
        return generate(local_router(args), force=args.force, port=args.port)
    if args.foreground and (args.command != "start" or args.target not in ("crossbar", "agent")):
        fail("--foreground goes with `start crossbar` and `start agent`", code=2)
    if args.leave_running and (args.command, args.target) != ("stop", "agent"):
        fail("--leave-running goes with `stop agent`", code=2)
    manager = find_manager(args, words)
    if args.command == "status":
        return _show_status(args, manager)
    return _start_or_stop(args, manager)


# status


def _show_status(args: argparse.Namespace, manager: HostManager | None) -> int:
    """Print how things are; the exit code is 1 if one of them is not as it should be."""
    found = [_status(target, args, manager) for target in ([args.target] if args.target else TARGETS)]
    if args.json:
        say_json([asdict(status) for status in found])
    else:
        table(("target", "state", "detail"), [(s.target, s.state, s.detail) for s in found])
    return int(any(status.state in BAD or (args.target and status.state == "none") for status in found))


def _status(target: str, args: argparse.Namespace, manager: HostManager | None) -> Status:
    if target == "crossbar":
        return crossbar_status(args)
    if manager is None:
        return Status(target, "none", "the site file has no HostManager on this host")
    return manager.agent_status() if target == "agent" else manager.process_status()


# start, stop


def _start_or_stop(args: argparse.Namespace, manager: HostManager | None) -> int:
    targets = [args.target] if args.target else _all_targets(args, manager)
    steps = _starts(args, manager) if args.command == "start" else _stops(args, manager)
    for target in targets if args.command == "start" else reversed(targets):
        steps[target]()
    return 0


def _all_targets(args: argparse.Namespace, manager: HostManager | None) -> list[str]:
    """Return what the site file has on this host; stopping the agent stops its process."""
    kept = ["agent", "process"] if args.command == "start" else ["agent"]
    router = ["crossbar"] if has_router(args) else []
    found = router + (kept if manager is not None else [])
    if not found:
        local_router(args)  # says what is missing
    return found


def _starts(args: argparse.Namespace, manager: HostManager | None) -> dict[str, Callable[[], int]]:
    return {
        "crossbar": lambda: start_crossbar(local_router(args), foreground=args.foreground, timeout=args.timeout),
        "agent": lambda: _needed(manager).start_agent(foreground=args.foreground, timeout=args.timeout),
        "process": lambda: _needed(manager).start_process(timeout=args.timeout),
    }


def _stops(args: argparse.Namespace, manager: HostManager | None) -> dict[str, Callable[[], int]]:
    return {
        "crossbar": lambda: stop_crossbar(local_router(args), timeout=args.timeout),
        "agent": lambda: _needed(manager).stop_agent(timeout=args.timeout, leave_running=args.leave_running),
        "process": lambda: _needed(manager).stop_process(timeout=args.timeout),
    }


def _needed(manager: HostManager | None) -> HostManager:
    if manager is None:
        raise HostManagerError(
            "the site file has no HostManager on this host: give the host an instance such as "
            "`{agent-class: HostManager, instance-id: hm-HOST}`"
        )
    return manager
