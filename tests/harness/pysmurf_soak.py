"""A soak of the pysmurf monitor: files at a fixed rate, another process in its database, and books that balance.

`python -m tests.harness.pysmurf_soak --minutes 10 --rate 1000`. The simulator writes and announces files; the monitor
and its receiver enter them; a marker, another process, reads each entered file, compares its sum with the row's, marks
the row as copied and removes the file, as the SupRsync agents do, and adds rows of its own all the time.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ocs.agents.pysmurf_monitor.simulation import Plan, steady, until
from ocs.cli.output import program, say, table
from ocs.cli.readable import duration
from tests.harness.agents import AgentHandle, start_agent
from tests.harness.peers import PUBLISHED_SOCS, SIDES, peer_python
from tests.harness.pysmurf import HOST, each_once, entered, free_udp_port, is_bound, query
from tests.harness.recording.observatory import new_router
from tests.harness.site import Site
from tests.harness.suprsync import OTHERS, Marked, lock_errors, marking, start_published_monitor
from tests.harness.waiting import wait_for

ROOT = Path(__file__).parents[2]
STREAMS = tuple(f"crate1slot{slot}" for slot in range(2, 8))
AGE_S = 2.0  # how old a row is when its file is removed
PATIENCE_S = 120.0  # for all files to be entered, after the last was announced
SETTLING_S = 20.0
MOST_MEMORY = 200 << 20
MIB = 1 << 20
COUNTERS = ("files_queued", "files_pending", "files_entered_total", "files_known_total", "datagrams_dropped_total")


@dataclass
class Sample:
    """A moment of the soak: times in s, memory in bytes."""

    at: float
    rows: int
    memory: int
    receiver_waiting: int
    receiver_memory: int
    database: str
    counters: dict[str, int]


@dataclass
class Result:
    """What came of a soak.

    Attributes:
        wrong: what does not balance, a line for each; nothing if all is well.
        published: the simulator's summary.
        marked: what the marker did.
        samples: the course of time.
        drained: how long after the last announcement the last row was there (s).
        data: the monitor's session data in the end.
    """

    side: str
    rate: float
    seconds: float
    wrong: list[str] = field(default_factory=list)
    published: dict[str, Any] = field(default_factory=dict)
    marked: Marked = field(default_factory=Marked)
    samples: list[Sample] = field(default_factory=list)
    drained: float = 0.0
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def most_memory(self) -> int:
        return max((sample.memory for sample in self.samples), default=0)


class Soak:
    """One soak in a folder of its own."""

    def __init__(self, folder: Path, args: argparse.Namespace) -> None:
        self._folder, self._args = folder, args
        self._data, self._db_path = folder / "data", folder / "suprsync.db"
        self._start, self._port = float(int(time.time())), free_udp_port()
        self._began = time.monotonic()
        self.result = Result(args.side, args.rate, args.minutes * 60)

    def run(self) -> Result:
        """Run it, and balance the books."""
        with ExitStack() as stack:
            router = stack.enter_context(new_router(self._folder / "router"))
            self._site = Site(self._folder, router)
            self._monitor = stack.enter_context(self._running_monitor())
            finish = stack.enter_context(marking(self._db_path, "--remove", "--age", str(AGE_S)))
            self._publish()
            self._drain()
            self._settle()
            self._sample()
            self.result.marked = finish()
        self.result.wrong = list(self._mistakes())
        return self.result

    @contextmanager
    def _running_monitor(self) -> Iterator[AgentHandle]:
        handle = self._start_monitor()
        try:
            handle.wait_until_ready(60)
            wait_for(lambda: is_bound(self._port), 60)
            if self._args.side == "ours":
                wait_for(lambda: _data_of(handle).get("database", {}).get("state"), 60)
            yield handle
            handle.stop(timeout=30)
        finally:
            handle.kill()

    def _start_monitor(self) -> AgentHandle:
        options = ["--udp-port", self._port, "--db-path", str(self._db_path)]
        self._site.add_instance("PysmurfMonitor", "monitor", options)
        if self._args.side == "published":
            return start_published_monitor(self._site, peer_python("socs", "socs", PUBLISHED_SOCS), "monitor")
        return start_agent(self._site, "monitor", "--allow-root", str(self._data))

    def _publish(self) -> None:
        with subprocess.Popen(self._simulator(), cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            try:
                while process.poll() is None:
                    self._sample()
                    self._show()
                    self._pause(process)
                self.result.published = json.loads(process.stdout.read() if process.stdout else "")
            finally:
                process.kill() if process.poll() is None else None

    def _simulator(self) -> list[str]:
        options = {
            "--port": self._port,
            "--data-dir": self._data,
            "--rate": self._args.rate,
            "--duration": self.result.seconds,
            "--size": self._args.size,
            "--start": self._start,
        }
        words = [str(word) for option in options.items() for word in option]
        ids = [word for stream in STREAMS for word in ("--stream-id", stream)]
        return [sys.executable, "-m", "ocs.cli.pysmurf_simulator", "--host", HOST, "--json", *words, *ids]

    def _pause(self, process: "subprocess.Popen[str]") -> None:
        try:
            process.wait(self._args.every)
        except subprocess.TimeoutExpired:
            return

    def _drain(self) -> None:
        began, wanted = time.monotonic(), self.result.published["files"]
        while self._entered() < wanted and time.monotonic() < began + PATIENCE_S:
            time.sleep(0.25)
        self.result.drained = time.monotonic() - began

    def _entered(self) -> int:
        return entered(self._db_path, besides=OTHERS)

    def _settle(self) -> None:
        """Wait for the session data, which are a little behind."""
        deadline = time.monotonic() + SETTLING_S
        while not self._is_settled() and time.monotonic() < deadline:
            time.sleep(0.5)

    def _is_settled(self) -> bool:
        self.result.data = self._session_data()
        return bool(self._args.side == "published" or self.result.data.get("files_entered_total") == self._entered())

    def _sample(self) -> None:
        data = self._session_data()
        receiver = data.get("receiver", {})
        agent, below = _memory(self._monitor.process.pid)
        self.result.samples.append(
            Sample(
                at=time.monotonic() - self._began,
                rows=self._rows(),
                memory=agent + below,
                receiver_memory=below,
                receiver_waiting=int(receiver.get("waiting_bytes", 0)),
                database=str(data.get("database", {}).get("state", "")),
                counters={name: int(data.get(name, 0)) for name in COUNTERS},
            )
        )

    def _rows(self) -> int:
        found = query(self._db_path, "SELECT max(id) AS n FROM supersync_v0")
        return int(found[0]["n"] or 0) if found else 0

    def _session_data(self) -> dict[str, Any]:
        return _data_of(self._monitor)

    def _show(self) -> None:
        last = self.result.samples[-1]
        text = f"{last.at:6.0f} of {self.result.seconds:.0f} s: {last.rows:,} rows, {last.memory / MIB:.0f} MiB"
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def _mistakes(self) -> Iterator[str]:
        published, data, marked = self.result.published, self.result.data, self.result.marked
        plan = Plan(str(self._data), self._start, STREAMS, self._args.rate, self._args.size)
        paths = (message.file for message in until(steady(plan), files=published["files"]) if message.file)
        if wrong := each_once(self._db_path, paths, besides=OTHERS):
            yield f"the table {wrong}"
        if marked.added != (foreign := entered(self._db_path) - self._entered()):
            yield f"{marked.added} rows of the marker's own, {foreign} in the table"
        yield from (f"not as its row says: {path}" for path in marked.wrong[:5])
        yield from (f"the marker met a lock: {text}" for text in marked.locks[:5])
        yield from (f"the monitor told of a lock: {line}" for line in lock_errors(self._monitor.output)[:5])
        yield from self._mistakes_of_the_monitor(published, data) if self._args.side == "ours" else ()

    def _mistakes_of_the_monitor(self, published: dict[str, Any], data: dict[str, Any]) -> Iterator[str]:
        wanted = {
            "datagrams_received_total": published["datagrams"],
            "files_entered_total": published["files"],
            "files_pending": 0,
            "datagrams_dropped_total": 0,
            "datagrams_refused_total": 0,
        }
        for name, number in wanted.items():
            if data.get(name) != number:
                yield f"{name} is {data.get(name)}, not {number}"
        if states := {sample.database for sample in self.result.samples} - {"ok"}:
            yield f"the database was {', '.join(map(repr, sorted(states)))}"
        if self.result.most_memory > MOST_MEMORY:
            yield f"{self.result.most_memory / MIB:.0f} MiB of memory, more than {MOST_MEMORY / MIB:.0f}"


def _data_of(monitor: AgentHandle) -> dict[str, Any]:
    return dict(monitor.call(".ops", "status", "run")[2].get("data") or {})


def _memory(pid: int) -> tuple[int, int]:
    """Return the memory of a process, and of its children together (bytes)."""
    process = psutil.Process(pid)
    below = [child.memory_info().rss for child in process.children(recursive=True)]
    return process.memory_info().rss, sum(below)


def report(result: Result) -> None:
    """Print the course of time, then what came of it."""
    columns = ("at", "rows", "queued", "pending", "waiting", "memory", "receiver", "database")
    table(columns, [_row(sample) for sample in _thinned(result.samples)])
    published, marked = result.published, result.marked
    say(
        f"\n{published['files']:,} files announced in {duration(published['seconds'])}: {published['rate']:.0f} files/s"
    )
    say(f"the last was entered {result.drained:.1f} s later; at most {result.most_memory / MIB:.0f} MiB of memory")
    say(
        f"the marker marked {marked.marked:,}, removed {marked.removed:,} and added {marked.added:,};"
        f" its longest transaction took {marked.longest:.2f} s"
    )
    for line in result.wrong:
        say(f"WRONG: {line}")
    say("every file exactly once, no lock error" if not result.wrong else "the books do not balance")


def _thinned(samples: Sequence[Sample], most: int = 40) -> list[Sample]:
    step = -(-len(samples) // most)
    return [*samples[:-1:step], *samples[-1:]] if samples else []


def _row(sample: Sample) -> tuple[str, ...]:
    waiting, memory, below = sample.receiver_waiting, sample.memory, sample.receiver_memory
    counts = (sample.rows, *(sample.counters[name] for name in ("files_queued", "files_pending")))
    sizes = (f"{waiting / 1024:.0f} KiB", f"{memory / MIB:.0f} MiB", f"{below / MIB:.0f} MiB")
    return (f"{sample.at:.0f} s", *(f"{number:,}" for number in counts), *sizes, sample.database)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.harness.pysmurf_soak",
        description="Announce files to a pysmurf monitor for minutes, with another process in its database.",
        epilog="Exit code 1 if any file is not entered exactly once, or anybody met a lock.",
    )
    parser.add_argument("--minutes", type=float, default=10.0, metavar="M", help="how long (default: %(default)s)")
    parser.add_argument(
        "--rate", type=float, default=1000.0, metavar="HZ", help="files a second (default: %(default)s)"
    )
    parser.add_argument("--size", type=int, default=200, metavar="BYTES", help="of each file (default: %(default)s)")
    parser.add_argument("--side", choices=SIDES, default="ours", help="whose monitor (default: %(default)s)")
    parser.add_argument("--every", type=float, default=5.0, metavar="S", help="time between two looks")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where everything is left for a look")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything that was found out")
    return parser.parse_args(argv)


def main() -> int:
    args = parse()
    folder = args.folder or Path(tempfile.mkdtemp(prefix="ocs-pysmurf-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    result = Soak(folder, args).run()
    print(file=sys.stderr)
    report(result)
    if args.json:
        args.json.write_text(json.dumps(asdict(result), indent=1) + "\n")
    if args.folder or result.wrong:
        say(f"everything is left in {folder}")
    else:
        shutil.rmtree(folder)
    return int(bool(result.wrong))


if __name__ == "__main__":
    sys.exit(program(main))
