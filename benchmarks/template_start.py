"""Many agents, started plainly and by the template: `python -m benchmarks.template_start [N]`; for developers."""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater

from benchmarks.bench import PROGRAMS, Bench
from benchmarks.processes import process_cpu
from ocs.supervisor import Command, Event, LaunchError, Policy, Supervisor
from ocs.supervisor.forking import Template

KIND = "FakeDataAgent"


def cpu(pid):
    with suppress(OSError):
        return process_cpu(pid)
    return 0.0


def family():
    return psutil.Process().children(recursive=True)


async def heard_all(watcher, names):
    wanted = set(names)
    while wanted:
        wanted -= watcher.heard()
        await deferLater(reactor, 0.01)


class Watcher:
    def __init__(self, url):
        command = [sys.executable, PROGRAMS / "fleet_watcher.py", url]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=PROGRAMS, bufsize=0)
        self.rest = b""
        self.process.stdout.readline()
        os.set_blocking(self.process.stdout.fileno(), False)

    def heard(self):
        self.rest += self.process.stdout.read(1 << 16) or b""
        *lines, self.rest = self.rest.split(b"\n")
        return {json.loads(line[1:]).get("agent") for line in lines}


async def once(bench, number, launch):
    names = [f"faker-{index}" for index in range(number)]
    site = bench.site_file(*((KIND, name) for name in names))
    watcher = Watcher(bench.ws_url)
    own, began = time.process_time(), time.time()
    template = Template(reactor) if launch else None
    refused = set()

    async def forked(*request):
        try:
            return await template.launch(*request)
        except LaunchError as error:
            refused.add(str(error))
            raise

    with tempfile.TemporaryDirectory() as folder:
        supervisor = Supervisor(
            reactor, state_dir=Path(folder), policy=Policy(), launcher=forked if launch else None
        )
        env = {**os.environ, "PYTHONUNBUFFERED": "1", "OCS_STATE_DIR": folder}
        for name in names:
            argv = (sys.executable, "-m", "ocs.agent_cli", "--instance-id", name, "--site-file", str(site))
            supervisor.add(Command(name, (*argv, "--site-host", "localhost"), env, Path(folder)))
            supervisor.tell(name, Event.WISH_UP)
        await heard_all(watcher, names)
        wall = time.time() - began
        agents = [child.pid for child in supervisor.children.values()]
        members = [process for process in family() if process.pid != watcher.process.pid and process.pid not in bench.pids]
        found = {
            "wall": wall,
            "agents_cpu": sum(map(cpu, agents)),
            "template_cpu": cpu(template.pid) if template else 0,
            "own_cpu": time.process_time() - own,
        }
        await deferLater(reactor, 2)
        infos = {process.pid: process.memory_full_info() for process in members}
        found["pss"] = sum(info.pss for info in infos.values()) / (1 << 20)
        found["template_pss"] = infos[template.pid].pss / (1 << 20) if template else 0
        one = infos[agents[3]]
        found["agent_uss"], found["agent_pss"], found["agent_rss"] = one.uss / (1 << 20), one.pss / (1 << 20), one.rss / (1 << 20)
        if refused:
            print(refused)
        began = time.time()
        await supervisor.stop()
        found["down"] = time.time() - began
        watcher.process.terminate()
        watcher.process.wait()
        if template:
            await template.stop()
        await supervisor.release()
    return found


async def main(number, sides):
    with tempfile.TemporaryDirectory() as folder, Bench(Path(folder)) as bench:
        bench.pids = {process.pid for process in family()}
        for launch in sides:
            found = await once(bench, number, launch)
            print("template" if launch else "plain", {key: round(value, 3) for key, value in found.items()}, flush=True)


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    sides = [False, True] if len(sys.argv) < 3 else [word == "template" for word in sys.argv[2:]]
    running = deferLater(reactor, 0, lambda: ensureDeferred(main(number, sides)))
    running.addErrback(lambda failure: print(failure.getTraceback()))
    running.addBoth(lambda _: reactor.stop())
    reactor.run()
