"""The command: `python -m tests.harness.recording [FAULT...] [options]`, and `soak` and `table` in a fault's place."""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

from ocs.cli.output import program, say
from ocs.errors import OCSError
from tests.harness.peers import SIDES
from tests.harness.recording import soak, table
from tests.harness.recording.faults import FAULTS
from tests.harness.recording.runs import Result, Run, do_all


def parse(argv=None):
    listed = "\n".join(f"  {fault.name:26}{fault.title}" for fault in FAULTS.values())
    parser = argparse.ArgumentParser(
        prog="python -m tests.harness.recording",
        description="Let things go wrong for recorders and publishers that are real processes, and count every sample.",
        epilog=f"faults:\n{listed}\n\nSee docs/developer/recording-faults.md.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", nargs="*", metavar="FAULT", help="which faults (default: all); or `soak`, or `table`")
    parser.add_argument(
        "--side", action="append", choices=SIDES, help="whose recording; may be repeated (default: ours)"
    )
    parser.add_argument(
        "--seconds", type=float, nargs="+", default=[5.0], metavar="S", help="how long each fault lasts"
    )
    parser.add_argument("--parallel", type=int, default=4, metavar="N", help="runs at a time (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=100.0, metavar="HZ", help="ticks a second of each publisher")
    parser.add_argument(
        "--frame-length", type=float, default=2.0, metavar="S", help="of the feeds (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=None, metavar="N", help="of all that is left to chance")
    parser.add_argument("--minutes", type=float, default=10.0, metavar="M", help="of a soak (default: %(default)s)")
    parser.add_argument("--folder", type=Path, metavar="FOLDER", help="where everything is left for a look")
    parser.add_argument("--source", type=Path, metavar="FOLDER", help="where our package is (default: as installed)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="results; those of the same run are replaced")
    parser.add_argument("--page", type=Path, default=table.PAGE, metavar="FILE", help="where `table` is written")
    return parser.parse_args(argv)


def chosen(args) -> list[Run]:
    unknown = [name for name in args.what if name not in FAULTS]
    if unknown:
        raise OCSError(f"no fault is called {unknown[0]!r}; there are: {', '.join(FAULTS)}")
    faults = [FAULTS[name] for name in args.what or FAULTS]
    seed = args.seed or 0
    return [
        Run(fault.name, side, seconds, seed)
        for seconds in args.seconds
        for fault in faults
        for side in args.side or SIDES[:1]
        if fault.lasts or seconds == args.seconds[0]
    ]


class Notes:
    """Prints each result, and puts it into the JSON file at once."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._lock = path, threading.Lock()

    def __call__(self, result: Result) -> None:
        with self._lock:
            say(result.report())
            if self._path:
                table.add(self._path, result)


def run_faults(args, folder: Path) -> int:
    results = do_all(
        chosen(args), folder, parallel=args.parallel, told=Notes(args.json), rate=args.rate,
        frame_length=args.frame_length, source=args.source,
    )  # fmt: skip
    for result in results:
        say(table.line(result))
    say(f"Everything is left in {folder}")
    ours = [result for result in results if result.run.side == "ours" and not result.skipped]
    return int(not all(result.balanced for result in ours))


def run_soak(args, folder: Path) -> int:
    seed = args.seed if args.seed is not None else int.from_bytes(os.urandom(3))
    result = soak.run(folder / "soak", minutes=args.minutes, seed=seed, rate=args.rate, source=args.source)
    if args.json:
        args.json.write_text(json.dumps(result.as_json(), indent=1) + "\n")
    say(result.report())
    say(f"Seed {seed}; everything is left in {folder}")
    return int(not result.balanced)


def main() -> int:
    args = parse()
    if args.what == ["table"]:
        table.write(args.page)
        return 0
    folder = args.folder or Path(tempfile.mkdtemp(prefix=f"ocs-faults-{time.strftime('%H%M%S')}-"))
    folder.mkdir(parents=True, exist_ok=True)
    return run_soak(args, folder) if args.what == ["soak"] else run_faults(args, folder)


if __name__ == "__main__":
    sys.exit(program(main))
