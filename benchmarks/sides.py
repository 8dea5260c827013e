"""The two packages that are compared, each as an interpreter that has it installed."""

import json
import os
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ocs.errors import OCSError

__all__ = [
    "OURS",
    "PUBLISHED",
    "BenchmarkError",
    "Side",
    "both_sides",
    "child_environment",
    "peer",
    "published_socs",
    "state_of_code",
]

OURS, PUBLISHED = "ours", "published"
ROOT = Path(__file__).parent.parent

_ABOUT = """
import platform, importlib.metadata as m, json
names = "ocs autobahn twisted cbor2 msgpack numpy so3g SQLAlchemy crossbar".split()
def version(name):
    try: return m.version(name)
    except m.PackageNotFoundError: return None
print(json.dumps({"python": platform.python_version(), **{n: v for n in names if (v := version(n))}}))
"""


class BenchmarkError(OCSError):
    """A measurement could not be made."""


@dataclass(frozen=True)
class Side:
    """One of the two packages.

    Args:
        name: `OURS` or `PUBLISHED`.
        python: path of the interpreter that has the package.
    """

    name: str
    python: str

    def __str__(self):
        return self.name

    @cached_property
    def versions(self):
        """The interpreter's version and those of the packages that matter, by name."""
        return json.loads(
            subprocess.check_output([self.python, "-c", _ABOUT], text=True, env=child_environment(), cwd="/")
        )

    def warm_up(self):
        """Import once what will be measured, so that no round has to compile byte code."""
        modules = "ocs.ocs_client, ocs.agents.fake_data.agent, ocs.agents.registry.agent, ocs.agents.aggregator.agent"
        command = [self.python, "-c", f"import {modules}"]
        subprocess.run(command, env=child_environment(), cwd="/", capture_output=True, check=False, timeout=120)


def state_of_code():
    """The commit of this checkout, with ``+`` if ``ocs/`` differs from it; None outside a checkout."""
    try:
        commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip()
        changed = subprocess.check_output(["git", "status", "--porcelain", "--", "ocs"], cwd=ROOT, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed else "")


def child_environment():
    """The environment of everything measured: byte code is kept, as in any installation, and no settings leak in."""
    unwanted = ("OCS_", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "LOGLEVEL", "INSTANCE_ID", "SITE_", "CROSSBAR_TIMEOUT")
    return {key: value for key, value in os.environ.items() if not key.startswith(unwanted)}


def both_sides():
    """Find the two interpreters.

    The published one is looked for at ``$OCS_PEER_PYTHON``, below ``$OCS_PEERS``, then where ``make peers`` puts it.
    Ours is the one that ``make peers`` puts beside it, with the same extras, so that neither side finds more installed
    than the other.

    Raises:
        BenchmarkError: there is no published package.
    """
    python = os.environ.get("OCS_PEER_PYTHON") or peer("ocs")
    if not os.access(python, os.X_OK):
        raise BenchmarkError(f"no published package at {python}: run `make peers`, or set OCS_PEER_PYTHON")
    ours = peer("plain")
    if not os.access(ours, os.X_OK):
        raise BenchmarkError(f"no environment of ours to compare at {ours}: run `make peers`, or set OCS_PEERS")
    return Side(OURS, ours), Side(PUBLISHED, python)


def published_socs():
    """The published instrument agents over the published package.

    Raises:
        BenchmarkError: there are none.
    """
    python = peer("published")
    if not os.access(python, os.X_OK):
        raise BenchmarkError(f"no published socs at {python}: run `make peers`, or set OCS_PEERS")
    return Side(PUBLISHED, python)


def peer(name):
    """The interpreter of one of the environments that ``make peers`` makes."""
    return str(Path(os.environ.get("OCS_PEERS", ROOT / ".peers")) / name / "bin" / "python")
