"""``ocs alarms``: what the watcher has to say, and what people have to say to it."""

import argparse
import getpass
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ocs import site_config
from ocs.base import ResponseCode
from ocs.cli.hosts import ANSWER_TIME
from ocs.cli.output import Line, Span, fail, say, say_json, say_lines
from ocs.cli.parsing import seconds
from ocs.cli.readable import count, duration, printable
from ocs.clients.scan import from_registry
from ocs.errors import OCSError, WatcherError
from ocs.ocs_client import OCSClient

__all__ = ["add_arguments", "run", "watcher_of"]

DESCRIPTION = """\
Show the alarms of the site, and deal with them. RULE and SUBJECT may be patterns.
"""

EPILOG = """\
  ocs alarms                                   the alarms, the worst first
  ocs alarms ack agent-expired thermometry     somebody looks after it
  ocs alarms mute agent-expired --for 2h       nobody is told for two hours
  ocs alarms unmute agent-expired
  ocs alarms reset 'disk*'                     end latched alarms

Exit codes: 0 there is no alarm that nobody looks after (or what was asked for is
done), 1 there is one, or it could not be done, 2 a mistake in the command line.
"""

WATCHER_CLASS = "WatcherAgent"
_STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}
_OPEN = ("firing", "latched")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `ocs alarms` takes."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument(
        "action", nargs="?", default="show", choices=["show", "ack", "mute", "unmute", "reset"], metavar="ACTION",
        help="show (the default), ack, mute, unmute or reset",
    )  # fmt: skip
    parser.add_argument("rule", nargs="?", metavar="RULE", help="name of a rule")
    parser.add_argument("subject", nargs="?", metavar="SUBJECT", help="what the alarm is about, as it is shown")
    parser.add_argument("--for", dest="length", metavar="TIME", help="of mute: how long, as in 30min, 2h, 1d")
    parser.add_argument("--by", default=None, metavar="NAME", help="who says so (the user of this machine)")
    parser.add_argument("--comment", default="", metavar="TEXT", help="of ack: what else there is to say")
    parser.add_argument("--watcher", metavar="ID", help="the watcher's instance-id (that of the site config file)")
    parser.add_argument("--all", "-a", action="store_true", help="pending alarms too")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--privs", metavar="LEVEL", help="a level from 1 to 3 of the password file, or a password")
    parser.add_argument(
        "--timeout", type=seconds, metavar="S", default=ANSWER_TIME, help=f"seconds to wait ({ANSWER_TIME:g})"
    )
    site_config.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Show alarms, or do what is wanted with them; returns the exit code.

    Raises:
        OCSError: the watcher is not there, or refuses.
    """
    _check(args)
    client = _client(args)
    return _show(client, args) if args.action == "show" else _act(client, args)


def _check(args: argparse.Namespace) -> None:
    if args.action != "show" and not args.rule:
        fail(f"{args.action} needs a RULE (see --help)", code=2)
    if args.action == "ack" and not args.subject:
        fail("ack needs a RULE and a SUBJECT; '*' means all (see --help)", code=2)
    if args.action == "mute" and not args.length:
        fail("mute needs --for, as in --for 2h (see --help)", code=2)


def _client(args: argparse.Namespace) -> OCSClient:
    config, host, _ = site_config.get_config(args, site_config.CONTROL)
    site_config.add_site_attributes(args, config, host)
    privs = int(args.privs) if args.privs in ("1", "2", "3") else args.privs
    return OCSClient(args.watcher or watcher_of(config, args), privs=privs, timeout=args.timeout, args=args)


def watcher_of(config: Any, args: argparse.Namespace) -> str:
    """Return the instance-id of the site's watcher.

    Args:
        config: the site's configuration.
        args: to ask the registry by, where the site config file has none.

    Raises:
        WatcherError: there is none, or there are several.
    """
    instances = [one for host in config.hosts.values() for one in host.instances]
    found = [one.instance_id for one in instances if one.agent_class == WATCHER_CLASS]
    found = found or _known_to_the_registry(instances, args)
    if len(found) == 1:
        return found[0]
    if found:
        raise WatcherError(f"There are several watchers: give --watcher, one of {', '.join(found)}")
    raise WatcherError(f"There is no {WATCHER_CLASS} at this site: add one to the site config file")


def _known_to_the_registry(instances: Sequence[Any], args: argparse.Namespace) -> list[str]:
    registry = next((one.instance_id for one in instances if one.agent_class == "RegistryAgent"), "registry")
    try:
        client = site_config.get_control_client(registry, args=args)
        _, _, session = client.request("status", "main")
    except OCSError:
        return []
    agents = from_registry((session or {}).get("data") or {})
    return [one.instance_id for one in agents if one.agent_class == WATCHER_CLASS and not one.expired]


def _act(client: OCSClient, args: argparse.Namespace) -> int:
    given = {"rule": args.rule, **({"subject": args.subject} if args.subject else {})}
    task = {"ack": "acknowledge"}.get(args.action, args.action)
    if args.action in ("ack", "mute"):
        given["by"] = args.by or _user()
    if args.action == "ack":
        given["comment"] = args.comment
    if args.action == "mute":
        given["for"] = args.length
    reply = getattr(client, task)(**given)
    session: Mapping[str, Any] = reply.session or {}
    done = reply.status == ResponseCode.OK and bool(session.get("success"))
    words = _last_word(session) or reply.msg
    if args.json:
        say_json({"ok": done, "message": words})
    elif done:
        say(words)
    else:
        raise WatcherError(words)
    return int(not done)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in containers
        return ""


def _last_word(session: Mapping[str, Any]) -> str:
    texts = [str(text) for _, text in session.get("messages") or [] if not str(text).startswith("Status is now")]
    return texts[-1] if texts else ""


def _show(client: OCSClient, args: argparse.Namespace) -> int:
    session: Mapping[str, Any] = client.watch.status().session or {}
    data = session.get("data") or {}
    if session.get("status") != "running":
        raise WatcherError("The watcher's process watch does not run: nobody is told anything")
    alarms = [alarm for alarm in data.get("alarms", []) if args.all or alarm["state"] != "pending"]
    unattended = any(alarm["state"] in _OPEN for alarm in alarms)
    if args.json:
        say_json({**data, "alarms": alarms, "ok": not unattended})
    else:
        say_lines(_lines(alarms, data, time.time()))
    return int(unattended)


def _lines(alarms: Sequence[Mapping[str, Any]], data: Mapping[str, Any], now: float) -> list[Line]:
    lines = [[Span("FAIL  ", "bold red"), Span(printable(text))] for text in data.get("trouble", [])]
    lines += [_line(alarm, now) for alarm in alarms]
    muted = len(data.get("mutes", []))
    more = sum(number for state, number in data.get("counts", {}).items() if state != "pending") - len(alarms)
    words = [count(len(alarms), "alarm"), f"{more} more" if more > 0 else "", count(muted, "mute") if muted else ""]
    words.append(count(data.get("rules", 0), "rule"))
    return [*lines, [Span(", ".join(word for word in words if word), "dim")]]


def _line(alarm: Mapping[str, Any], now: float) -> Line:
    style = _STYLES.get(alarm["severity"], "") if alarm["state"] in _OPEN else "dim"
    by = f" by {alarm['acknowledged_by']}" if alarm["state"] == "acknowledged" else ""
    why = printable(f"{alarm['message']}{by}")
    return [
        Span(f"{alarm['severity']:<9}{alarm['state']:<13}", style),
        Span(f"{printable(alarm['rule'])}  {printable(alarm['subject'])}", "bold"),
        Span(f"  {why}, for {duration(max(0.0, now - alarm['since']))}"),
    ]
