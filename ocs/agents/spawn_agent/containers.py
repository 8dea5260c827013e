"""A file that lists components: read whole before any of them is started, then spawned a few at a time."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from twisted.internet.defer import DeferredSemaphore, gatherResults

from ocs.agents.spawn_agent.answers import Answer, failed
from ocs.agents.spawn_agent.requests import FIELDS, Wanted, spawn_request
from ocs.components.names import Prefix
from ocs.errors import OCSError, SiteConfigError, SpawnError
from ocs.scf.reading import Document, as_yaml, read_text

__all__ = ["MOST_CONTAINERS", "parse", "read", "spawn_all"]

MOST_CONTAINERS: Final = 50
"""How many components a file may list."""

_AT_ONCE: Final = 8
"""How many of them are spawned at the same time."""

_BEGUN_WITHIN: Final = 36.0
"""When none is begun any more, in seconds: each may take 20 s, and who has asked waits for 60 s."""

_TOP: Final = "containers"

Keys = tuple[str | int, ...]
T = TypeVar("T")


class _MistakeError(Exception):
    """Something is not as it should be, at the end of these keys."""

    def __init__(self, problem: str, keys: Keys) -> None:
        super().__init__(problem)
        self.keys = keys


def read(path: Path, subsystem: str, check: Callable[[Wanted], Any]) -> list[Wanted]:
    """Return the components that a file lists. Not for the reactor's thread.

    Args:
        path: a YAML or JSON file.
        subsystem: that of the spawn agent, which its sequence components share.
        check: called with each; fails with an OCSError for what this machine cannot start.

    Raises:
        SpawnError: it cannot be read or has a mistake; one line with file, line and entry.
    """
    try:
        text = read_text(str(path))
    except FileNotFoundError:
        raise SpawnError(f"{path}: there is no such file on this machine") from None
    except SiteConfigError as error:
        raise SpawnError(str(error).replace("site config file", "file of containers")) from None
    return parse(text, str(path), subsystem, check)


def parse(text: str, path: str, subsystem: str, check: Callable[[Wanted], Any] = lambda _wanted: None) -> list[Wanted]:
    """Return the components that a text lists.

    Args:
        text: YAML or JSON.
        path: where it came from, for messages; ``.json`` is read as JSON.
        subsystem: that of the spawn agent.
        check: as for `read`.

    Raises:
        SpawnError: it has a mistake; one line with file, line and entry.
    """
    try:
        document = Document(as_yaml(text, path), path)
        found = document.value()
    except SiteConfigError as error:
        raise SpawnError(str(error)) from None
    try:
        return _components(found, subsystem, check)
    except _MistakeError as mistake:
        place = ".".join(map(str, mistake.keys))
        where = f"{path}:{document.line_of(mistake.keys)}"
        raise SpawnError(f"{where}: {place}: {mistake}" if place else f"{where}: {mistake}") from None


def _components(found: Any, subsystem: str, check: Callable[[Wanted], Any]) -> list[Wanted]:
    # By prefixes, as the answer will be.
    wanted: dict[Prefix, Wanted] = {}
    for number, entry in enumerate(_entries(found)):
        keys: Keys = (_TOP, number)
        one = _told_where(keys, lambda entry=entry: spawn_request(entry, subsystem))  # type: ignore[misc]
        prefix = one.component.prefix
        if prefix in wanted:
            raise _MistakeError(f"{prefix} is listed twice, first as {_TOP}.{list(wanted).index(prefix)}", keys)
        _refuse_unknown_keys(entry, keys)
        _told_where(keys, lambda one=one: check(one))  # type: ignore[misc]
        wanted[prefix] = one
    return list(wanted.values())


def _entries(found: Any) -> Sequence[Any]:
    if not isinstance(found, Mapping) or _TOP not in found:
        raise _MistakeError(f"needs the key {_TOP}, a list of components", ())
    for key in found:
        if key != _TOP:
            raise _MistakeError(f"is not a key of this file, which has {_TOP} alone", (key,))
    entries = found[_TOP]
    if not isinstance(entries, list) or not entries:
        raise _MistakeError("must be a list of at least one component", (_TOP,))
    if len(entries) > MOST_CONTAINERS:
        most = f"lists {len(entries)} components; {MOST_CONTAINERS} is the most"
        raise _MistakeError(most, (_TOP, MOST_CONTAINERS))
    return entries


def _refuse_unknown_keys(entry: Mapping[Any, Any], keys: Keys) -> None:
    allowed = ("kind", *FIELDS[entry["kind"]])
    for key in entry:
        if key not in allowed:
            raise _MistakeError(f"is not a key of a {entry['kind']}; these are: {', '.join(allowed)}", (*keys, key))


def _told_where(keys: Keys, work: Callable[[], T]) -> T:
    try:
        return work()
    except (OCSError, OSError) as error:
        raise _MistakeError(str(error).removeprefix("request: "), keys) from None


async def spawn_all(
    reactor: Any, wanted: Sequence[Wanted], spawn: Callable[[Wanted], Awaitable[Answer]]
) -> dict[str, Answer]:
    """Spawn components, a few at a time; within 60 s.

    Args:
        reactor: keeps the time.
        wanted: the components; no two have the same prefix.
        spawn: spawns one, within 20 s.

    Returns:
        What has become of each, by its prefix.
    """
    until, turns = reactor.seconds() + _BEGUN_WITHIN, DeferredSemaphore(_AT_ONCE)

    async def in_turn(one: Wanted) -> Answer:
        if reactor.seconds() > until:
            return failed(f"{one.component} has not been begun with: those before it took {_BEGUN_WITHIN:g} s")
        return await spawn(one)

    doing = [turns.run(in_turn, one) for one in wanted]
    answers = await gatherResults(doing, consumeErrors=True)
    return {str(one.component.prefix): answer for one, answer in zip(wanted, answers, strict=True)}
