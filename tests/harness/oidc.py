"""The npm registry's `oidc-provider` as a process: a real OpenID Connect issuer, whose keys a test can change.

Installed by `.ci/setup oidc` into a folder outside the repository; $OCS_TEST_OIDC names another.
"""

import os
import queue
import shutil
import subprocess
import threading
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
AUDIENCE = "ocs-agent-service"


class MissingError(Exception):
    """There is no issuer to be had here; the text says why."""


def find_provider():
    """Return the node program and the folder of the package."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ocs-tests" / "oidc"
    folder = Path(os.environ.get("OCS_TEST_OIDC") or default)
    node = shutil.which("node")
    if node is None:
        raise MissingError("no program node; Debian: apt install nodejs npm, then .ci/setup oidc")
    installed = folder / "installed.json"
    if not installed.exists():
        raise MissingError(f"no oidc-provider in {folder}; .ci/setup oidc installs it")
    if installed.read_bytes() != (ROOT / ".ci" / "oidc" / "package-lock.json").read_bytes():
        raise MissingError(
            f"the oidc-provider in {folder} is of another version; .ci/setup oidc installs the right one"
        )
    return node, folder


def need_provider():
    """Return what `find_provider` does; without it the test is skipped, in CI it fails: that has to have it."""
    try:
        return find_provider()
    except MissingError as error:
        say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        return say(f"no OpenID Connect issuer for the tests: {error}")


class OidcProvider:
    """Use as ``with OidcProvider() as provider:``. Its clients are operator, visitor and nobody."""

    def __init__(self):
        self._command = [*map(str, need_provider())]
        self._command.insert(1, str(Path(__file__).with_name("oidc_provider.mjs")))
        self._lines = queue.Queue()

    def __enter__(self):
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.url = self._next_line()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """End it, as an issuer whose machine fails."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)
        self._process.stdin.close()
        self._reader.join(10)

    def rotate(self):
        """Make it sign with new keys, and publish these alone."""
        print("rotate", file=self._process.stdin, flush=True)
        assert self._next_line() == "rotated"

    def token(self, client="operator", algorithm="ES256", audience=AUDIENCE):
        """Return an access token by the grant of client credentials; without an audience one that is no JWT."""
        form = {"grant_type": "client_credentials"}
        if audience is not None:
            form["resource"] = f"urn:{algorithm}:{audience}"
        answer = httpx.post(
            f"{self.url}/token", data=form, auth=(client, f"{client}-secret"), trust_env=False, timeout=30
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]

    def _read(self):
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line.strip())

    def _next_line(self):
        return self._lines.get(timeout=60)
