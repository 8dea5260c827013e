"""The published packages, each in a virtual environment of its own: where they are, and which versions they have.

Made by `make peers` (`.ci/setup peers .peers`); elsewhere by $OCS_PEERS.
"""

import functools
import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PUBLISHED_OCS = "0.12.1"
PUBLISHED_SOCS = "0.6.4"
SIDES = ("ours", "published")


def peer_python(name: str, package: str, version: str) -> str:
    """Return the interpreter of a peer's environment.

    Where there is none the test is skipped, and fails in CI, which has to have it. Never quietly ours against ours: the
    version is looked at.
    """
    python = Path(os.environ.get("OCS_PEERS") or ROOT / ".peers") / name / "bin" / "python"
    if not python.exists():
        say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        say(f"no {package} {version} at {python}: run `make peers`")
    found = installed(str(python), package)
    assert found == version, f"{python} has {package} {found}, not {version}"
    return str(python)


@functools.cache
def installed(python: str, package: str) -> str:
    """Return the version of a package in an interpreter's environment."""
    command = f"import importlib.metadata as m; print(m.version({package!r}))"
    return run(python, "-c", command).strip()


def run(python: str, *arguments: str, timeout: float = 60.0, **keywords) -> str:
    """Run an interpreter with nothing of ours in its way, and return what it printed; fails the test if it fails."""
    # -I: neither $PYTHONPATH nor the current folder may make a peer import our ocs.
    command = [python, "-I", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, **keywords)
    assert done.returncode == 0, f"{' '.join(arguments)[:200]} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def answers(python: str, *arguments: str, **keywords):
    """Run a script that prints one JSON document, and return that."""
    return json.loads(run(python, *arguments, **keywords))
