"""The publishers' options, and where their credentials come from."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from ocs.errors import InfluxOptionError
from ocs.influx.server import Server, server_v2
from ocs.influx.spool import DISK_BYTES

__all__ = ["add_common", "flag", "from_environment", "option", "port", "v2_from_environment"]

_WORDS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_LEAST_SPOOL: Final = 1 << 20


def truth(word: str) -> bool:
    """Return what a word means: true or false, yes or no, on or off, 1 or 0.

    Raises:
        argparse.ArgumentTypeError: neither.
    """
    try:
        return _WORDS[word.strip().lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"must be True or False, not {word!r}") from None


def size(word: str) -> int:
    """Return a size in bytes; K, M, G and T are powers of 1024.

    Raises:
        argparse.ArgumentTypeError: it is no size, or too small for a spool.
    """
    found = _SIZE.fullmatch(word.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"must be a size such as 500M or 2G, not {word!r}")
    number = int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " "))
    if number < _LEAST_SPOOL:
        raise argparse.ArgumentTypeError(f"must be at least 1M, not {word!r}")
    return number


def port(word: str) -> int:
    """Return a TCP port.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not (word.isascii() and word.isdigit() and 0 < int(word) < 1 << 16):
        raise argparse.ArgumentTypeError(f"must be a port, 1 to 65535, not {word!r}")
    return int(word)


def flag(group: Any, name: str, help_text: str, *, default: bool) -> None:
    """Add an option that is true or false: ``--ssl``, ``--ssl True``, ``--ssl False``."""
    group.add_argument(
        name,
        type=truth,
        nargs="?",
        const=True,
        default=default,
        metavar="BOOL",
        help=f"{help_text} (default: {default})",
    )


def add_common(group: Any) -> None:
    """Add the options that both publishers have."""
    group.add_argument(
        "--initial-state",
        default="record",
        choices=["idle", "record"],
        help="record (default): start publishing at once; idle: wait to be told",
    )
    group.add_argument(
        "--protocol",
        default="line",
        choices=["json", "line"],
        help="json: round times to microseconds; line (default): do not",
    )
    flag(group, "--gzip", "compress what is sent", default=False)
    group.add_argument(
        "--spool-size",
        type=size,
        default=DISK_BYTES,
        metavar="SIZE",
        help="how much may wait on the disk while the database is away, such as 500M (default: 1G)",
    )


def option(args: Any, name: str, kind: type | tuple[type, ...], default: Any) -> Any:
    """Return an argument; where it is of another kind, as a mock's are, or is not there at all, the default."""
    value = getattr(args, name, default)
    return value if isinstance(value, kind) else default


def from_environment(environment: Mapping[str, str], name: str) -> str:
    """Return a variable, or what is in the file that the variable with ``_FILE`` behind its name names; "" if neither.

    Raises:
        InfluxOptionError: there is a name of a file, but no such file.
    """
    if value := environment.get(name):
        return value
    path = environment.get(f"{name}_FILE")
    if not path:
        return ""
    try:
        return Path(path).read_text().strip()
    except (OSError, ValueError) as error:
        raise InfluxOptionError(f"{name}_FILE names {path}, which cannot be read: {error}") from error


def v2_from_environment(environment: Mapping[str, str], bucket: str) -> Server:
    """Return the server that the variables of InfluxDB's own client library name.

    Args:
        environment: has ``INFLUXDB_V2_URL``, ``_TOKEN``, ``_ORG``, and maybe ``_VERIFY_SSL``.
        bucket: where the points go.

    Raises:
        InfluxOptionError: something is missing, or no URL.
    """
    url = environment.get("INFLUXDB_V2_URL", "")
    token = from_environment(environment, "INFLUXDB_V2_TOKEN")
    org = environment.get("INFLUXDB_V2_ORG", "")
    missing = [f"INFLUXDB_V2_{name}" for name, value in (("URL", url), ("TOKEN", token), ("ORG", org)) if not value]
    if missing:
        raise InfluxOptionError(f"set {', '.join(missing)} in the environment of the publisher")
    try:
        parts = urlsplit(url)
        host, number = parts.hostname, parts.port
    except ValueError:
        host, number = None, None
    if parts.scheme not in ("http", "https") or not host:
        raise InfluxOptionError(f"INFLUXDB_V2_URL is {url!r}, which is no URL such as http://influxdb:8086")
    tls = parts.scheme == "https"
    verify = environment.get("INFLUXDB_V2_VERIFY_SSL", "true").strip().lower() not in ("false", "0", "no", "off")
    place = (host, number or (443 if tls else 80))
    return server_v2(*place, bucket, token=token, org=org, tls=tls, verify=verify, base=parts.path.rstrip("/"))
