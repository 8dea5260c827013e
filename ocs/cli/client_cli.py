"""``ocs-client-cli``: a shell with clients, who is alive, what the feeds say."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from ocs import site_config
from ocs.cli import output
from ocs.cli.parsing import Parser, accept_site_arguments
from ocs.clients.scan import AgentFound, Topic, as_json, from_monitor, from_registry, report, resolve_topic
from ocs.errors import OCSError

__all__ = ["main"]

_DESCRIPTION = """\
Talk to the agents of a site. Where the site is, the site config file says:
$OCS_CONFIG_DIR/default.yaml, or what the --site options name.

  ocs-client-cli scan                       who is alive, and what runs
  ocs-client-cli shell fake-1               a Python shell with a client
  ocs-client-cli listen fake-1              all feeds of one agent
  ocs-client-cli listen ..feeds.heartbeat   the heartbeats of all agents
"""

_SHELL = """\
Open a Python shell (IPython where it is installed) with a client of each agent:
the first is `client`, all are in the list `clients`. The operations of an agent
are the client's attributes:

  client.acq.status()
  client.acq.start(test_mode=True)
  help(client.acq.start)
"""

_LISTEN = """\
Print what is published in feeds, until Ctrl-C. TOPIC is an instance-id (all its
feeds), instance-id.feeds.name, or a whole address; `..` stands for any part, as in
..feeds.heartbeat.
"""

SCAN_TIME = 2.0
"""How long to listen to heartbeats, in seconds: they come once a second."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        args: single words; None for those of the command line.

    Returns:
        The exit code: 0, or 1 after an error that was told in one line.
    """
    return output.program(lambda: _main(sys.argv[1:] if args is None else list(args)))


def _main(words: list[str]) -> int:
    args = site_config.parse_args(site_config.CONTROL, _make_parser(), words)
    run = {"shell": _shell, "scan": _scan, "listen": _listen}[args.command]
    return run(args)


def _make_parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        prog="ocs-client-cli",
        description=_DESCRIPTION,
        formatter_class=raw,
        allow_abbrev=False,
        usage="%(prog)s [site options] COMMAND ...",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, prog="ocs-client-cli")

    def add(name: str, summary: str, description: str | None = None) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=summary, description=description or summary, formatter_class=raw)
        accept_site_arguments(command)
        return command

    shell = add("shell", "Open a Python shell with a client of each agent.", _SHELL)
    shell.add_argument("instances", metavar="INSTANCE_ID", nargs="+", help="such as aggregator or fake-1")
    shell.add_argument("--simple", action="store_true", help="the plain Python shell, also where IPython is installed")
    shell.add_argument("--privs", metavar="LEVEL", help="a level from 1 to 3 of the password file, or a password")
    scan = add("scan", "Show which agents are alive, and what they do.")
    scan.add_argument("--details", action="store_true", help="every operation, with its op code")
    scan.add_argument(
        "--use-registry",
        metavar="ID",
        nargs="?",
        const="registry",
        help="ask this registry agent instead of listening to heartbeats, which is faster (default ID: registry)",
    )
    scan.add_argument(
        "--duration", metavar="S", type=float, default=SCAN_TIME, help=f"seconds to listen (default: {SCAN_TIME:g})"
    )
    scan.add_argument("--json", action="store_true", help="a JSON list of agents with their operations")
    listen = add("listen", "Print what is published in feeds.", _LISTEN)
    listen.add_argument("--json", action="store_true", help='a line of JSON per event: {"topic", "message"}')
    listen.add_argument("topic", metavar="TOPIC", help="which feeds")
    return parser


# shell


def _shell(args: argparse.Namespace) -> int:
    from ocs.ocs_client import OCSClient  # noqa: PLC0415 - of no use to the other commands

    privs = int(args.privs) if args.privs and args.privs.isdecimal() and len(args.privs) == 1 else args.privs
    clients = [OCSClient(instance, privs=privs, args=args) for instance in args.instances]
    names = {"client": clients[0], "clients": clients}
    banner = "\n".join(
        ["Clients:", *(f"  clients[{i}] = {client!r}" for i, client in enumerate(clients)), "  client = clients[0]", ""]
    )
    if args.simple or not _ipython(banner, names):
        _plain_shell(banner, names)
    return 0


def _ipython(banner: str, names: dict[str, Any]) -> bool:
    """Run IPython; return False where it is not installed."""
    try:
        from IPython import start_ipython  # noqa: PLC0415 - optional, and slow to load
        from traitlets.config import Config  # noqa: PLC0415
    except ImportError:
        return False
    config = Config()
    config.TerminalInteractiveShell.banner2 = banner
    start_ipython(argv=[], user_ns=names, config=config)
    return True


def _plain_shell(banner: str, names: dict[str, Any]) -> None:
    import code  # noqa: PLC0415 - only here
    import rlcompleter  # noqa: PLC0415

    try:
        import readline  # noqa: PLC0415 - Python can be built without it
    except ImportError:
        pass
    else:
        readline.set_completer(rlcompleter.Completer(names).complete)
        readline.parse_and_bind("tab: complete")
    code.interact(banner, local=names, exitmsg="")


# scan


def _scan(args: argparse.Namespace) -> int:
    if args.duration <= 0:
        raise OCSError(f"--duration must be more than 0 s, not {args.duration:g} s")
    agents = _ask_registry(args) if args.use_registry else _hear_heartbeats(args)
    if args.json:
        output.say_json(as_json(agents))
        return 0
    source = f"by {args.use_registry}" if args.use_registry else f"heard within {args.duration:g} s"
    output.say(f"Agents {source}: {len(agents)}")
    for line in report(agents, details=args.details):
        output.say(line)
    return 0


def _ask_registry(args: argparse.Namespace) -> list[AgentFound]:
    client = site_config.get_control_client(args.use_registry, args=args)
    _, message, session = client.request("status", "main")
    client.stop()
    if not session:
        raise OCSError(f"{args.use_registry} has no list of agents: {message}")
    return from_registry(session.get("data") or {})


def _hear_heartbeats(args: argparse.Namespace) -> list[AgentFound]:
    from twisted.internet import reactor  # noqa: PLC0415 - Twisted is of no use to the other commands
    from twisted.internet.task import deferLater  # noqa: PLC0415

    from ocs.client_t import follow  # noqa: PLC0415
    from ocs.clients.control_session import run_in_session  # noqa: PLC0415
    from ocs.monitor import SiteMonitor  # noqa: PLC0415

    monitor = SiteMonitor()

    async def work(app: Any) -> None:
        topic = f"{app.address_root}..feeds.heartbeat"
        await follow(app, topic, lambda event, _topic: monitor.feed(event, time.monotonic()), match="wildcard")
        await deferLater(reactor, args.duration)

    run_in_session(work, args)
    return from_monitor(monitor, time.monotonic())


# listen


def _listen(args: argparse.Namespace) -> int:
    from twisted.internet.defer import Deferred  # noqa: PLC0415 - Twisted is of no use to the other commands

    from ocs.client_t import follow  # noqa: PLC0415
    from ocs.clients.control_session import run_in_session  # noqa: PLC0415

    topic = resolve_topic(args.topic, args.address_root)
    show = _show_json if args.json else _show_text

    async def work(app: Any) -> None:
        broken: Deferred[None] = Deferred()

        def shown(event: Any, uri: str) -> None:
            try:
                show(event, uri)
            except OSError as error:  # the reader of our output has gone
                if not broken.called:
                    broken.errback(error)

        await follow(app, topic.uri, shown, match=topic.match)
        _tell_what_is_heard(args, topic)
        await broken

    try:
        run_in_session(work, args)
    except KeyboardInterrupt:
        return 0  # that is how listening ends
    return 0


def _tell_what_is_heard(args: argparse.Namespace, topic: Topic) -> None:
    if not args.json:
        output.say(f"Listening to {topic.uri} (Ctrl-C ends it)")


def _show_json(event: Any, topic: str) -> None:
    output.say(json.dumps({"topic": topic, "message": event}, default=repr))


def _show_text(event: Any, topic: str) -> None:
    data = event[0] if isinstance(event, list | tuple) and len(event) == 2 else event  # noqa: PLR2004 - data, envelope
    now = time.time()
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
    output.say(f"{moment} [{topic}] {json.dumps(data, default=repr)}")
