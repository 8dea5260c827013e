"""``ocs-agent-service init`` and ``token``: the service's own keys, and tokens signed with them."""

import argparse
import getpass
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ocs.agent_service.settings import DEFAULT_AUDIENCE, DEFAULT_ROLE, DEFAULT_ROLE_CLAIM, default_key_folder
from ocs.cli.output import say, say_json
from ocs.cli.parsing import Parser
from ocs.errors import OCSError

if TYPE_CHECKING:
    from ocs.agent_service.key_folder import KeyFolder

__all__ = ["TOKEN_VARIABLE", "add_init", "add_key_folder", "add_token", "own_token", "span"]

TOKEN_VARIABLE: Final = "OCS_AGENT_SERVICE_TOKEN"  # noqa: S105 - the name of a variable

_OWN_SECONDS: Final = 60.0
"""How long a token holds that the program makes for one request of its own."""
_UNITS: Final = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def add_key_folder(parser: Any) -> None:
    """Add where the service's own keys are."""
    parser.add_argument(
        "--key-folder",
        type=Path,
        metavar="DIR",
        help="the service's own keys ($OCS_CONFIG_DIR/agent-service-keys, else ~/.config/ocs/agent-service-keys)",
    )


def add_init(parser: Parser) -> None:
    """Add what `init` takes."""
    parser.epilog = (
        "The folder is closed to other accounts. A service needs public.json of it alone; whoever has private.pem\n"
        "can make tokens. If that got into wrong hands: init --force."
    )
    add_key_folder(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--rotate", action="store_true", help="new keys; tokens made before hold until they expire")
    how.add_argument("--force", action="store_true", help="new keys instead of those there; all tokens end at once")
    parser.add_argument("--algorithm", choices=("ES256", "RS256"), help="how tokens are signed (ES256, or as before)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_init)


def _init(args: argparse.Namespace) -> int:
    folder = _folder(args)
    kid = folder.rotate(args.algorithm) if args.rotate else folder.create(args.algorithm or "ES256", force=args.force)
    if args.json:
        entries = folder.published()
        say_json({"folder": str(folder.path), "kid": kid, "keys": len(entries), "algorithm": entries[0]["alg"]})
        return 0
    say(f"{'rotated' if args.rotate else 'made'} the keys in {folder.path} (now {kid})")
    if not args.rotate:
        option = f" --key-folder {args.key_folder}" if args.key_folder else ""
        say(f"next: `ocs-agent-service start{option}`, and `ocs-agent-service token{option} --expires 8h`")
    return 0


def add_token(parser: Parser) -> None:
    """Add what `token` takes."""
    parser.epilog = (
        "There is no way to call back a single token: make them short. It is printed alone, for\n"
        f"  export {TOKEN_VARIABLE}=$(ocs-agent-service token --expires 8h)"
    )
    add_key_folder(parser)
    add = parser.add_argument
    add("--role", action="append", metavar="ROLE", help=f"what it allows; may be repeated ({DEFAULT_ROLE})")
    add("--expires", type=span, default=span("8h"), metavar="SPAN", help="how long it holds: 90s, 30min, 8h, 7d (8h)")
    add("--subject", type=_name, metavar="NAME", help="whom the audit log is to name (your login)")
    add("--audience", default=DEFAULT_AUDIENCE, metavar="NAME", help="the --audience of the service (%(default)s)")
    add("--role-claim", default=DEFAULT_ROLE_CLAIM, metavar="PATH", help="its --role-claim (%(default)s)")
    add("--json", action="store_true", help="print JSON: the token, and what it says")
    parser.set_defaults(run=_token)


def _token(args: argparse.Namespace) -> int:
    from ocs.agent_service.key_folder import Order  # noqa: PLC0415 - of the extra

    order = Order(args.subject or _login(), args.expires, args.role or [DEFAULT_ROLE], args.audience, args.role_claim)
    token = _folder(args).issue(order)
    if args.json:
        told = {"subject": order.subject, "roles": order.roles, "expires_in": order.seconds, "audience": order.audience}
        say_json({"token": token, **told})
    else:
        say(token)
    return 0


def own_token(key_folder: Path | None, roles: Sequence[str] = (DEFAULT_ROLE,)) -> str | None:
    """Return a token for one request of this program; None if this account has no keys here.

    Args:
        key_folder: where the keys have to be; None takes the usual folder, if they are there.
        roles: what the token allows.

    Raises:
        KeyFolderError: there are no keys in ``key_folder``, or what is there cannot be used.
    """
    folder = key_folder or default_key_folder()
    if key_folder is None and not os.access(folder / "private.pem", os.R_OK):
        return None
    from ocs.agent_service.key_folder import KeyFolder, Order  # noqa: PLC0415 - of the extra

    return KeyFolder(folder).issue(Order(_login(), _OWN_SECONDS, roles))


def _folder(args: argparse.Namespace) -> "KeyFolder":
    from ocs.agent_service.key_folder import KeyFolder  # noqa: PLC0415 - of the extra

    return KeyFolder(args.key_folder or default_key_folder())


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError) as error:  # an account without a name, as in containers
        raise OCSError("who are you? this account has no name; give --subject, or a token") from error


def span(word: str) -> float:
    """Return a time span that somebody has typed, in s: ``90s``, ``30min``, ``8h``, ``7d``.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(s|m|min|h|d)", word, re.ASCII)
    if not found or not float(found[1]):
        raise argparse.ArgumentTypeError(f"{word!r} is no time span such as 90s, 30min, 8h or 7d")
    return float(found[1]) * _UNITS[found[2]]


def _name(word: str) -> str:
    if word.strip() and word.isprintable() and len(word) <= 200:  # noqa: PLR2004 - as the service shows of a name
        return word.strip()
    raise argparse.ArgumentTypeError(f"{word!r:.80} is no name of at most 200 printable characters")
