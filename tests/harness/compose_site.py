"""A folder with compose files, whose containers are removed with it."""

import uuid
from pathlib import Path
from typing import Any

import yaml
from twisted.internet import reactor
from twisted.internet.task import deferLater

from ocs.agents.host_manager.docker import Compose, Limits
from tests.harness.docker_engine import IMAGE, DockerEngine

RUNS = "trap 'exit 0' TERM; echo begins; sleep 1000 & wait"
"""What a container does that runs until it is told to end."""

LIMITS = Limits(poll=600, files=0.1, first_pause=0.1)
"""So slow a poll that only an event, or a file's time stamp, can be the reason for a look."""


def service(script: str = RUNS, **keys: Any) -> dict[str, Any]:
    """Describe a service, quick to start and to stop."""
    command = ["sh", "-c", script.replace("$", "$$")]
    return {"image": IMAGE, "command": command, "network_mode": "none", "stop_grace_period": "2s", **keys}


async def until(condition, within: float = 30.0):
    """Wait, the reactor running, until a condition holds, and return what it gave."""
    deadline = reactor.seconds() + within
    while not (answer := condition()):
        assert reactor.seconds() < deadline, f"not within {within} s; last answer: {answer!r}"
        await deferLater(reactor, 0.02)
    return answer


class ComposeSite:
    """A folder of compose files; the project is called as the folder."""

    def __init__(self, parent: Path, engine: DockerEngine) -> None:
        self.name = f"site-{uuid.uuid4().hex[:8]}"
        self.folder = parent / self.name
        self.folder.mkdir()
        self.file = self.folder / "compose.yaml"
        self.engine = engine
        self.running: list[Compose] = []
        self.changes = 0

    def write(self, services: dict[str, Any], name: str = "compose.yaml", **keys: Any) -> Path:
        """Write a compose file, in one go."""
        return self.write_text(yaml.safe_dump({"services": services, **keys}), name)

    def write_text(self, text: str, name: str = "compose.yaml") -> Path:
        """Write a file, in one go."""
        path = self.folder / name
        new = path.with_suffix(".new")
        new.write_text(text)
        new.replace(path)
        return path

    async def watch(self, *files: Path, **keywords: Any) -> Compose:
        """Return a `Compose` that has begun, and has had its first look."""
        keywords = {"limits": LIMITS, "on_change": self._changed, **keywords}
        compose = Compose(reactor, files or [self.file], **keywords)
        self.running.append(compose)
        compose.start()
        await compose.look()
        return compose

    def docker(self, *arguments: str, **keywords: Any) -> str:
        """Run the docker program."""
        return self.engine.docker(*arguments, **keywords)

    def containers(self) -> dict[str, str]:
        """The states of the project's containers, by name without the project's."""
        label = f"--filter=label=com.docker.compose.project={self.name}"
        lines = self.docker("ps", "--all", "--format", "{{.Names}} {{.State}}", label).splitlines()
        found = dict(line.split() for line in lines)
        return {name.removeprefix(f"{self.name}-"): state for name, state in found.items()}

    async def close(self) -> None:
        """Stop all that was begun, and remove the containers."""
        for compose in self.running:
            await compose.stop()
        self.engine.remove_project(self.name)

    def _changed(self) -> None:
        self.changes += 1
