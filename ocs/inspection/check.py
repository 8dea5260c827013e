"""Everything that `ocs config check` looks at, in one report."""

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ocs import diagnosis
from ocs.agent_classes import installed_classes
from ocs.errors import SiteConfigError, SiteFileNotFoundError
from ocs.inspection.addresses import check_addresses, check_names
from ocs.inspection.classes import check_arguments, check_classes
from ocs.inspection.closing import check_keys_here, check_tls
from ocs.inspection.compose import check_compose
from ocs.inspection.managers import check_managers
from ocs.inspection.policy import check_policy
from ocs.inspection.problems import Level, Problem, error, note, warning
from ocs.inspection.words import check_words
from ocs.scf.model import HostConfig, SiteConfig
from ocs.scf.reading import Document, read_text
from ocs.scf.survey import Survey, survey

__all__ = ["Found", "Report", "check_file"]


@dataclass(frozen=True, slots=True)
class Found:
    """A problem with its place, as it is shown."""

    level: Level
    file: str
    line: int
    """From 1; 0: the file as a whole."""
    message: str

    def __str__(self) -> str:
        """Return the line for the operator."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.level}: {self.message}"


@dataclass
class Report:
    """What was found.

    Attributes:
        file: the site file.
        problems: in the order of the file.
        site: what it describes, but for what is wrong; None where it cannot be read.
        host: the host that this machine is, if it is one.
        refused: whether reading it fails, so that a HostManager would stay with its last good reading.
    """

    file: str
    problems: list[Found] = field(default_factory=list)
    site: SiteConfig | None = None
    host: HostConfig | None = None
    refused: bool = False

    def count(self, level: Level) -> int:
        """Return how many problems there are of a level."""
        return sum(found.level is level for found in self.problems)


def check_file(path: str, *, site_host: str | None = None, working_dir: str | None = None) -> Report:
    """Look at a site file, and at what it needs of this machine.

    Args:
        path: the file.
        site_host: the host of the file that this machine is; None: by its name, else ``localhost``.
        working_dir: what relative paths are meant from; None: the current folder.

    Raises:
        SiteFileNotFoundError: there is no such file.
    """
    file = os.path.abspath(path)  # noqa: PTH100 - keeps links, as reading does
    report = Report(file)
    try:
        document = Document(read_text(file), file)
        meaning = document.value(last_of_duplicates=True)
    except FileNotFoundError:
        raise SiteFileNotFoundError(f"Site file not found: {file}") from None
    except SiteConfigError as mistake:
        report.problems.append(_as_found(str(mistake), file))
        report.refused = True
        return report
    found = survey(meaning)
    found.site.source_file = file
    report.site, report.host = found.site, _host_meant(found.site, site_host)
    problems = [*_everywhere(document, found), *_here(found, report.host, site_host, working_dir)]
    report.refused = bool(found.mistakes or document.duplicates)
    report.problems += [_as_found(message, file) for message in document.duplicates]
    report.problems += [_placed(problem, document) for problem in problems]
    report.problems.sort(key=lambda one: (one.file != file, one.file, one.line))
    return report


def _everywhere(document: Document, found: Survey) -> Iterator[Problem]:
    """Look at what is the same on every machine."""
    yield from (error(_told(mistake.keys, mistake.problem), mistake.keys) for mistake in found.mistakes)
    yield from (warning(_told(unknown.keys, unknown.problem), unknown.keys) for unknown in found.unknown)
    yield from check_addresses(found.site)
    yield from check_tls(found.site)
    yield from check_names(found.instances)
    yield from check_words(document, found.instances)
    yield from check_managers(found)
    yield from check_policy(found.site)


def _told(keys: Iterable[str | int], problem: str) -> str:
    """Return a mistake with the end of what leads to it: the line says the rest."""
    names = [str(key) for key in keys]
    if not names:
        return problem
    if not names[-1].isdigit():
        return f"{names[-1]}: {problem}"
    return f"entry {int(names[-1]) + 1} of {names[-2]}: {problem}"


def _here(found: Survey, host: HostConfig | None, wanted: str | None, folder: str | None) -> Iterator[Problem]:
    """Look at what only this machine can tell."""
    complaints: list[str] = []
    known = installed_classes(complaints.append)
    yield from (warning(f"{complaint}; repair or remove the package that it comes from") for complaint in complaints)
    yield from check_classes(found.instances, host.name if host else None, known)
    if host is None:
        asked = wanted or os.uname().nodename
        names = ", ".join(found.site.hosts) or "none"
        yield note(
            f"this machine is none of the hosts ({asked}; they are: {names}): folders, arguments and compose"
            " files were not looked at; --site-host says which one it is",
            ("hosts",),
        )
        return
    ours = [one for one in found.instances if one.host is host and one.instance.manage.startswith("host")]
    yield from check_keys_here(found.site, host, ours)
    yield from check_arguments(ours, known)
    base = Path(folder or Path.cwd())
    yield from _check_folders(found, host, base)
    yield from _check_router_program(host)
    yield from check_compose(found, host, base, None if folder else Path(found.site.source_file or "").parent)


def _check_router_program(host: HostConfig) -> Iterator[Problem]:
    place = ("hosts", str(host.name), "crossbar")
    if host.crossbar is None:
        return
    if host.crossbar.binary is None:
        yield warning("the router is started on this host, and there is no crossbar: install ocs[router]", place)
    elif shutil.which(host.crossbar.binary) is None:
        yield error(f"bin: {host.crossbar.binary} is no program that can be run", (*place, "bin"))


def _check_folders(found: Survey, host: HostConfig, base: Path) -> Iterator[Problem]:
    levels = {diagnosis.Level.FAIL: error, diagnosis.Level.WARN: warning}
    for seen in diagnosis.check_folders(host, base):
        if seen.level in levels:
            keys = _place_of_folder(found, host, seen.subject)
            yield levels[seen.level](f"{seen.subject}: {seen.message}; {seen.advice}", keys)


def _place_of_folder(found: Survey, host: HostConfig, subject: str) -> tuple[str | int, ...]:
    of_host = {"log folder": "log-dir", "state folder": "state-dir"}
    if subject in of_host:
        return ("hosts", str(host.name), of_host[subject])
    recorders = {f"data folder of {one.instance.instance_id}": one for one in found.instances if one.host is host}
    return (*recorders[subject].keys, "arguments")


def _host_meant(site: SiteConfig, wanted: str | None) -> HostConfig | None:
    names = (wanted or os.uname().nodename, "localhost")
    return next((site.hosts[name] for name in names if name in site.hosts), None)


def _placed(problem: Problem, document: Document) -> Found:
    if problem.file:
        return Found(problem.level, problem.file, problem.line, problem.message)
    line = document.line_of(problem.keys) if problem.keys else 0
    return Found(problem.level, document.path, line, problem.message)


def _as_found(message: str, file: str) -> Found:
    """Take the place out of ``file:line:column: message``."""
    rest = message.removeprefix(f"{file}:")
    line, _, told = rest.partition(":")
    if not line.strip().isdigit():
        return Found(Level.ERROR, file, 0, rest.strip())
    return Found(Level.ERROR, file, int(line), told.strip().lstrip("0123456789").removeprefix(": "))
