"""What a test leaves behind: child processes and threads, cheaply told."""

import contextlib
import os
import threading
import time
from pathlib import Path

# The reactor's own worker threads live as long as the reactor does.
REACTOR_THREADS = ("PoolThread-", "twisted.internet")


def children() -> set[int]:
    """Process ids of our living children."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found.update(int(pid) for pid in (task / "children").read_text().split())
    return {pid for pid in found if not _is_zombie(pid)}


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def threads() -> set[threading.Thread]:
    """Threads that would keep the program from ending."""
    return {t for t in threading.enumerate() if not t.daemon and not t.name.startswith(REACTOR_THREADS)}


def snapshot() -> tuple[set[int], set[threading.Thread]]:
    """What there is before a test."""
    return children(), threads()


def left_behind(before: tuple[set[int], set[threading.Thread]], grace: float = 3.0) -> list[str]:
    """Name what a test has left, after `grace` seconds at most for what is on its way out; ends the processes."""
    deadline = time.monotonic() + grace
    while True:
        new_children, new_threads = children() - before[0], threads() - before[1]
        if not new_children and not new_threads:
            return []
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    named = [f"process {pid}: {_command(pid)}" for pid in sorted(new_children)]
    for pid in new_children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
    return named + [f"thread {thread.name}" for thread in new_threads]


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    return "?"
