"""The family of a component's process: what it has started, and what that has started, wherever it has gone.

A process belongs to it by its parent, by its session or group, or by the mark that the spawn agent has put into the
component's environment: by that one also a daemon is found, whose parent has ended and who leads a session of its own.
Every member is named by its id and its stamp, so that another one that has got the id since is never meant.
"""

import os
import signal
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from ocs.supervisor.proc import stamp

__all__ = ["MARK", "Kin", "Member", "find_family", "leaves_first", "look", "send", "still_there"]

MARK = "OCS_SPAWNED_AS"
"""The variable that all of a component's family have in their environment."""

_NOBODY = -1


@dataclass(frozen=True, slots=True)
class Kin:
    """What is asked of each process of the machine."""

    pid: int
    parent: int
    group: int
    session: int
    is_marked: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """One process of a family, and no other that may get its id."""

    pid: int
    stamp: str


def leaves_first(processes: Iterable[Kin], root: int) -> list[int]:
    """Return the ids of a family: descendants before those that they descend from, the root last.

    Args:
        processes: all that there are.
        root: the component's process; it need not be there any more.
    """
    known = {kin.pid: kin for kin in processes}
    children: dict[int, list[int]] = defaultdict(list)
    for kin in known.values():
        children[kin.parent].append(kin.pid)
    order: dict[int, None] = {}
    for start in [kin.pid for kin in known.values() if _belongs(kin, root) and kin.pid != root] + [root]:
        for pid in _below(start, children):
            order.setdefault(pid, None)
    return [pid for pid in order if pid in known]


def _belongs(kin: Kin, root: int) -> bool:
    return kin.is_marked or root in (kin.group, kin.session)


def _below(start: int, children: Mapping[int, list[int]]) -> list[int]:
    """Return a process and all its descendants, deepest generation first."""
    found, row, seen = [start], [start], {start}
    while row:
        row = [child for pid in row for child in children.get(pid, ()) if child not in seen]
        seen.update(row)
        found.extend(row)
    return found[::-1]


def find_family(root: Member, mark: str) -> list[Member]:
    """Return the family of a process, leaves first. It reads ``/proc``: not in the reactor's thread.

    Args:
        root: the process; if it has ended, only its family's mark counts, since its id may be another's now.
        mark: what its family has in its environment; empty: it has no mark.
    """
    pid_of_root = root.pid if stamp(root.pid) == root.stamp else _NOBODY
    found = [(pid, stamp(pid)) for pid in leaves_first(look(mark), pid_of_root) if pid not in (1, os.getpid())]
    return [Member(pid, created) for pid, created in found if created]


def look(mark: str) -> Iterator[Kin]:
    """Yield all processes of the machine."""
    wanted = f"{MARK}={mark}".encode() if mark else b""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            parent, group, session = process.ppid(), os.getpgid(process.pid), os.getsid(process.pid)
            yield Kin(process.pid, parent, group, session, bool(wanted) and _has(process.pid, wanted))


def _has(pid: int, variable: bytes) -> bool:
    try:
        return variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        # Somebody else's process, or none any more.
        return False


def send(members: Iterable[Member], signum: signal.Signals) -> None:
    """Send a signal to each of them that is still there, in this order."""
    for member in members:
        with suppress(ProcessLookupError, PermissionError):
            _send(member, signum)


def _send(member: Member, signum: signal.Signals) -> None:
    if not hasattr(os, "pidfd_open"):
        if stamp(member.pid) == member.stamp:
            os.kill(member.pid, signum)
        return
    # Held first and known second: so it cannot be another one that has got the id in between.
    held = os.pidfd_open(member.pid)
    try:
        if stamp(member.pid) == member.stamp:
            signal.pidfd_send_signal(held, signum)
    finally:
        os.close(held)


def still_there(members: Iterable[Member]) -> list[Member]:
    """Return those that have not ended."""
    return [member for member in members if stamp(member.pid) == member.stamp]
