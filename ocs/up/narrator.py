"""What has changed between two looks at a site, in lines for people."""

from collections.abc import Sequence
from pathlib import Path

from ocs.up.folder import shown_path
from ocs.up.rows import Row, Summary, op_name

__all__ = ["Narrator", "operations_text", "recording_text", "size_text", "summary_text", "sums_text"]


_PLAIN = {
    "queued": "",
    "silent": "no heartbeat for 5 s, though its process is there",
    "no router": "waits for the router",
    "unknown": "nobody knows whether it runs",
}
"""States that are told in the same words whatever the row."""


class Narrator:
    """Compares each look with the one before.

    Args:
        brief: tell only of trouble and its end; ordinary starts and stops are seen elsewhere.
    """

    def __init__(self, *, brief: bool = False) -> None:
        self._brief = brief
        self._before: dict[str, Row] = {}

    def changes(self, rows: Sequence[Row]) -> list[tuple[Row, str]]:
        """Return what is new, each with the row that it is about."""
        found = [(row, text) for row in rows for text in self._about(self._before.get(row.name), row)]
        self._before = {row.name: row for row in rows}
        return found

    def _about(self, before: Row | None, row: Row) -> list[str]:
        lines = []
        if before and row.restarts > before.restarts and before.state != "waiting":
            lines.append(f"{row.last_exit}; started again at once")
        elif before is None or before.state != row.state:
            lines.append(_state_text(row))
        elif row.state == "up" and before.operations != row.operations:
            lines.append(operations_text(row) or "idle")
        return [line for line in lines if line] if not self._brief else self._trouble_only(before, row, lines)

    @staticmethod
    def _trouble_only(before: Row | None, row: Row, lines: Sequence[str]) -> list[str]:
        was_bad = before is not None and before.state in ("waiting", "silent")
        again = before is not None and row.restarts > before.restarts
        telling = row.state in ("waiting", "silent") or again or (was_bad and row.state == "up")
        return [lines[0]] if telling and lines and (before is None or before.state != row.state or again) else []


def _state_text(row: Row) -> str:
    if row.state == "starting":
        again = f", restart {row.restarts}" if row.restarts else ""
        return f"starting (process {row.pid}{again})" if row.pid else "starting"
    if row.state == "waiting":
        said = f"; it last said: {row.last_words}" if row.last_words else ""
        return f"{row.last_exit}, starts again in {row.due_in or 0:.0f} s{said}"
    if row.state in _PLAIN:
        return _PLAIN[row.state]
    if row.state == "down" and row.last_exit:
        return f"down ({row.last_exit})"
    operations = operations_text(row) if row.state == "up" else ""
    return f"up; {operations}" if operations else row.state


def operations_text(row: Row) -> str:
    """Return the operations that have run, with their states."""
    return ", ".join(f"{name} {op_name(code)}" for name, code in row.operations)


def size_text(size: int) -> str:
    """Return a number of bytes in a handy unit."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:  # noqa: PLR2004 - SI prefixes
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def summary_text(summary: Summary) -> str:
    """Return the sums in one line."""
    return ", ".join(part for part in (sums_text(summary), recording_text(summary)) if part)


def sums_text(summary: Summary) -> str:
    """Return the sums over the agents."""
    up = f"{summary.up} of {summary.agents} agents up"
    return f"{up}, {summary.samples_per_s:,.1f} samples/s, {summary.samples:,} samples"


def recording_text(summary: Summary) -> str:
    """Return what is being recorded, or an empty string."""
    file = summary.recording.file
    return f"recording {shown_path(Path(file))} ({size_text(summary.recording.size)})" if file else ""
