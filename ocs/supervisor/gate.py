"""The gate at which a child waits until it has been entered in the ledger: a pipe that it reads.

A byte lets it begin. If there is nobody any more who could write one, it reads the end and exits: so no child of a
supervisor that was killed in between ever begins.
"""

import os
import shutil
import sys
from contextlib import suppress

__all__ = ["GATE_FD", "Gate", "gated"]

GATE_FD = 3
"""Where a plainly started child finds its gate."""

_SHELL_GATE = f'read -r _ <&{GATE_FD} && exec "$@" {GATE_FD}<&-'

_PYTHON_GATE = f"""import os, sys
os.setsid()
if os.read({GATE_FD}, 1):
    os.close({GATE_FD})
    os.execvp(sys.argv[1], sys.argv[1:])
"""


class Gate:
    """Both ends of a gate, shut."""

    def __init__(self) -> None:
        self.inner, self._outer = os.pipe()
        """What the child reads."""

    @property
    def shut(self) -> bool:
        """Whether it can still be opened."""
        return self._outer >= 0

    def handed_over(self) -> None:
        """Close our copy of the inner end: the child has its own, or never will."""
        if self.inner >= 0:
            os.close(self.inner)
            self.inner = -1

    def open(self) -> None:
        """Let the child begin."""
        # A child that has ended at its gate reads nothing.
        with suppress(BrokenPipeError):
            os.write(self._outer, b"\n")
        self.close()

    def close(self) -> None:
        """Turn the child back, if it has not been let in."""
        if self._outer >= 0:
            os.close(self._outer)
            self._outer = -1


def gated(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Return a command that leads a session of its own and waits at its gate before it becomes ``argv``."""
    setsid, shell = shutil.which("setsid"), shutil.which("sh")
    if setsid and shell:
        return (setsid, shell, "-c", _SHELL_GATE, "sh", *argv)
    return (sys.executable, "-I", "-S", "-c", _PYTHON_GATE, *argv)
