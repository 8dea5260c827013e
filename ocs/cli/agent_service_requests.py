"""``ocs-agent-service status``, ``spawn`` and ``kill``: what is asked of a running service, and its answers."""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ocs.agent_service.settings import DEFAULT_PORT
from ocs.cli.agent_service_keys import TOKEN_VARIABLE, add_key_folder, own_token
from ocs.cli.output import fail, say, say_json, table
from ocs.cli.parsing import Parser
from ocs.cli.readable import printable
from ocs.components.names import Prefix
from ocs.errors import AgentServiceError, OCSError

if TYPE_CHECKING:
    from ocs.agent_service.client import AgentServiceClient

__all__ = ["add_kill", "add_spawn", "add_status", "rows_of"]

URL_VARIABLE: Final = "OCS_AGENT_SERVICE_URL"
_TYPES: Final = ("SequenceComponent", "Sequencer", "Service", "Agent")

_WAIT: Final = 30.0
"""How long SpawnAgents are waited for, in seconds."""
_LOOK_AGAIN: Final = 0.2
"""How long to wait before the service is asked again, in seconds."""

_Answer = Mapping[str, Any]


def _add_service(parser: Parser, *, with_token: bool = True) -> None:
    add = parser.add_argument
    default = f"http://127.0.0.1:{DEFAULT_PORT}"
    add("--url", metavar="URL", help=f"where the service is (${URL_VARIABLE}, else {default})")
    add("--json", action="store_true", help="print the service's answer as JSON")
    if with_token:
        add("--token-file", type=Path, metavar="FILE", help=f"has the token (else ${TOKEN_VARIABLE})")
        add_key_folder(parser)
        parser.epilog = (
            "Without a token, one for this request is made with the service's own key, if this account can read that."
        )


def _client(args: argparse.Namespace, token: str | None = None) -> "AgentServiceClient":
    from ocs.agent_service.client import AgentServiceClient  # noqa: PLC0415 - of the extra

    url = args.url or os.environ.get(URL_VARIABLE) or f"http://127.0.0.1:{DEFAULT_PORT}"
    return AgentServiceClient(url, token)


def _token(args: argparse.Namespace) -> str | None:
    """Return what lets this request in; None leaves it to the service to say what is missing."""
    if args.token_file is not None:
        return _token_in(args.token_file)
    if args.key_folder is None and (given := os.environ.get(TOKEN_VARIABLE, "").strip()):
        return given
    return own_token(args.key_folder)


def _token_in(path: Path) -> str:
    try:
        token = path.read_text().strip()
    except (OSError, ValueError) as error:
        raise OCSError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not token:
        raise OCSError(f"{path} is empty, and is to have a token")
    return token


# status


def add_status(parser: Parser) -> None:
    """Add what `status` takes; it needs no token."""
    _add_service(parser, with_token=False)
    parser.add_argument(
        "--wait", nargs="+", default=[], metavar="AGENT", help="wait until these SpawnAgents are there, 30 s at most"
    )
    parser.set_defaults(run=_status)


def _status(args: argparse.Namespace) -> int:
    answer = _awaited_status(_client(args), {_known_as(name) for name in args.wait})
    if args.json:
        say_json(answer)
    elif answer.get("_type") == "Success":
        _show(list(rows_of(answer)))
    return _outcome(answer, "Success")


def _awaited_status(client: "AgentServiceClient", wanted: set[str]) -> _Answer:
    """Return the first status with all SpawnAgents in it that are wanted; when the time is up, whatever there is."""
    until = time.monotonic() + _WAIT
    while wanted and time.monotonic() < until:
        with suppress(AgentServiceError):
            answer = client.agent_status()
            if wanted <= {agent["agentId"]["prefix"] for agent in answer.get("agentStatus", ())}:
                return answer
        time.sleep(_LOOK_AGAIN)
    return client.agent_status()


def _known_as(name: str) -> str:
    try:
        return str(Prefix.parse(name))
    except ValueError as error:
        raise OCSError(f"--wait: {error}") from None


def _show(rows: list[tuple[str, str, str]]) -> None:
    if rows:
        table(("SPAWN AGENT", "SEQUENCE COMPONENT", "SEQUENCER"), rows)
    else:
        say("no SpawnAgent and no sequence component is there")


def rows_of(answer: _Answer) -> Iterator[tuple[str, str, str]]:
    """Yield the rows of a status: SpawnAgent, sequence component, sequencer; a dash for what is not there."""
    for agent in answer["agentStatus"]:
        components = list(_components(agent["seqCompsStatus"])) or [("-", "-")]
        yield from ((_prefix(agent["agentId"]), *each) for each in components)
    yield from (("-", *each) for each in _components(answer["seqCompsWithoutAgent"]))


def _components(status: list[_Answer]) -> Iterator[tuple[str, str]]:
    for each in status:
        loaded = each["sequencerLocation"]
        yield _prefix(each["seqCompId"]), _prefix(loaded[0]["connection"]) if loaded else "-"


def _prefix(component: _Answer) -> str:
    return printable(str(component["prefix"]))


# spawn


def add_spawn(parser: Parser) -> None:
    """Add what `spawn` takes: one more word for each kind of component."""
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)

    def add(name: str, summary: str, ask: Callable[[Any, argparse.Namespace], _Answer]) -> Parser:
        kind: Parser = kinds.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        kind.add_argument("agent", metavar="AGENT", help="the SpawnAgent of the machine, such as ESW.machine1")
        _add_service(kind)
        kind.set_defaults(run=lambda args: _spawn(args, ask))
        return kind

    component = add("sequence-component", "A sequence component, which loads sequence scripts.", _sequence_component)
    component.add_argument("name", metavar="NAME", help="its name; the subsystem is that of the SpawnAgent")
    component.add_argument("--version", help="the version of what is spawned")
    manager = add("sequence-manager", "The sequence manager, which configures observing modes.", _sequence_manager)
    manager.add_argument("path", metavar="FILE", help="the file of observing modes, on the SpawnAgent's machine")
    manager.add_argument("--shared", action="store_true", help="FILE is in the SpawnAgent's shared folder")
    manager.add_argument("--version", help="the version of what is spawned")
    agent = add("agent", "An OCS agent that the site config file describes.", _agent)
    agent.add_argument("instance_id", metavar="INSTANCE", help="its instance-id, of that machine's host")
    containers = add("containers", "All components that a file lists.", _containers)
    containers.add_argument("path", metavar="FILE", help="the list, on the SpawnAgent's machine")
    containers.add_argument("--shared", action="store_true", help="FILE is in the SpawnAgent's shared folder")


def _sequence_component(client: "AgentServiceClient", args: argparse.Namespace) -> _Answer:
    return client.spawn_sequence_component(args.agent, args.name, version=args.version)


def _sequence_manager(client: "AgentServiceClient", args: argparse.Namespace) -> _Answer:
    return client.spawn_sequence_manager(args.agent, args.path, not args.shared, version=args.version)


def _agent(client: "AgentServiceClient", args: argparse.Namespace) -> _Answer:
    return client.spawn_agent(args.agent, args.instance_id)


def _containers(client: "AgentServiceClient", args: argparse.Namespace) -> _Answer:
    return client.spawn_containers(args.agent, args.path, not args.shared)


def _spawn(args: argparse.Namespace, ask: Callable[[Any, argparse.Namespace], _Answer]) -> int:
    answer = ask(_client(args, _token(args)), args)
    if args.json:
        say_json(answer)
    elif answer.get("_type") == "Completed":
        table(("COMPONENT", "RESULT"), [(name, _result(each)) for name, each in sorted(answer["res"].items())])
    elif answer.get("_type") == "Spawned":
        say(f"spawned by {args.agent}")
    if answer.get("_type") == "Completed":
        return int(any(each.get("_type") != "Spawned" for each in answer["res"].values()))
    return _outcome(answer, "Spawned")


def _result(answer: _Answer) -> str:
    return "spawned" if answer.get("_type") == "Spawned" else f"failed: {printable(_message(answer))}"


# kill


def add_kill(parser: Parser) -> None:
    """Add what `kill` takes."""
    parser.add_argument("prefix", metavar="PREFIX", help="the component, such as ESW.primary")
    parser.add_argument(
        "--type", choices=_TYPES, default=_TYPES[0], help="what it is (%(default)s); the sequence manager is a Service"
    )
    _add_service(parser)
    parser.set_defaults(run=_kill)


def _kill(args: argparse.Namespace) -> int:
    answer = _client(args, _token(args)).kill_component({"prefix": args.prefix, "componentType": args.type})
    if args.json:
        say_json(answer)
    elif answer.get("_type") == "Killed":
        say(f"killed {args.prefix}")
    return _outcome(answer, "Killed")


def _outcome(answer: _Answer, good: str) -> int:
    """Return the exit code; ends the program with what the service said where that is not what was wanted."""
    if answer.get("_type") != good:
        fail(printable(_message(answer), longest=2000))
    return 0


def _message(answer: _Answer) -> str:
    return str(answer.get("msg") or answer.get("reason") or answer)
