"""The last good reading of each compose file, and what is wrong with the files as they are now."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ocs.agents.host_manager.docker.engine import Engine, InThread
from ocs.agents.host_manager.docker.files import Signature, references, signature
from ocs.agents.host_manager.docker.model import Project
from ocs.agents.host_manager.docker.state import clashes
from ocs.errors import ComposeFileError

__all__ = ["Readings", "Status"]

Status = tuple[bool, float, str]
"""Of a file: whether it could be read, when (unix s), and what there is to say."""


@dataclass
class _File:
    """One compose file."""

    path: Path
    project: Project | None = None
    """The last good reading."""
    status: Status = (False, 0.0, "has not been read yet")
    watched: tuple[Path, ...] = ()
    """It, and what is read with it."""
    stamp: Signature = field(default=())


class Readings:
    """The compose files, in their order; belongs to the reactor's thread.

    Args:
        files: where they are.
        in_thread: calls what waits for the disk.
    """

    def __init__(self, files: Sequence[Path], in_thread: InThread) -> None:
        self._files = [_File(path, watched=(path,)) for path in dict.fromkeys(file.absolute() for file in files)]
        self._in_thread = in_thread

    @property
    def projects(self) -> list[Project]:
        """The last good readings."""
        return [file.project for file in self._files if file.project]

    @property
    def complete(self) -> bool:
        """Whether each file has been read well at some time."""
        return len(self.projects) == len(self._files)

    @property
    def status(self) -> dict[str, Status]:
        """How the files are, by their paths."""
        twice = clashes(self.projects)
        return {str(file.path): _with_clash(file.status, twice.get(file.path, "")) for file in self._files}

    def broken(self, path: Path) -> str:
        """Return what is wrong with a file; empty: nothing."""
        return next((file.status[2] for file in self._files if file.path == path and not file.status[0]), "")

    def forget(self) -> None:
        """Have all files read again."""
        for file in self._files:
            file.stamp = ()

    async def changed(self) -> bool:
        """Return whether a file is not as it was when it was read."""
        watched = [file.watched for file in self._files]
        stamps = await self._in_thread(_signatures, watched)
        return any(file.stamp != stamp for file, stamp in zip(self._files, stamps, strict=True))

    async def refresh(self, engine: Engine) -> None:
        """Read those files that have changed; of a broken one the last good reading stays.

        Raises:
            DockerError: Compose does not answer.
        """
        for file in self._files:
            if file.stamp != await self._in_thread(signature, file.watched):
                await self._read(file, engine)

    async def _read(self, file: _File, engine: Engine) -> None:
        # What is watched, and its time stamps, are of before the reading: a change while it is read is seen.
        watched = await self._in_thread(references, file.path)
        stamp = await self._in_thread(signature, watched)
        try:
            file.project = await engine.read(file.path)
        except ComposeFileError as error:
            file.status = (False, time.time(), str(error))
        else:
            file.status = (True, time.time(), _summary(file.project))
        file.watched, file.stamp = watched, stamp


def _signatures(several: Sequence[tuple[Path, ...]]) -> list[Signature]:
    return [signature(files) for files in several]


def _summary(project: Project) -> str:
    count = len(project.services)
    return "; ".join([f"{count} service{'' if count == 1 else 's'}", *project.warnings[:3]])


def _with_clash(status: Status, clash: str) -> Status:
    return (False, status[1], clash) if status[0] and clash else status
