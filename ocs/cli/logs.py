"""``ocs logs``: what an instance has printed, asked of the HostManager that runs it; with ``-f``, as it is printed."""

import argparse
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from ocs import site_config
from ocs.cli.hosts import Site
from ocs.cli.hosts_commands import add_timeout_argument, site_of
from ocs.cli.hosts_model import MANAGER_CLASS, Condition, HostView, Row, managers_of, site_view
from ocs.cli.hosts_orders import find_row
from ocs.cli.output import fail, say, say_json, warn
from ocs.cli.parsing import seconds
from ocs.cli.readable import when
from ocs.clients.call_errors import may_pass
from ocs.errors import ControlClientError, OCSError, OperationError, UnknownInstanceError

__all__ = ["Source", "add_arguments", "follow", "lines_after", "run"]

_LOOK_EVERY: Final = 1.0
"""Time between two looks for what is new, in s."""

_MOST_LINES: Final = 400
"""Lines that a HostManager keeps of each instance."""

_TRIES: Final = 8

_CONTROL: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0a-\x1f\x7f-\x9f]")
"""What a terminal would take for a command."""

DESCRIPTION = """\
Show the last lines that an instance has printed, from whatever host it runs on:
its HostManager is asked. Of a HostManager itself, its messages are shown. All that
was ever printed is in the log file on the instance's host.
"""

EPILOG = """\
examples:
  ocs logs fake-1             the last 50 lines
  ocs logs fake-1 -n 200 -f   the last 200, then what comes, until Ctrl-C
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `ocs logs` takes."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument("instance", help="an instance-id")
    parser.add_argument("-n", "--lines", type=_lines, default=50, metavar="N", help="how many lines (50)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is printed, until Ctrl-C")
    parser.add_argument("--interval", type=seconds, default=_LOOK_EVERY, metavar="S", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print JSON; with -f, an object a line")
    parser.add_argument("--privs", metavar="LEVEL", help="a level from 1 to 3 of the password file, or a password")
    add_timeout_argument(parser)
    site_config.add_arguments(parser)


def _lines(word: str) -> int:
    if word.isascii() and word.isdigit() and 0 < int(word) <= _MOST_LINES:
        return int(word)
    raise argparse.ArgumentTypeError(f"{word!r} is no number of lines from 1 to {_MOST_LINES}, which is what is kept")


def run(args: argparse.Namespace) -> int:
    """Print the lines; returns the exit code.

    Raises:
        OCSError: they cannot be had; the text says why.
    """
    source = _source(site_of(args), args.instance)
    data = source(args.lines, None)
    if not args.follow:
        say_json(data) if args.json else _say_all(data["lines"])
        return 0
    show = _show_json(args.instance) if args.json else say
    try:
        for line in follow(source, data, args.interval):
            show(line)
    except KeyboardInterrupt:
        pass  # that is how following ends
    return 0


def _say_all(lines: Sequence[str]) -> None:
    for line in lines:
        say(line)


def _show_json(instance_id: str) -> Callable[[str], None]:
    import json  # noqa: PLC0415 - only here

    return lambda line: say(json.dumps({"instance_id": instance_id, "line": line}))


# where from

Source = Callable[[int, int | None], dict[str, Any]]
"""Gives the last so many lines, or those after a position: ``lines``, ``position``, ``log_file``; ``run`` names that of
the HostManager, each of which counts anew."""


def _source(site: Site, instance_id: str) -> Source:
    views = _views(site, instance_id)
    try:
        view, row = find_row(views, instance_id)
    except UnknownInstanceError as error:
        fail(str(error), code=2)
    _require_manager(site, view, row)
    if row.agent_class == MANAGER_CLASS:
        return lambda lines, position: _messages(site, instance_id, lines, position)
    return lambda lines, position: _printed(site, str(row.manager), instance_id, lines, position)


def _views(site: Site, instance_id: str) -> Sequence[HostView]:
    """Ask only the host that has the instance, where the site file says which; else all."""
    for host in site.config.hosts.values():
        if any(one.instance_id == instance_id and one.manage != "ignore" for one in host.instances):
            answers = site.ask_all(managers_of(host))
            if any(answer.condition is Condition.RUNNING for answer in answers.values()):
                return site_view(site.config, answers)
    return site.view()


def _require_manager(site: Site, view: HostView, row: Row) -> None:
    """Raise where there is nobody to ask, and say where to look instead."""
    if row.manager is None:
        logs = site.config.hosts[view.name].log_dir if view.name in site.config.hosts else None
        where = f"; its own log, if it keeps one, is in {logs} on {view.name}" if logs else ""
        raise OCSError(f"{row.instance_id} is not managed by a HostManager, so that nobody has what it prints{where}")
    answer = next(answer for answer in view.answers if answer.instance_id == row.manager)
    if answer.condition in (Condition.RUNNING, Condition.STOPPED):
        return
    said = f"{row.manager} does not answer" if answer.condition is Condition.AWAY else answer.message
    raise OCSError(f"{said}: the log files of {row.instance_id} are on {view.name}")


def _printed(site: Site, manager: str, instance_id: str, lines: int, position: int | None) -> dict[str, Any]:
    task = getattr(site.client(manager), "logs", None)
    if task is None:
        raise OCSError(f"{manager} has no task logs: it is a HostManager of another version")
    where = {} if position is None else {"position": position}
    reply = _patiently(lambda: task(instance_id=instance_id, lines=lines, **where, check=True))
    said = reply.session.get("data") or {}
    return {**said, "lines": [_CONTROL.sub("", str(line)) for line in said.get("lines") or ()]}


def _patiently(ask: Callable[[], Any]) -> Any:
    """Ask again where somebody else's question is being answered."""
    for attempt in range(_TRIES):
        try:
            return ask()
        except OperationError:
            if attempt == _TRIES - 1:
                raise
            time.sleep(0.05 * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


def _messages(site: Site, manager: str, lines: int, position: int | None) -> dict[str, Any]:
    session = site.client(manager).manager.status().session or {}
    said = [f"{when(moment)} {text}" for moment, text in session.get("messages") or ()]
    new = said[-lines:] if position is None else said
    return {"instance_id": manager, "lines": new, "position": None, "log_file": ""}


# following


def follow(
    source: Source, first: dict[str, Any], interval: float, sleep: Callable[[float], None] = time.sleep
) -> Iterator[str]:
    """Yield the lines that there are, then those that come, for ever; over restarts of the HostManager and the router.

    Args:
        source: gives them.
        first: what it gave at first.
        interval: time between two questions, in s.
        sleep: waits for so many seconds.

    Raises:
        OCSError: there is an error that will not pass.
    """
    seen: list[str] = list(first["lines"])
    yield from seen
    last, new, away = first, seen, False
    while True:
        if len(new) < _MOST_LINES:  # else there are more already
            sleep(interval)
        try:
            data, new = _new_lines(source, last, seen)
        except ControlClientError as error:
            if not may_pass(error):
                raise
            if not away:
                warn(f"{error}; waiting until it is back")
            away, new = True, []
            continue
        last, away = data, False
        yield from new
        seen = [*seen, *new][-_MOST_LINES:]


def _new_lines(source: Source, last: Mapping[str, Any], seen: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the next answer and what is new in it; where lines are counted anew, known ones are told by their text."""
    data = source(_MOST_LINES, last.get("position"))
    if data.get("run") != last.get("run"):
        data = source(_MOST_LINES, None)
        if not data["lines"]:  # a new HostManager may not have read yet what an earlier one has kept
            data["run"] = last.get("run")
    elif data.get("position") is not None:
        return data, data["lines"]
    return data, lines_after(seen, data["lines"])


def lines_after(seen: Sequence[str], found: Sequence[str]) -> list[str]:
    """Return those of the lines found that come after the ones seen: what overlaps at best is left out."""
    for size in range(min(len(seen), len(found)), 0, -1):
        tail = list(seen[-size:])
        for end in range(len(found), size - 1, -1):
            if list(found[end - size : end]) == tail:
                return list(found[end:])
    return list(found)
