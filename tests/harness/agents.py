"""Agents as real processes: started from a site file, waited for, asked, stopped."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ocs.router.server import stop_tree
from tests.harness.site import Site

POLL_S = 0.03


def bridge_call(url: str, procedure: str, *args: Any, timeout: float = 5.0) -> Any:
    """Call a WAMP procedure through the router's HTTP bridge.

    Raises:
        LookupError: nobody has registered it, or the router is away.
    """
    parts = urlsplit(url)
    link = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        body = json.dumps({"procedure": procedure, "args": args, "kwargs": {}})
        link.request("POST", parts.path, body, {"Content-Type": "application/json"})
        reply = json.loads(link.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise LookupError(f"no router at {url}: {error}") from error
    finally:
        link.close()
    if "error" in reply:
        raise LookupError(f"{procedure}: {reply['error']} {reply.get('args')}")
    return reply["args"][0]


class AgentHandle:
    """One agent instance of a site, running as a process of its own.

    Attributes:
        process: the process.
        address: the agent's address.
    """

    def __init__(self, site: Site, instance_id: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.site = site
        self.instance_id = instance_id
        self.address = site.address(instance_id)
        self.process = process
        self._log = log
        self._client: Any = None

    @property
    def output(self) -> str:
        """All that the agent has printed so far."""
        return self._log.read_text(errors="replace")

    @property
    def client(self) -> Any:
        """An OCSClient of this agent, made at the first use."""
        if self._client is None:
            from ocs.ocs_client import OCSClient

            self._client = OCSClient(self.instance_id, args=self.site.args)
        return self._client

    def call(self, suffix: str, *args: Any) -> Any:
        """Call one of the agent's procedures, by what follows its address: `''`, `'.ops'`, ..."""
        return bridge_call(self.site.http_url, self.address + suffix, *args)

    def wait_until_ready(self, timeout: float = 20.0) -> dict[str, Any]:
        """Wait until the agent answers, and return its `get_api`."""
        deadline = time.monotonic() + timeout
        while True:
            assert self.process.poll() is None, (
                f"{self.instance_id} exited with {self.process.returncode}:\n{self.output}"
            )
            with contextlib.suppress(LookupError):
                return self.call("", "get_api")
            assert time.monotonic() < deadline, f"{self.instance_id} not ready in {timeout} s:\n{self.output}"
            time.sleep(POLL_S)

    def stop(self, how: signal.Signals = signal.SIGINT, timeout: float = 10.0) -> int:
        """Ask the agent to end, wait for that, and return its exit code; fails the test if it does not obey."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.instance_id} ignored {how.name} for {timeout} s:\n{self.output}") from None

    def kill_alone(self) -> None:
        """Kill the agent's own process, and nothing that it has started."""
        self.process.kill()
        self.process.wait()

    def kill(self) -> None:
        """Kill the agent and what it started, at once."""
        stop_tree(self.process.pid, how=signal.SIGKILL)
        self.process.wait()


def start_agent(
    site: Site,
    instance_id: str,
    *arguments: str,
    python: str | Path = sys.executable,
    env: Mapping[str, str] | None = None,
    program: Sequence[str] = ("-m", "ocs.agent_cli"),
) -> AgentHandle:
    """Start an instance of the site under an interpreter, and return at once.

    `program`: what the interpreter runs; an agent's own script takes the same arguments.
    """
    log = site.directory / f"{instance_id}.{time.monotonic_ns()}.out"
    command = [str(python), *program, "--instance-id", instance_id, *site.args, *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=agent_environment(site, env),
            cwd=site.directory,  # not the checkout: `-m` would prefer its ocs over that of a peer's interpreter
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return AgentHandle(site, instance_id, process, log)


def agent_environment(site: Site, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "INSTANCE_ID")}
    folders = {"OCS_CONFIG_DIR": str(site.directory), "OCS_STATE_DIR": str(site.state_dir)}
    return {**env, **folders, "PYTHONUNBUFFERED": "1", **(extra or {})}
