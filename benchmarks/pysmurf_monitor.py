"""The pysmurf monitor: whether every announced file becomes a row of the transfer database, how soon, and at what cost.

Both sides are announced the same files by the same program; each has a database of its own, in which rows are counted.
"""

import shutil
import socket
import sqlite3
import threading
import time
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil

from benchmarks.case import Case, Figure, Target
from benchmarks.sides import OURS, BenchmarkError, published_socs

__all__ = ["CASES", "Growth", "udp_sockets"]

KIND, INSTANCE = "PysmurfMonitor", "pysmurf-monitor"
MODULES = {OURS: "ocs.agents.pysmurf_monitor.agent", "published": "socs.agents.pysmurf_monitor.agent"}
KIB, MB = 1024, 1_000_000
SMALL, LARGE = 4 * KIB, 100 * MB
PATIENCE = 300.0  # seconds that the rows of a burst may take
QUIET = 5.0  # seconds without a new row, and without work, after which no more are expected
AT_WORK = 0.02  # CPU seconds in a fifth of a second
LOOK = 0.2  # seconds between looks at the database


@contextmanager
def monitor(bench, side, database):
    """A monitor with an empty database that receives datagrams: (the agent, its UDP port)."""
    shutil.rmtree(bench.state, ignore_errors=True)
    for part in database.parent.glob(f"{database.name}*"):
        part.unlink()
    who, options = (side, ("--allow-root", bench.directory)) if side.name == OURS else (published_socs(), ())
    port = free_udp_port()
    arguments = ("--udp-port", port, "--db-path", database, *options)
    with bench.agent(who, MODULES[side.name], KIND, INSTANCE, *arguments) as agent:
        wait_until_bound(port, agent)
        yield agent, port
        agent.stop(20)


def free_udp_port():
    """A UDP port that nobody has."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as trial:
        trial.bind(("", 0))
        return trial.getsockname()[1]


def udp_sockets(table, port):
    """The sockets of a port in the text of ``/proc/net/udp``: for each, how many datagrams the kernel has dropped."""
    rows = [line.split() for line in table.splitlines()[1:]]
    return [int(row[-1]) for row in rows if row[1].endswith(f":{port:04X}")]


def sockets(port):
    """The same, now."""
    return udp_sockets(Path("/proc/net/udp").read_text(), port)


def wait_until_bound(port, agent, timeout=20.0):
    """Wait until somebody receives at the port."""
    deadline = time.time() + timeout
    while not sockets(port):
        if time.time() > deadline or not agent.is_alive:
            raise BenchmarkError(f"{agent.name} does not receive; see {agent.output_path}")
        time.sleep(0.05)


def buffer_bytes(bench, side):
    """What may wait in the monitor's socket: as much as ours says; the published one takes what the system gives."""
    if side.name == OURS:
        return bench.operation(INSTANCE, "status", "run")["data"]["receiver"]["buffer_bytes"]
    return int(Path("/proc/sys/net/core/rmem_default").read_text())


def asked(database, question):
    """What the database answers: rows, none while there is no table."""
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as reader:
        return reader.execute(question).fetchall()
    return []


class Growth:
    """Looks at the number of rows again and again; a context manager.

    Args:
        database: the file.
    """

    def __init__(self, database):
        self._database = database
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.seen = [(time.time(), 0)]

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _look(self):
        while not self._ended.wait(LOOK):
            self.note(time.time(), newest(self._database))

    def note(self, now, rows):
        """Remember a number of rows, if it has grown."""
        if rows > self.seen[-1][1]:
            self.seen.append((now, rows))

    @property
    def rows(self):
        """The number seen last."""
        return self.seen[-1][1]

    @property
    def last(self):
        """When the last of them was seen first (unix s)."""
        return self.seen[-1][0]

    def at(self, moment):
        """The number at a moment (unix s)."""
        return max(rows for when, rows in self.seen if when <= moment or rows == 0)


def newest(database):
    """The highest id, which is the number of rows as long as nobody deletes any; cheap to ask for."""
    return next((row[0] or 0 for row in asked(database, "SELECT max(id) FROM supersync_v0")), 0)


def settle(agent, growth, expected):
    """Wait until all rows are there, or no more are to be expected, and the work that was put off has been done."""
    deadline = time.time() + PATIENCE
    worked = time.time()
    while time.time() < deadline:
        before = agent.cpu()
        time.sleep(LOOK)
        if agent.cpu() - before > AT_WORK:
            worked = time.time()
        quiet = 1.0 if growth.rows >= expected else QUIET
        if time.time() - max(worked, growth.last) > quiet:
            return


def family_peak(pid):
    """The most that was resident of a process and its descendants, each at its own worst moment, in MiB."""
    family = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    return sum(peak(member) for member in family)


def peak(pid):
    """The most that was resident of a process since it started, in MiB."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / KIB
    return 0.0


def announce(bench, side, folder, makes, count, rate):
    """Announce files and follow them into the database.

    Args:
        bench: the bench.
        side: whose monitor.
        folder: name of the files' folder, which later rounds use again.
        makes: what it has, as ``(number of files, size)``, each on top of the last.
        count: number of files announced.
        rate: announcements a second; None: as fast as they are taken.

    Returns:
        What was sent, what has arrived when and where, and what it cost.
    """
    database = bench.directory / f"suprsync-{side}.db"
    with (
        monitor(bench, side, database) as (agent, port),
        bench.program("pysmurf_publisher", port, bench.directory / folder) as publisher,
    ):
        for number, size in makes:
            publisher.ask(f"make {number} {size}", timeout=300)
        cpu = agent.cpu()
        with Growth(database) as growth:
            order = f"send {count} {rate}" if rate else f"pass {count} {buffer_bytes(bench, side) // 3}"
            sent = publisher.ask(order, timeout=PATIENCE)
            settle(agent, growth, count)
        return {
            **sent,
            "growth": growth,
            "cpu": agent.cpu() - cpu,
            "peak": family_peak(agent.pid),
            "dropped": sum(sockets(port)),
            "entered": [
                row[0] for row in asked(database, "SELECT min(timestamp) FROM supersync_v0 GROUP BY local_path")
            ],
            "rows": asked(database, "SELECT count(*) FROM supersync_v0")[0][0],
        }


def common(found):
    """The figures of every case.

    Raises:
        BenchmarkError: there are no rows to speak of.
    """
    entered = len(found["entered"])
    if not entered:
        raise BenchmarkError(f"{found['sent']:,} files were announced, and none was entered")
    return {
        "wall": found["growth"].last - found["began"],
        "rate": entered / (found["growth"].last - found["began"]),
        "cpu": 1000 * 1000 * found["cpu"] / entered,
        "peak": found["peak"],
        "dropped": found["dropped"],
        "lost": found["sent"] - entered,
        "twice": found["rows"] - entered,
    }


def burst(rate, bench, side):
    """Announce so many a second for 5 s, whoever listens."""
    found = announce(bench, side, "small", [(100_000, SMALL)], rate * (2 if bench.quick else 5), rate)
    return {
        **common(found),
        "entered": 100 * len(found["entered"]) / found["sent"],
        "at_once": 100 * found["growth"].at(found["ended"]) / found["sent"],
        "load": found["late"],
    }


def drain(bench, side):
    """Announce 100,000 files as fast as the monitor takes the announcements."""
    count = 20_000 if bench.quick else 100_000
    return common(announce(bench, side, "small", [(count, SMALL)], count, None))


def large(bench, side):
    """Announce files of 100 MB, and small ones behind them."""
    big, behind = (5 if bench.quick else 20), 100
    makes = [(big, LARGE), (big + behind, SMALL)]
    found = announce(bench, side, f"large-{big}", makes, big + behind, None)
    times = found["entered"]
    return {
        **common(found),
        "speed": big * LARGE / MB / (max(times[:big]) - found["began"]) if len(times) == big + behind else None,
        "cpu": found["cpu"] / (big * LARGE / 1e9),
        "behind": max(times[big:]) - found["began"] if len(times) == big + behind else None,
    }


NONE = (Target(0, ratio=False),)
WALL = Figure("wall", "first datagram to last row (s)")
RATE = Figure("rate", "rows/s")
PEAK = Figure("peak", "peak memory, all processes (MiB)", (Target(200, ratio=False),))
LOST = Figure("lost", "files lost", NONE)
TWICE = Figure("twice", "rows twice", NONE)
CPU = Figure("cpu", "CPU (ms per 1,000 files)", (Target(0.5),))


def of_burst(rate):
    """The case of one rate."""
    return Case(
        f"pysmurf {rate:,}/s",
        f"{rate:,} datagrams a second for 5 s, each announcing a file of 4 KiB",
        partial(burst, rate),
        (
            Figure("entered", "entered in the end (%)"),
            Figure("at_once", "entered when the last one leaves (%)"),
            LOST,
            Figure("dropped", "of these dropped by the kernel"),
            TWICE,
            WALL,
            CPU,
            PEAK,
            Figure("load", "load late by (s)"),
        ),
        rounds=3,
        quick_rounds=0,
    )


CASES = (
    of_burst(1000),
    of_burst(5000),
    of_burst(20_000),
    Case(
        "pysmurf drain",
        "100,000 files of 4 KiB, announced as fast as the announcements are taken",
        drain,
        (
            Figure(WALL.key, WALL.label, (Target(60, ratio=False),)),
            RATE,
            Figure(CPU.key, CPU.label, (*CPU.targets, Target(65, ratio=False))),
            PEAK,
            LOST,
            TWICE,
        ),
        rounds=3,
    ),
    Case(
        "pysmurf large",
        "20 files of 100 MB, and 100 of 4 KiB behind them",
        large,
        (
            Figure("speed", "large files (MB/s)"),
            Figure("behind", "small files in (s)"),
            Figure("cpu", "CPU (s/GB)"),
            PEAK,
            LOST,
            TWICE,
        ),
        rounds=2,
        quick_rounds=0,
    ),
)
