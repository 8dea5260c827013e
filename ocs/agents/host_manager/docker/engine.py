"""Questions to the engine and to Compose, each one call, and what is made of the answers."""

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocs.agents.host_manager.docker import answers
from ocs.agents.host_manager.docker.calls import Answer, Calls, Patience
from ocs.agents.host_manager.docker.files import explain, read_plainly
from ocs.agents.host_manager.docker.model import Container, Project, Sight
from ocs.agents.host_manager.docker.tools import Limits, Tools
from ocs.errors import ComposeFileError, DockerError

__all__ = ["Engine", "InThread"]

InThread = Callable[..., Awaitable[Any]]
"""Calls a function that blocks, in a thread: the function and its arguments."""

_CONTAINER_EVENTS = ("create", "start", "die", "destroy", "pause", "unpause", "rename", "health_status")
_IMAGE_EVENTS = ("tag", "untag", "pull", "delete", "import", "load")


@dataclass(slots=True)
class Engine:
    """A docker engine, asked through its programs; belongs to the reactor's thread."""

    calls: Calls
    tools: Tools
    limits: Limits
    in_thread: InThread

    async def look(self, projects: Iterable[str], images: Iterable[str]) -> Sight:
        """Return the containers of projects, and which images are here; three calls, however many there are.

        Raises:
            DockerError: the engine cannot be asked, or answers garbage.
        """
        names = tuple(dict.fromkeys(projects))
        containers = await self._containers(names)
        return Sight(tuple(containers), await self._images(tuple(dict.fromkeys(images))))

    async def read(self, file: Path) -> Project:
        """Return what a compose file says.

        Raises:
            ComposeFileError: it has a mistake; the text has file and line.
            DockerError: Compose does not answer, or garbage.
        """
        if not self.tools.compose:
            plain: Project = await self.in_thread(read_plainly, file)
            return plain
        argv = self.tools.compose_on(file, "config", "--format", "json")
        answer = await self.calls.run(argv, Patience(self.limits.config), cwd=file.parent)
        if answer.code:
            raise ComposeFileError(await self.in_thread(explain, file, answer.reason))
        return answers.parse_project(answer.out, answer.err, file)

    async def follow(self, since: float, on_line: Callable[[str], None]) -> None:
        """Follow the engine's events until they end.

        Args:
            since: those from then on (unix s).
            on_line: takes each, a line.

        Raises:
            DockerError: they have ended, for this reason.
        """
        wanted = [f"--filter=event={name}" for name in (*_CONTAINER_EVENTS, *_IMAGE_EVENTS)]
        kinds = ["--filter=type=container", "--filter=type=image"]
        form = ["--format", answers.EVENT_FORMAT, "--since", f"{since:.3f}"]
        answer = await self.calls.run(self.tools.on_engine("events", *form, *kinds, *wanted), None, on_line=on_line)
        raise DockerError(f"docker events ended: {answer.reason}")

    async def do(self, argv: Sequence[str], patience: Patience | None = None, **keywords: Any) -> Answer:
        """Carry something out.

        Args:
            argv: the call.
            patience: how long it may take; that for work unless given.
            keywords: further ones for `Calls.run`.

        Raises:
            DockerError: it failed, for this reason.
        """
        answer = await self.calls.run(argv, patience or self.limits.work, **keywords)
        if answer.code:
            raise DockerError(answer.reason)
        return answer

    async def stop(self, containers: Sequence[Container], stop_time: float | None = None) -> None:
        """Stop containers and remove them.

        Args:
            containers: which.
            stop_time: how long they may take, in seconds; what they were made with unless given.

        Raises:
            DockerError: docker could not.
        """
        ids = [each.id for each in containers]
        longest = max((each.stop_timeout for each in containers), default=0.0) if stop_time is None else stop_time
        patience = Patience(longest + self.limits.stop)
        given = () if stop_time is None else ("-t", f"{math.ceil(stop_time)}")
        for words in (("stop", *given), ("rm",)):
            answer = await self.calls.run(self.tools.on_engine(*words, *ids), patience)
            if answer.code and not answers.only_missing(answer.err):
                raise DockerError(answer.reason)

    async def _containers(self, projects: Sequence[str]) -> list[Container]:
        listing = ("ps", "--all", "--no-trunc", "--filter=label=com.docker.compose.project")
        answer = await self.do(self.tools.on_engine(*listing, "--format", answers.LIST_FORMAT), self.limits.question)
        ids = answers.parse_list(answer.out, projects)
        if not ids:
            return []
        inspect = ("container", "inspect", "--format", answers.CONTAINER_FORMAT)
        return answers.parse_containers(await self._inspected(self.tools.on_engine(*inspect, *ids)))

    async def _images(self, names: Sequence[str]) -> dict[str, str]:
        asked = [name for name in names if answers.is_image_name(name)]
        if not asked:
            return {}
        inspect = ("image", "inspect", "--format", answers.IMAGE_FORMAT)
        return answers.parse_images(await self._inspected(self.tools.on_engine(*inspect, *asked)), asked)

    async def _inspected(self, argv: Sequence[str]) -> str:
        """Return what is told of those that are there; that others are not is no error."""
        answer = await self.calls.run(argv, self.limits.question)
        if answer.code and not answers.only_missing(answer.err):
            raise DockerError(answer.reason)
        return answer.out
