"""What a run found: a table for people, and a file for machines."""

import json
import platform
import time
from pathlib import Path
from statistics import median

import psutil

from benchmarks.sides import OURS, PUBLISHED, state_of_code
from ocs.cli.output import say, table

__all__ = ["Results", "machine", "save", "show"]

COLUMNS = ("case", "figure", OURS, PUBLISHED, "ratio (rounds)", "target")
RESULTS = Path(__file__).parent / "results"


def machine():
    """Name the machine: processor, cores, memory, system."""
    return {
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(terse=True),
    }


def _cpu_model():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


class Results:
    """What has been measured: for each case, side and figure one value a round.

    Args:
        sides: the two sides.
    """

    def __init__(self, sides):
        self.started = time.time()
        self.code = state_of_code()
        self.versions = {side.name: side.versions for side in sides}
        self.cases = []
        self._values = {}
        self.failures = []

    def add(self, case, side, values):
        """Note what one round gave."""
        if case not in self.cases:
            self.cases.append(case)
        for figure in case.figures:
            self._values.setdefault((case.name, figure.key, side.name), []).append(values.get(figure.key))

    def fail(self, case, side, error):
        """Note a round that gave nothing."""
        self.failures.append({"case": case.name, "side": side.name, "error": str(error)})
        self.add(case, side, {})

    def values(self, case, figure, side):
        """The values of all rounds; None where there is none."""
        return self._values.get((case.name, figure.key, side), [])

    def middle(self, case, figure, side):
        """The median of a side's rounds; None if any round gave nothing."""
        values = self.values(case, figure, side)
        return median(values) if values and None not in values else None

    def ratios(self, case, figure):
        """Ours by the published, round by round, so that both met the same state of the machine."""
        pairs = zip(self.values(case, figure, OURS), self.values(case, figure, PUBLISHED), strict=False)
        return [mine / theirs for mine, theirs in pairs if mine is not None and theirs]

    def verdicts(self, case, figure):
        """Each target of a figure with whether it is met; None where it cannot be told."""
        return [(target, self._verdict(case, figure, target)) for target in figure.targets]

    def _verdict(self, case, figure, target):
        ratios = self.ratios(case, figure)
        value = (median(ratios) if ratios else None) if target.ratio else self.middle(case, figure, OURS)
        return None if value is None else target.met(value)

    def as_json(self):
        """Everything, for the file."""
        return {
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.started)),
            "machine": machine(),
            "code": {"at_start": self.code, "at_end": state_of_code()},
            "versions": self.versions,
            "load_average": psutil.getloadavg(),
            "failures": self.failures,
            "cases": {case.name: self._case_json(case) for case in self.cases},
        }

    def _case_json(self, case):
        return {
            "title": case.title,
            "figures": {figure.key: self._figure_json(case, figure) for figure in case.figures},
        }

    def _figure_json(self, case, figure):
        ratios = self.ratios(case, figure)
        return {
            "label": figure.label,
            **{side: self.values(case, figure, side) for side in case.sides},
            "ratio": {"median": median(ratios), "min": min(ratios), "max": max(ratios)} if ratios else None,
            "targets": [{"target": str(target), "met": met} for target, met in self.verdicts(case, figure)],
        }


def number(value):
    """A number for people: three figures that matter."""
    if value is None:
        return "-"
    if (value == int(value) and abs(value) < 100) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _spread(ratios):
    if not ratios:
        return ""
    text = f"{median(ratios):.2f}x"
    return f"{text} ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else text


def _target_text(verdicts):
    words = {True: "met", False: "NOT MET", None: "no figure"}
    return "; ".join(f"{target}: {words[met]}" for target, met in verdicts)


def show(results, markdown=False):
    """Print the table: medians of the rounds, the ratio with its smallest and largest round, the targets.

    Args:
        results: what was measured.
        markdown: for the documentation rather than for the terminal.
    """
    where = machine()
    say(f"{where['cpu']}, {where['cores']} cores, {where['memory_gib']} GiB, {where['system']}")
    for name, versions in results.versions.items():
        say(f"{name}: " + ", ".join(f"{package} {version}" for package, version in versions.items()))
    if results.code != state_of_code():
        say("The code of ours changed during the run: these figures mix versions and should not be published.")
    rows = [row for case in results.cases for row in _rows(results, case)]
    if markdown:
        for row in (COLUMNS, ["---"] * len(COLUMNS), *rows):
            say(f"| {' | '.join(row)} |")
    else:
        table(COLUMNS, rows)
    for failure in results.failures:
        say(f"{failure['case']}, {failure['side']}: {failure['error']}")


def _rows(results, case):
    for place, figure in enumerate(case.figures):
        yield (
            case.name if place == 0 else "",
            figure.label,
            *(number(results.middle(case, figure, side)) for side in (OURS, PUBLISHED)),
            _spread(results.ratios(case, figure)),
            _target_text(results.verdicts(case, figure)),
        )


def save(results, path=None):
    """Write the JSON file and return its path; by default it is named for the day of the run."""
    path = Path(path) if path else RESULTS / f"{time.strftime('%Y-%m-%d', time.gmtime(results.started))}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results.as_json(), indent=1) + "\n")
    return path
