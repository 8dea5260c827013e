"""All compose files of a manager: what they describe is watched, started, stopped."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore, ensureDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from ocs.agents.host_manager.docker.answers import concerns
from ocs.agents.host_manager.docker.calls import Calls, CallTimeoutError
from ocs.agents.host_manager.docker.engine import Engine
from ocs.agents.host_manager.docker.gather import Gatherer
from ocs.agents.host_manager.docker.logs import logs_call, merge_logs
from ocs.agents.host_manager.docker.model import Container, Project, Sight
from ocs.agents.host_manager.docker.progress import Failures, Progress
from ocs.agents.host_manager.docker.readings import Readings, Status
from ocs.agents.host_manager.docker.state import Overview, containers_of, describe
from ocs.agents.host_manager.docker.tools import Limits, Programs, Tools, find_tools
from ocs.agents.host_manager.docker.watch import Watch
from ocs.errors import DockerError

__all__ = ["Compose"]

_DOWNS_AT_ONCE = 8
"""How many lots of containers are stopped side by side: each may take as long as it was given to stop."""
_FETCHED_AT_ONCE = 2
"""How many services' images are fetched side by side before a start."""


class Compose:
    """The services of compose files; belongs to the reactor's thread.

    Args:
        reactor: spawns programs, lends threads, keeps the time.
        files: the compose files; of services of the same name that of the first counts.
        docker_bin: the docker program; else that in PATH.
        compose_bin: the stand-alone Compose program; else ``docker compose``, else ``docker-compose`` in PATH.
        log: told of what nobody else is.
        on_change: called when anything of what is below has changed.
        limits: how long things may take.

    Attributes:
        services: what `parse_docker_state` says of each service, by its name, and ``state`` (docker's word) and
            ``health``; ``running`` is None while the engine cannot be asked.
        orphans: containers of services that are no longer described, by container id.
        new_tags: images that are not here, by service.
        status: of each file: whether it could be read, when (unix s), and what there is to say.
        trouble: what is wrong with docker; empty while all is well.
    """

    def __init__(
        self,
        reactor: Any,
        files: Sequence[Path],
        *,
        docker_bin: str | None = None,
        compose_bin: str | None = None,
        log: Any = None,
        on_change: Callable[[], None] = lambda: None,
        limits: Limits | None = None,
    ) -> None:
        self.services: Mapping[str, dict[str, Any]] = {}
        self.orphans: Mapping[str, dict[str, Any]] = {}
        self.new_tags: Mapping[str, str] = {}
        self.status: Mapping[str, Status] = {}
        self.trouble = ""
        self._reactor = reactor
        self._programs = Programs(docker_bin, compose_bin)
        self._log = log or Logger()
        self._on_change = on_change
        self._limits = limits or Limits()
        self._calls = Calls(reactor)
        self._engine = Engine(self._calls, Tools(), self._limits, self._in_thread)
        self._readings = Readings(files, self._in_thread)
        self._watch = Watch(reactor, self._limits, self._look, self._follow, self._readings.changed)
        self._sight = Sight()
        self._engine_trouble = ""
        self._look_began = 0.0
        self._ups: dict[Path, Gatherer] = {}
        self._downs = Gatherer(reactor, self._stop, _DOWNS_AT_ONCE)
        self._fetching = DeferredSemaphore(_FETCHED_AT_ONCE)
        self._pulling = False
        self._stopped = False

    def start(self) -> None:
        """Begin to watch."""
        self._calls.allow()
        self._stopped = False
        self._watch.start()

    def stop(self) -> "Deferred[Any]":
        """End that; what is under way is broken off.

        Returns:
            Fires when the last process has gone.
        """
        self._stopped = True
        self._watch.stop()
        return self._calls.stop()

    async def look(self) -> None:
        """Look at files and engine now, rather than when something happens."""
        if self._stopped:
            return
        await (self._watch.look() if self._watch.running else ensureDeferred(self._look()))

    # What is asked for

    async def up(self, service: str) -> None:
        """Start a service, and no other: fetch its image if it is not here, make its container if need be.

        Raises:
            DockerError: it could not be started, for this reason.
        """
        project = await self._project_of(service)
        await self._fetch(project, service)
        if project.file not in self._ups:
            self._ups[project.file] = Gatherer(self._reactor, lambda names: self._up(project.file, names))
        await self._ups[project.file].add(service)

    async def down(self, service: str) -> None:
        """Stop a service's containers, and remove them.

        Raises:
            DockerError: they could not be stopped, for this reason.
        """
        await self._project_of(service)
        await self._downs.add(service)

    async def restart(self, service: str) -> None:
        """Stop a service, and start it as its file and image are now.

        Raises:
            DockerError: it could not be stopped or started, for this reason.
        """
        await self.down(service)
        await self.up(service)

    async def pull(self, progress: Callable[[str], None]) -> None:
        """Fetch the images that the files name, of those that are not built here.

        Args:
            progress: takes lines that tell how it goes.

        Raises:
            DockerError: not all could be fetched; the text says which, and why.
        """
        if self._pulling:
            raise DockerError("Images are being fetched already")
        self._pulling = True
        try:
            await self._ready()
            errors = [error for project in self._readings.projects if (error := await self._pull(project, progress))]
        finally:
            self._pulling = False
        await self.look()
        if errors:
            raise DockerError("; ".join(errors))

    async def remove_orphans(self, stop_time: float, progress: Callable[[str], None]) -> None:
        """Stop and remove the containers of services that the files no longer describe.

        Args:
            stop_time: how long they may take to stop, in seconds.
            progress: takes lines that tell how it goes.

        Raises:
            DockerError: docker could not.
        """
        await self._ready()
        await self.look()
        self._refuse_in_trouble()
        orphans = [each for each in self._sight.containers if each.id in self.orphans]
        if not orphans:
            return progress("There are no orphans.")
        progress(f"Removing {', '.join(each.name for each in orphans)}")
        try:
            await self._engine.stop(orphans, stop_time)
        finally:
            await self.look()
        return progress(f"Removed {len(orphans)}")

    async def logs(self, service: str, lines: int) -> list[str]:
        """Return the last lines that a service's container has printed.

        Raises:
            DockerError: it has no container, or docker cannot tell.
        """
        project = await self._project_of(service)
        found = containers_of(project, service, self._sight)
        if not found:
            raise DockerError(f"{service} has no container now, and with it its output has gone")
        argv = self._engine.tools.on_engine(*logs_call(found[0].id, lines))
        answer = await self._engine.do(argv, self._limits.question, keep_last=True)
        return merge_logs(answer.out, answer.err, lines)

    # Looking

    async def _look(self) -> bool:
        before = self._shown()
        self._look_began = time.time()
        file_trouble = await self._read_files()
        try:
            self._sight, self._engine_trouble = await self._ask_engine(), ""
        except DockerError as error:
            self._engine_trouble = str(error)
        self._show(self._engine_trouble or self._engine.tools.trouble or file_trouble)
        if self._shown() != before:
            self._on_change()
        return not self._engine_trouble

    async def _read_files(self) -> str:
        """Read what has changed; return what is wrong with the programs for that."""
        had_compose = bool(self._engine.tools.compose)
        try:
            if not had_compose or await self._readings.changed():
                self._engine.tools = await find_tools(self._calls, self._programs, self._limits.look)
            if bool(self._engine.tools.compose) != had_compose:
                self._readings.forget()
            await self._readings.refresh(self._engine)
        except DockerError as error:
            return str(error)
        return ""

    async def _ask_engine(self) -> Sight:
        projects = self._readings.projects
        images = [service.image for project in projects for service in project.services.values()]
        return await self._engine.look([project.name for project in projects], images)

    def _show(self, trouble: str) -> None:
        overview = describe(self._readings.projects, self._sight)
        if not self._readings.complete:
            overview = Overview(overview.services, {}, overview.new_tags)
        if self._engine_trouble:
            overview = overview.unknown()
        self.services, self.orphans, self.new_tags = overview.services, overview.orphans, overview.new_tags
        self.status, self.trouble = self._readings.status, trouble

    def _shown(self) -> tuple[Any, ...]:
        return self.services, self.orphans, self.new_tags, self.trouble, self.status

    async def _follow(self, happened: Callable[[], None]) -> None:
        def take(line: str) -> None:
            if concerns(line, (project.name for project in self._readings.projects)):
                happened()

        # What has happened since the last look began is told again.
        await self._engine.follow(self._look_began - 1.0, take)

    # Doing

    async def _ready(self) -> None:
        if not self._watch.running:
            await self.look()
        elif not self.status:
            # The first look is still under way.
            await self._watch.look()

    async def _project_of(self, service: str) -> Project:
        await self._ready()
        self._refuse_in_trouble()
        for project in self._readings.projects:
            if service in project.services:
                return project
        raise DockerError(f"No compose file describes a service {service}")

    def _refuse_in_trouble(self) -> None:
        if self._engine_trouble:
            raise DockerError(self._engine_trouble)

    def _unusable(self, file: Path) -> str:
        """Return why Compose cannot work on a file now; empty: it can."""
        return self._engine.tools.trouble or self._readings.broken(file)

    async def _fetch(self, project: Project, service: str) -> None:
        if self._is_here(project, service) or self._unusable(project.file):
            return
        async with self._fetching:
            if not self._is_here(project, service):
                argv = self._engine.tools.compose_on(project.file, "pull", "--", service)
                self._log.info("fetching the image of {service}", service=service)
                await self._engine.do(argv, cwd=project.file.parent)
                await self.look()

    def _is_here(self, project: Project, service: str) -> bool:
        wanted = project.services[service]
        return not wanted.pulled or wanted.image in self._sight.images

    async def _up(self, file: Path, names: tuple[str, ...]) -> Mapping[str, str]:
        reason = self._unusable(file)
        try:
            return await (self._start_again(file, names, reason) if reason else self._make(file, names))
        finally:
            await self.look()

    async def _make(self, file: Path, names: tuple[str, ...]) -> dict[str, str]:
        """Have Compose make and start containers; one that cannot be is no reason for the others not to be."""
        try:
            argv = self._engine.tools.compose_on(file, "up", "--detach", "--no-deps", "--", *names)
            await self._engine.do(argv, cwd=file.parent)
        except CallTimeoutError:
            raise
        except DockerError as error:
            if len(names) == 1:
                return {names[0]: str(error)}
            errors: dict[str, str] = {}
            for name in names:
                errors |= await self._make(file, (name,))
            return errors
        return {}

    async def _start_again(self, file: Path, names: tuple[str, ...], reason: str) -> dict[str, str]:
        """Start those containers that there are, as their file cannot be used now."""
        project = next(each for each in self._readings.projects if each.file == file)
        found = {name: containers_of(project, name, self._sight)[:1] for name in names}
        for name in [name for name in names if found[name]]:
            try:
                await self._engine.do(self._engine.tools.on_engine("start", found[name][0].id), self._limits.question)
            except DockerError as error:
                reason = f"{error}; {reason}"
                found[name] = []
        return {name: reason for name in names if not found[name]}

    async def _stop(self, names: tuple[str, ...]) -> Mapping[str, str]:
        containers = self._containers(names)
        if not containers:
            await self.look()
            containers = self._containers(names)
        error = "it runs on"
        try:
            await self._engine.stop(containers) if containers else None
        except DockerError as refused:
            error = str(refused)
        await self.look()
        return {name: error for name in names if any(each.running for each in self._containers([name]))}

    def _containers(self, names: Sequence[str]) -> list[Container]:
        found: dict[str, list[Container]] = {}
        for project in reversed(self._readings.projects):
            found |= {name: containers_of(project, name, self._sight) for name in names if name in project.services}
        return [each for several in found.values() for each in several]

    async def _pull(self, project: Project, progress: Callable[[str], None]) -> str:
        """Fetch one file's images; return what went wrong."""
        if not any(service.pulled for service in project.services.values()):
            progress(f"{project.file}: all images are built here")
            return ""
        progress(f"{project.file}: fetching images")
        say, failed = Progress(progress, self._reactor.seconds), Failures()

        def take(line: str) -> None:
            failed.take(line)
            say(line)

        try:
            argv = self._engine.tools.compose_on(project.file, "pull", "--ignore-buildable", "--ignore-pull-failures")
            await self._engine.do(argv, cwd=project.file.parent, on_line=take)
        except DockerError as error:
            return f"{project.file}: {error}"
        return f"{project.file}: {failed.text}" if failed.text else ""

    async def _in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        return await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), function, *args)
