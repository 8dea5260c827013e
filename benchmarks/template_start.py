"""Many agents, started plainly and by the template: ``python -m benchmarks.template_start [N] [plain|template ...]``.

For those who work on the template; the benchmark of the host manager measures the same from outside.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater

from benchmarks.bench import PROGRAMS, Bench
from benchmarks.processes import MIB, process_cpu
from ocs.supervisor import Command, Event, LaunchError, Policy, Supervisor
from ocs.supervisor.forking import Template

KIND = "FakeDataAgent"


class Watcher:
    """Hears of the first heartbeats, without waiting for them."""

    def __init__(self, url):
        command = [sys.executable, PROGRAMS / "fleet_watcher.py", url]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=PROGRAMS, bufsize=0)
        self._rest = b""
        self.process.stdout.readline()
        os.set_blocking(self.process.stdout.fileno(), False)

    async def hear_all(self, names):
        wanted = set(names)
        while wanted:
            self._rest += self.process.stdout.read(1 << 16) or b""
            *lines, self._rest = self._rest.split(b"\n")
            wanted -= {json.loads(line[1:]).get("agent") for line in lines}
            await deferLater(reactor, 0.01)

    def end(self):
        self.process.terminate()
        self.process.wait()


class Fleet:
    """Agents under a supervisor, with a template or without."""

    def __init__(self, bench, folder, names, with_template):
        self.refused = set()
        self.template = Template(reactor) if with_template else None
        launcher = self.launch if with_template else None
        self.supervisor = Supervisor(reactor, state_dir=folder, policy=Policy(), launcher=launcher)
        site = bench.site_file(*((KIND, name) for name in names))
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        for name in names:
            argv = (sys.executable, "-m", "ocs.agent_cli", "--instance-id", name, "--site-file", str(site))
            self.supervisor.add(Command(name, (*argv, "--site-host", "localhost"), env, folder))
            self.supervisor.tell(name, Event.WISH_UP)

    async def launch(self, *request):
        try:
            return await self.template.launch(*request)
        except LaunchError as error:
            self.refused.add(str(error))
            raise

    def pids(self):
        return [child.pid for child in self.supervisor.children.values()]

    def cpu(self):
        return {
            "cpu of agents (s)": sum(map(process_cpu, self.pids())),
            "cpu of template (s)": process_cpu(self.template.pid) if self.template else 0.0,
        }

    def memory(self):
        infos = [psutil.Process(pid).memory_full_info() for pid in self.pids()]
        template = psutil.Process(self.template.pid).memory_full_info().pss if self.template else 0
        return {
            "PSS (MiB)": (sum(info.pss for info in infos) + template) / MIB,
            "one agent's own (MiB)": infos[0].uss / MIB,
        }

    async def end(self):
        await self.supervisor.stop()
        if self.template:
            await self.template.stop()
        await self.supervisor.release()


async def measure(bench, number, with_template):
    names = [f"faker-{index}" for index in range(number)]
    watcher = Watcher(bench.ws_url)
    with tempfile.TemporaryDirectory() as folder:
        own, began = time.process_time(), time.time()
        fleet = Fleet(bench, Path(folder), names, with_template)
        await watcher.hear_all(names)
        found = {"wall (s)": time.time() - began, **fleet.cpu(), "own cpu (s)": time.process_time() - own}
        await deferLater(reactor, 2)
        found |= fleet.memory()
        began = time.time()
        await fleet.end()
        found["all down (s)"] = time.time() - began
    watcher.end()
    if fleet.refused:
        print("started plainly, because", fleet.refused)
    return found


async def main(number, sides):
    with tempfile.TemporaryDirectory() as folder, Bench(Path(folder)) as bench:
        for side in sides:
            found = await measure(bench, number, side == "template")
            print(side, *(f"{name} {value:.3g}" for name, value in found.items()), sep=", ", flush=True)


if __name__ == "__main__":
    count, *wanted = sys.argv[1:] or ["30"]
    running = deferLater(reactor, 0, lambda: ensureDeferred(main(int(count), wanted or ["plain", "template"])))
    running.addErrback(lambda failure: print(failure.getTraceback()))
    running.addBoth(lambda _: reactor.stop())
    reactor.run()
