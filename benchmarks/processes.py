"""Child processes and what they cost: CPU to the nanosecond, memory now and at its peak. Linux only: reads /proc."""

import contextlib
import json
import queue
import signal
import subprocess
import threading
import time
from pathlib import Path

import psutil

from benchmarks.sides import BenchmarkError, child_environment

__all__ = ["MIB", "Child", "Cost", "process_cpu", "tree_cpu"]

MIB = 1024 * 1024


def process_cpu(pid):
    """CPU time of a process and all its threads, in seconds; from its own clock, as /proc counts in steps of 10 ms."""
    return time.clock_gettime((~pid) << 3 | 2)


def tree_cpu(pid):
    """CPU time of a process and its living descendants, in seconds."""
    with contextlib.suppress(psutil.NoSuchProcess, OSError):
        family = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        return sum(map(process_cpu, family))
    return 0.0


class Cost:
    """A stopwatch for processes: CPU seconds that each has used since this was made.

    Args:
        pids: process id by name.
    """

    def __init__(self, **pids):
        self._pids = pids
        self._start = {name: tree_cpu(pid) for name, pid in pids.items()}
        self._began = time.time()

    def cpu(self, name):
        """CPU seconds since the start of the process called ``name``."""
        return tree_cpu(self._pids[name]) - self._start[name]

    def wall(self):
        """Seconds since the start."""
        return time.time() - self._began


class Child:
    """A process of the benchmark: an agent, or one of ``benchmarks/programs``, which answer in lines with ``@``.

    Args:
        command: the argument list.
        directory: its working directory; its output is kept there.
        name: what to call it in messages and its output file.
    """

    def __init__(self, command, directory, name):
        self.name = name
        self.output_path = Path(directory) / f"{name}.out"
        self.started = time.time()
        self._answers = queue.Queue()
        self._output = self.output_path.open("a")
        self._process = subprocess.Popen(
            command,
            cwd=directory,
            env=child_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            text=True,
        )
        self.pid = self._process.pid
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._process.stdout:
            if line.startswith("@"):
                self._answers.put(json.loads(line[1:]))
            else:
                self._output.write(line)
        self._output.flush()
        self._answers.put(None)

    def answer(self, timeout=30.0):
        """The next thing it says.

        Raises:
            BenchmarkError: it ends, or says nothing for ``timeout`` seconds.
        """
        try:
            said = self._answers.get(timeout=timeout)
        except queue.Empty:
            raise BenchmarkError(f"{self.name} has said nothing for {timeout:g} s") from None
        if said is None:
            raise BenchmarkError(f"{self.name} has ended: {self._last_line()}")
        return said

    def ask(self, command, timeout=30.0):
        """Send it one line and return its answer."""
        self.say(command)
        return self.answer(timeout)

    def say(self, command):
        """Send it one line."""
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def _last_line(self):
        lines = self.output_path.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "no output")

    @property
    def is_alive(self):
        """Whether it still runs."""
        return self._process.poll() is None

    def cpu(self):
        """CPU seconds that it and its children have used."""
        return tree_cpu(self.pid)

    def memory(self):
        """Memory now, in MiB: (resident, proportional share)."""
        info = psutil.Process(self.pid).memory_full_info()
        return info.rss / MIB, info.pss / MIB

    def peak(self):
        """The most that was resident since it started, in MiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
        return 0.0

    def stop(self, timeout=1.0, by=signal.SIGTERM):
        """End it by a signal, then SIGKILL after ``timeout`` seconds; returns how long it took, in seconds."""
        began = time.time()
        if self.is_alive:
            self._process.send_signal(by)
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdin.close()
        return time.time() - began
