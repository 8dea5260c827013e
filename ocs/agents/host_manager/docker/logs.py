"""What a container has printed: its two outputs, in the order of time."""

import re

__all__ = ["MOST_LINES", "logs_call", "merge_logs"]

MOST_LINES = 10_000
"""How many lines can be asked for."""
_STAMPED = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)) ?(.*)", re.DOTALL)


def logs_call(container: str, lines: int) -> tuple[str, ...]:
    """Return the arguments for docker that ask for a container's last lines, with their times."""
    return ("logs", "--timestamps", "--tail", str(max(1, min(lines, MOST_LINES))), container)


def merge_logs(out: str, err: str, lines: int) -> list[str]:
    """Return the last lines of both outputs, in the order of their times, without these."""
    stamped = _stamped(out) + _stamped(err)
    stamped.sort(key=lambda each: each[0])
    return [line for _time, line in stamped][-max(1, lines) :]


def _stamped(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    time = ""
    for line in text.split("\n"):
        match = _STAMPED.match(line)
        if match:
            time = match[1]
        if match or line:
            found.append((time, (match[2] if match else line).rstrip("\r")))
    return found
