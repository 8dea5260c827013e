"""What programs print, as lines for people."""

import re
from collections.abc import Iterator

from ocs.scf.checks import printable

__all__ = ["MOST_OUTPUT", "Lines", "last_words", "one_line", "seconds", "warnings"]

MOST_OUTPUT = 16 << 20
"""What is read of one answer, in bytes."""
_LONGEST_LINE = 64 << 10
_LONGEST_REASON = 600
_LAST_LINES = 3
_LOG_LINE = re.compile(r'^time="[^"]*" level=(\w+) msg=(.*)$')
_LINE_END = re.compile(rb"[\r\n]+")


class Lines:
    """Splits what comes in pieces into lines; a line that is longer than 64 KiB comes in several."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[str]:
        """Yield the lines, without those that are empty, that ``data`` completes."""
        *lines, self._rest = _LINE_END.split(self._rest + data)
        if len(self._rest) > _LONGEST_LINE:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            if line.strip():
                yield line.decode("utf-8", "replace")


def one_line(text: str, longest: int = _LONGEST_REASON) -> str:
    """Return a text as one line of at most ``longest`` characters, that no terminal takes for a command."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= longest else line[: longest - 1] + "…"


def last_words(text: str) -> str:
    """Return why a program failed, from all that it printed: its last lines, without those that tell of progress."""
    lines = [line for line in text.splitlines() if line.strip()]
    complaints = [line for line in lines if not line.startswith((" ", "#")) and _level(line) not in ("warning", "info")]
    return one_line("; ".join(_message(line) for line in (complaints or lines[-1:])[-_LAST_LINES:]))


def warnings(text: str) -> list[str]:
    """Return what a program has warned of, each once."""
    found = (_message(line) for line in text.splitlines() if _level(line) == "warning")
    return list(dict.fromkeys(one_line(line, 200) for line in found))


def seconds(duration: float) -> str:
    """Return a duration in seconds as text."""
    return f"{duration:g} s"


def _level(line: str) -> str:
    match = _LOG_LINE.match(line)
    return match[1] if match else ""


def _message(line: str) -> str:
    match = _LOG_LINE.match(line)
    return match[2].strip().strip('"').replace('\\"', '"') if match else line.strip()
