"""``ocs-agent-service``: runs the agent service, makes its keys and tokens, and asks it for components."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ocs import site_config
from ocs.agent_service.settings import (
    DEFAULT_AUDIENCE,
    DEFAULT_PORT,
    DEFAULT_ROLE,
    DEFAULT_ROLE_CLAIM,
    SecuritySettings,
    Settings,
    default_key_folder,
    is_loopback,
)
from ocs.cli import agent_service_keys as keys
from ocs.cli import agent_service_requests as requests
from ocs.cli.output import fail, program, warn
from ocs.cli.parsing import Parser
from ocs.errors import SiteConfigError
from ocs.scf.model import HubConfig

__all__ = ["main", "settings_of"]

_DESCRIPTION: Final = """\
Components of an observatory, spawned and killed on any of its machines over HTTP.

  ocs-agent-service init               make the keys, once
  ocs-agent-service start              run the service
  ocs-agent-service token              a token for an operator, a browser, a script
  ocs-agent-service spawn sequence-component ESW.machine1 primary
  ocs-agent-service status             SpawnAgents, and what runs where
  ocs-agent-service kill ESW.primary
"""

_EPILOG: Final = """\
environment:
  OCS_CONFIG_DIR            the folder of the site config file; keys are in its agent-service-keys
  OCS_AGENT_SERVICE_URL     where the service is, for status, spawn and kill
  OCS_AGENT_SERVICE_TOKEN   the token for spawn and kill

Exit codes: 0 done, 1 it failed or was refused, 2 the command line has a mistake in it.
"""

_AUDIT_LOG: Final = "agent-service-audit.jsonl"
_PACKAGES: Final = ("cryptography", "fastapi", "httpx", "jwt", "pydantic", "starlette", "uvicorn")
"""What the extra `agent-service` brings."""


def main(args: Sequence[str] | None = None) -> int:
    """Run ``ocs-agent-service``; returns the exit code.

    Args:
        args: the words of the command line; None: those of this process.
    """
    words = list(sys.argv[1:] if args is None else args)
    return program(lambda: _main(words))


def _main(words: list[str]) -> int:
    args = make_parser().parse_args(words)
    try:
        return int(args.run(args) or 0)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _PACKAGES:
            raise
        fail(f"the agent service needs more packages ({error.name}): pip install 'ocs[agent-service]'")


def make_parser() -> Parser:
    """Return the program's parser; each command's ``run`` does it."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        prog="ocs-agent-service", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=raw, allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, summary: str) -> Parser:
        return commands.add_parser(name, help=summary, description=summary, formatter_class=raw, allow_abbrev=False)

    start = add("start", "Run the agent service until Ctrl-C or SIGTERM.")
    _add_start_arguments(start)
    start.set_defaults(run=lambda args: _start(start, args))
    keys.add_init(add("init", "Make the service's own keys, which sign its tokens; where no issuer does."))
    keys.add_token(add("token", "Print a token, signed with the service's own key."))
    requests.add_status(add("status", "Show the SpawnAgents, their sequence components, and what these run."))
    requests.add_spawn(add("spawn", "Have a component started on the machine of a SpawnAgent."))
    requests.add_kill(add("kill", "Have a component ended, wherever it runs."))
    return parser


def _add_start_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="listen here; 0.0.0.0: on all interfaces (%(default)s)")
    add("--port", type=_port, default=DEFAULT_PORT, help="listen here; 0: a free one (%(default)s)")
    add("--audit-log", type=Path, metavar="FILE", help=f"remember every spawn and kill here (STATE-DIR/{_AUDIT_LOG})")
    add("--tls-cert", type=Path, metavar="FILE", help="speak https with this certificate")
    add("--tls-key", type=Path, metavar="FILE", help="the certificate's key, where it is in a file of its own")
    add(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="browsers may ask for pages of there, as in https://ops.example.org; can be given several times",
    )
    security = parser.add_argument_group("who may spawn and kill")
    add = security.add_argument
    add("--issuer", metavar="URL", help="an OpenID Connect issuer, such as https://sso.example.org/realms/observatory")
    keys.add_key_folder(security)
    add("--no-auth", action="store_true", help="everybody; on a loopback address only")
    add("--role", default=DEFAULT_ROLE, help="what a token has to hold (%(default)s)")
    add("--audience", default=DEFAULT_AUDIENCE, metavar="NAME", help="what a token has to be for (%(default)s)")
    add("--role-claim", default=DEFAULT_ROLE_CLAIM, metavar="PATH", help="where its roles are (%(default)s)")
    add("--insecure-issuer", action="store_true", help="an issuer on the network may speak plain http: for trials only")
    site_config.add_arguments(parser)
    # As an agent it never gives up the router.
    parser.set_defaults(instance_id="agent-service", crossbar_timeout=0)


def _port(word: str) -> int:
    if word.isascii() and word.isdigit() and int(word) < 1 << 16:
        return int(word)
    raise argparse.ArgumentTypeError(f"{word!r} is no port from 0 to 65535")


def _start(parser: Parser, args: argparse.Namespace) -> int:
    if args.no_auth and (args.issuer or args.key_folder):
        parser.error("--no-auth goes with neither --issuer nor --key-folder")
    if args.issuer and args.key_folder:
        parser.error("--issuer does not go with --key-folder: keys come from one of them")
    if args.no_auth and not is_loopback(args.host):
        parser.error(f"--no-auth listens on a loopback address only, and {args.host} is none")
    if args.tls_key and not args.tls_cert:
        parser.error("--tls-key goes with --tls-cert")
    settings = settings_of(args)
    _require_keys(settings.security)
    from ocs.agent_service.server import serve  # noqa: PLC0415 - of the extra, and slow to load

    if args.no_auth:
        warn("no authentication: every program and every account of this machine may spawn and kill")
    return int(serve(settings) or 0)


def settings_of(args: argparse.Namespace) -> Settings:
    """Return what the service is told.

    Args:
        args: of ``start``.

    Raises:
        SiteConfigError: there is no site file, it has a mistake in it, or the router's address is nowhere.
    """
    security = SecuritySettings(
        issuer=args.issuer,
        key_folder=None if args.issuer or args.no_auth else args.key_folder or default_key_folder(),
        no_auth=args.no_auth,
        role=args.role,
        audience=args.audience,
        role_claim=args.role_claim,
        insecure_issuer=args.insecure_issuer,
    )
    hub = _hub(args)
    audit_log = args.audit_log or (Path(args.state_dir) / _AUDIT_LOG if args.state_dir else None)
    return Settings(
        hub,
        args.host,
        args.port,
        security,
        audit_log,
        allow_origins=tuple(args.allow_origin),
        tls_cert=args.tls_cert,
        tls_key=args.tls_key,
        site_args=args,
    )


def _hub(args: argparse.Namespace) -> HubConfig:
    site, host, _ = site_config.get_config(args, site_config.CONTROL)
    args.agent_class = "AgentService"
    args.state_dir = args.state_dir or os.environ.get("OCS_STATE_DIR") or None
    site_config.add_site_attributes(args, site, host)
    known = {"wamp_server": "site_hub", "wamp_realm": "site_realm", "address_root": "address_root"}
    missing = [f"--{option.replace('_', '-')}" for option in known.values() if not getattr(args, option)]
    if missing:
        raise SiteConfigError(f"With --site none the agent service needs {', '.join(missing)} too")
    return HubConfig({name: getattr(args, option) for name, option in known.items()})


def _require_keys(security: SecuritySettings) -> None:
    """Raise where nobody could ever be let in, before anything else is begun."""
    if security.issuer:
        from ocs.agent_service.issuer import require_url  # noqa: PLC0415 - of the extra

        require_url(security.issuer, insecure=security.insecure_issuer)
    elif security.key_folder:
        from ocs.agent_service.key_folder import KeyFolder  # noqa: PLC0415 - of the extra

        KeyFolder(security.key_folder).published()


if __name__ == "__main__":
    sys.exit(main())
