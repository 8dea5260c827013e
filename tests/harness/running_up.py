"""`ocs up --json` as a process, and what it tells."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress

import psutil

OCS = (sys.executable, "-m", "ocs.cli.main")


class Up:
    """A running `ocs up --json`."""

    def __init__(self, tmp_path, *words, env=None, data_dir=None):
        self.data_dir = data_dir or tmp_path / "ocs data"
        self.errors = (tmp_path / "stderr").open("w+")
        self.events = []
        self._partial = b""
        argv = [*OCS, "up", "--data-dir", str(self.data_dir), "--interval", "1", "--json", *words]
        self.process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=self.errors, cwd=tmp_path, env={**os.environ, **(env or {})}
        )

    def until(self, wanted, seconds=60.0):
        """Read events until one satisfies ``wanted``; return it."""
        deadline = time.monotonic() + seconds
        os.set_blocking(self.process.stdout.fileno(), False)
        while time.monotonic() < deadline:
            read = self.process.stdout.readline()  # what is there of a line, not always all of it
            self._partial += read or b""
            if self._partial.endswith(b"\n"):
                line, self._partial = self._partial, b""
                self.events.append(json.loads(line))
                if wanted(self.events[-1]):
                    return self.events[-1]
            elif not read:
                assert self.process.poll() is None, f"ended: {self.stderr()} {self.events[-3:]}"
                time.sleep(0.02)
        raise AssertionError(f"in vain; last events {self.events[-5:]}")

    def until_all_up(self):
        return self.until(lambda event: event["event"] == "summary" and event["up"] == event["agents"] >= 1)

    def until_change(self, name, state):
        return self.until(lambda e: e["event"] == "change" and e["name"] == name and e["state"] == state)

    def rows(self):
        """Return the rows of the next summary, by name."""
        return {row["name"]: row for row in self.until(lambda event: event["event"] == "summary")["rows"]}

    def pids(self):
        return {name: row["pid"] for name, row in self.rows().items()}

    def family(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    def stderr(self):
        self.errors.seek(0)
        return self.errors.read()

    def wait(self, seconds=30.0):
        """Wait until it has ended; return its exit code."""
        os.set_blocking(self.process.stdout.fileno(), True)
        rest, _ = self.process.communicate(timeout=seconds)
        self.events += [json.loads(line) for line in (self._partial + rest).splitlines()]
        return self.process.returncode


def starting_up(tmp_path):
    """Yield a function that starts `Up` with the words given; what is left at the end is killed."""
    started = []

    def start(*words, **kwargs):
        started.append(Up(tmp_path, *words, **kwargs))
        return started[-1]

    yield start
    for each in started:
        family = each.family() if each.process.poll() is None else []
        for process in [each.process, *family]:
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                process.kill()
        each.process.wait()
        each.process.stdout.close()
        each.errors.close()
