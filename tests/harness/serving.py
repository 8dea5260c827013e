"""An agent service as a process, for tests: started as operators start it, and asked over HTTP."""

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from ocs.agent_service.client import AgentServiceClient
from tests.harness.agents import AgentHandle, agent_environment
from tests.harness.site import Site
from tests.harness.waiting import wait_for

PROGRAM = ("-m", "ocs.cli.agent_service")


def run_program(site: Site, *words: str) -> str:
    """Run `ocs-agent-service` with some words, and return what it prints."""
    command = [sys.executable, *PROGRAM, *words]
    done = subprocess.run(command, env=agent_environment(site), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Service:
    """A running agent service.

    Attributes:
        agent: the process.
        url: where it listens.
        client: may spawn and kill.
    """

    def __init__(self, site: Site, agent: AgentHandle) -> None:
        self.site = site
        self.agent = agent
        self.url = wait_for(self._listening)
        self.client = self.client_with("esw-user")

    def _listening(self) -> str:
        assert self.agent.process.poll() is None, self.agent.output
        found = re.search(r"listening on (\S+)", self.agent.output)
        return found[1] if found else ""

    def token(self, *roles: str) -> str:
        words = [word for role in roles for word in ("--role", role)]
        return run_program(self.site, "token", *words)

    def client_with(self, *roles: str) -> AgentServiceClient:
        return AgentServiceClient(self.url, self.token(*roles))

    def audit(self) -> str:
        path = self.site.state_dir / "agent-service-audit.jsonl"
        return path.read_text() if path.exists() else ""

    # What a status says

    def status(self) -> dict[str, Any]:
        return self.client.agent_status()

    def where(self) -> dict[str, list[str]]:
        """Sequence components by their SpawnAgent; those without under an empty name."""
        told = self.status()
        assert told["_type"] == "Success", told
        found = {each["agentId"]["prefix"]: _names(each["seqCompsStatus"]) for each in told["agentStatus"]}
        return {**found, "": _names(told["seqCompsWithoutAgent"])}

    def wait_for_machines(self, *prefixes: str) -> None:
        wait_for(lambda: set(prefixes) <= set(self.where()))


def _names(status: list[dict[str, Any]]) -> list[str]:
    return [each["seqCompId"]["prefix"] for each in status]


def start_service(
    run_agent: Callable[..., AgentHandle], site: Site, *arguments: str, instance_id: str = "agent-service"
) -> Service:
    """Start an agent service on a free port; its keys are made first, unless they are there."""
    if not (site.directory / "agent-service-keys").exists():
        run_program(site, "init")
    words = ("--port", "0", *arguments)
    return Service(site, run_agent(instance_id, *words, site=site, program=(*PROGRAM, "start"), wait=False))
