"""The command: `python -m benchmarks [names...] [--quick] [--rounds N] [--json FILE]`."""

import argparse
import sys
import tempfile
import time

from benchmarks import (
    agent_service,
    agent_start,
    aggregator,
    client,
    closed,
    exporter,
    host_manager,
    influx,
    keeping,
    publish,
    pysmurf_monitor,
    reading,
    registry,
    requests,
)
from benchmarks.bench import Bench
from benchmarks.report import Results, save, show
from benchmarks.sides import BenchmarkError, both_sides
from ocs.cli.output import program, say, say_json, warn

MODULES = (
    agent_start,
    client,
    publish,
    aggregator,
    keeping,
    registry,
    exporter,
    reading,
    host_manager,
    pysmurf_monitor,
    influx,
    agent_service,
    requests,
    closed,
)
CASES = [case for module in MODULES for case in module.CASES]


def parse(argv=None):
    names = ", ".join(f"`{case.name}`" for case in CASES)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure this package beside the published one, in interleaved rounds on one router. "
        "See docs/benchmarks.md for what each measurement means.",
        epilog=f"Measurements: {names}.",
    )
    parser.add_argument(
        "names", nargs="*", help="measure only those whose name begins with one of these (default: all)"
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: minutes, and coarse figures")
    parser.add_argument(
        "--rounds", type=int, metavar="N", help="rounds of every measurement, instead of its own number"
    )
    parser.add_argument("--markdown", action="store_true", help="print the table for the documentation")
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="where to write the figures (default: benchmarks/results/DATE.json; - prints them)",
    )
    return parser.parse_args(argv)


def chosen(names):
    """The cases whose name begins with one of ``names``; all if there are none.

    Raises:
        BenchmarkError: a name fits none.
    """
    for name in names:
        if not any(case.name.startswith(name) for case in CASES):
            raise BenchmarkError(
                f"no measurement is called {name!r}; there are: {', '.join(case.name for case in CASES)}"
            )
    return [case for case in CASES if not names or case.name.startswith(tuple(names))]


def rounds_of(case, args):
    """How often a case is measured: one that is called by name at least once."""
    own = case.quick_rounds if args.quick else case.rounds
    return args.rounds or own or int(bool(args.names))


def measure(bench, case, sides, rounds, results):
    """Make all rounds of a case, the sides taking turns at going first."""
    taking_part = [side for side in sides if side.name in case.sides]
    for turn in range(rounds):
        for side in taking_part[:: 1 if turn % 2 == 0 else -1]:
            began = time.time()
            try:
                results.add(case, side, case.measure(bench, side))
            except (BenchmarkError, OSError) as error:
                results.fail(case, side, error)
                warn(f"{case.name}, {side}: {error}")
            print(f"{case.name}, {side}, round {turn + 1} of {rounds}: {time.time() - began:.1f} s", file=sys.stderr)


def main():
    args = parse()
    cases, sides = chosen(args.names), both_sides()
    for side in sides:
        side.warm_up()
    results = Results(sides)
    with tempfile.TemporaryDirectory(prefix="ocs-bench-") as directory, Bench(directory, args.quick) as bench:
        for case in cases:
            measure(bench, case, sides, rounds_of(case, args), results)
    if args.json == "-":
        say_json(results.as_json())
    else:
        show(results, args.markdown)
        say(f"Figures: {save(results, args.json)}")
    return 0


if __name__ == "__main__":
    sys.exit(program(main))
