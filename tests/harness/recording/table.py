"""Results: kept in two JSON files, one for each side, and made a table for the documentation."""

import json
import time
from pathlib import Path
from typing import Any

from tests.harness.peers import ROOT, SIDES
from tests.harness.recording.faults import FAULTS
from tests.harness.recording.runs import Result

PAGE = ROOT / "docs" / "developer" / "recording-faults.md"
RESULTS = {side: ROOT / "benchmarks" / "results" / f"recording-{side}.json" for side in SIDES}
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
COLUMNS = ("fault", "for", "ours: missing", "twice", "published: missing", "twice", "of samples")


def add(path: Path, result: Result) -> None:
    """Put a result into a JSON file, in the place of an earlier one of the same run."""
    kept = [each for each in load(path) if _key(each) != _key(result.as_json())]
    path.parent.mkdir(parents=True, exist_ok=True)
    new = {"date": time.strftime("%Y-%m-%d"), **result.as_json()}
    path.write_text(json.dumps(sorted([*kept, new], key=_key), indent=1) + "\n")


def load(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text()) if path.exists() else []


def _key(result: dict[str, Any]) -> tuple[int, float, str, str]:
    return list(FAULTS).index(result["fault"]), result["seconds"], result["side"], " ".join(result["publishers"])


def totals(result: dict[str, Any]) -> dict[str, int]:
    """Return the sums over all archives of a result."""
    names = ("accepted", "missing", "excused", "duplicated", "disordered", "wrong", "foreign")
    sums = {name: sum(books[name] for books in result["books"]) for name in names}
    return sums | {"torn": sum(len(books["torn"]) for books in result["books"])}


def line(result: Result) -> str:
    """Return a result in one line."""
    sums = totals(result.as_json())
    words = ", ".join(f"{count} {name}" for name, count in sums.items() if count or name in ("missing", "duplicated"))
    return f"{result.run.name:45}{result.skipped or result.trouble or words}"


def write(page: Path = PAGE) -> None:
    """Write the table of both sides' results into a page, between its two marks."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{markdown(*(load(RESULTS[side]) for side in SIDES))}\n{END}{after}")


def markdown(ours: list[dict[str, Any]], published: list[dict[str, Any]]) -> str:
    """Return the table: a row for each fault and duration."""
    by_run = [{_key(each)[:2]: each for each in results} for results in (ours, published)]
    rows = [_row(key, *(results.get(key) for results in by_run)) for key in sorted(by_run[0].keys() | by_run[1].keys())]
    return "\n".join(f"| {' | '.join(row)} |" for row in (COLUMNS, ["---"] * len(COLUMNS), *rows))


def _row(key: tuple[int, float], ours: dict[str, Any] | None, published: dict[str, Any] | None) -> list[str]:
    fault = list(FAULTS.values())[key[0]]
    accepted = [f"{totals(each)['accepted']:,}" for each in (ours, published) if each and each["books"]]
    cells = [fault.title, _duration(key[1]) if fault.lasts and fault.name != "calm" else ""]
    return [*cells, *_cells(ours), *_cells(published), " / ".join(accepted)]


def _duration(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 120 else f"{seconds:g} s"


def _cells(result: dict[str, Any] | None) -> list[str]:
    if result is None or result["skipped"]:
        return ["-", "-"]
    if result["trouble"]:
        return ["no result", "-"]
    sums = totals(result)
    lost = max(books["lost_seconds"] for books in result["books"])
    for_good = " and going on" if result["gone"] else ""
    missing = f"{sums['missing']:,} ({lost:.1f} s{for_good})" if sums["missing"] else "0"
    if sums["excused"]:
        seconds = max(books["excused_seconds"] for books in result["books"])
        missing += f", {sums['excused']:,} allowed ({seconds:.1f} s)"
    if sums["torn"]:
        missing += f", {sums['torn']} torn"
    return [missing, f"{sums['duplicated']:,}"]
