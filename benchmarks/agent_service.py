"""The agent service: from a request to a component that is there, or gone; and how many requests it answers.

The published package has nothing of the kind. What is compared with is the floor: the same command started and ended
by nobody but the system, and awaited at the router.
"""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from statistics import median, quantiles

from benchmarks.bench import REALM, ROOT
from benchmarks.case import Case, Figure
from benchmarks.sides import OURS, BenchmarkError, Side, child_environment
from ocs.router.server import free_port

__all__ = ["CASES"]

HERE = Side(OURS, sys.executable)  # the environment that has the extra agent-service
SPAWNER, MACHINE = "spawner", "ESW.machine1"
COMPONENT = f"{ROOT}.components.SequenceComponent.ESW."
LOOK = 0.005  # seconds between looks at the router
PATIENCE = 30.0


@contextmanager
def service(bench, *options):
    """A running agent service: (its process, its port)."""
    port = free_port()
    command = [sys.executable, "-m", "ocs.cli.agent_service", "start", "--port", port, "--site-file"]
    with bench.child("agent-service", *command, bench.site_file(("SpawnAgent", SPAWNER)), *options) as running:
        deadline = time.time() + PATIENCE
        while ask(port, {"_type": "GetAgentStatus"}).get("_type") != "Success":
            if time.time() > deadline or not running.is_alive:
                raise BenchmarkError(f"the agent service does not answer; see {running.output_path}")
            time.sleep(0.05)
        yield running, port
        running.stop(30)


def ask(port, request, token=None):
    """The service's answer; empty where there is none."""
    link = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        return posted(link, request, token)
    except (OSError, ValueError):
        return {}
    finally:
        link.close()


def posted(link, request, token=None):
    """The answer to a request over a connection that is kept."""
    extra = {"Authorization": f"Bearer {token}"} if token else {}
    link.request("POST", "/post-endpoint", json.dumps(request), {"Content-Type": "application/json", **extra})
    return json.loads(link.getresponse().read())


def timed(work):
    """What a function returns, and how long it took (s)."""
    began = time.perf_counter()
    answer = work()
    return answer, time.perf_counter() - began


def wanted(answer, kind):
    """Return an answer that is as it should be.

    Raises:
        BenchmarkError: it is not.
    """
    if answer.get("_type") != kind:
        raise BenchmarkError(f"the agent service answers {answer}")
    return answer


def spawn_and_kill(bench, _side):
    """One component after the other, by the service and by nobody."""
    count = 3 if bench.quick else 10
    found = {"spawn": [], "kill": [], "floor_spawn": [], "floor_kill": []}
    module = "ocs.agents.spawn_agent.agent"
    with (
        bench.agent(HERE, module, "SpawnAgent", SPAWNER, "--prefix", MACHINE) as spawner,
        service(bench, "--no-auth") as (_running, port),
    ):
        cpu = spawner.cpu()
        for number in range(count):
            took = by_service(port, f"served{number}")
            bare = by_nobody(bench, f"bare{number}")
            for key, seconds in zip(found, (*took, *bare), strict=True):
                found[key].append(seconds)
        spent = spawner.cpu() - cpu
    spawn, kill, floor_spawn, floor_kill = (median(each) for each in found.values())
    return {
        "spawn": spawn,
        "floor_spawn": floor_spawn,
        "spawn_ratio": spawn / floor_spawn,
        "kill": kill,
        "floor_kill": floor_kill,
        "cpu": 1000 * spent / count,
        "systemd": systemd_run(),
    }


def by_service(port, name):
    """Seconds from the request to `Spawned`, and to `Killed`."""
    request = {"_type": "SpawnSequenceComponent", "agentPrefix": MACHINE, "componentName": name}
    answer, spawned = timed(lambda: ask(port, request))
    wanted(answer, "Spawned")
    component = {"prefix": f"ESW.{name}", "componentType": "SequenceComponent"}
    answer, killed = timed(lambda: ask(port, {"_type": "KillComponent", "componentId": component}))
    wanted(answer, "Killed")
    return spawned, killed


def by_nobody(bench, name):
    """Seconds from the start of the same command until the router has the component, and from SIGTERM to its end."""
    words = ("--agent-class=SequenceComponent", f"--instance-id=seqcomp-esw-{name}", f"--prefix=ESW.{name}")
    site = (
        "--site=none",
        f"--site-hub={bench.ws_url}",
        f"--site-http={bench.http_url}",
        f"--site-realm={REALM}",
        f"--address-root={ROOT}",
    )
    command = [sys.executable, "-m", "ocs.agent_cli", *words, *site]
    began = time.perf_counter()
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device
        process = subprocess.Popen(command, env=child_environment(), stdout=nowhere, stderr=nowhere)
    try:
        while bench.call("wamp.registration.match", COMPONENT + name) is None:
            if process.poll() is not None or time.perf_counter() - began > PATIENCE:
                raise BenchmarkError(f"{name} has not registered")
            time.sleep(LOOK)
        spawned = time.perf_counter() - began
        began = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
        return spawned, time.perf_counter() - began
    finally:
        process.kill()
        process.wait()


def systemd_run():
    """Seconds that systemd takes to run a program that does nothing; None where no systemd is at work."""
    command = ["systemd-run", "--quiet", "--wait", "true"]
    try:
        done, took = timed(lambda: subprocess.run(command, capture_output=True, check=False, timeout=10))
    except (OSError, subprocess.TimeoutExpired):
        return None
    return took if done.returncode == 0 else None


def status(machines, each, bench, _side):
    """Status asked by one, by many at once, and requests that need a token."""
    requests = 200 if bench.quick else 2000
    keys = bench.directory / "keys"
    cli = [sys.executable, "-m", "ocs.cli.agent_service"]
    if not keys.exists():
        subprocess.run([*cli, "init", "--key-folder", keys], check=True, capture_output=True, env=child_environment())
    token = subprocess.run(
        [*cli, "token", "--role", "esw-user", "--key-folder", keys],
        check=True,
        capture_output=True,
        text=True,
        env=child_environment(),
    ).stdout.strip()
    with (
        bench.program("many_components", bench.ws_url, machines, each) as components,
        service(bench, "--key-folder", keys) as (running, port),
    ):
        components.answer()
        wait_for_components(port, machines * each)
        cpu = running.cpu()
        took = one_after_the_other(port, requests)
        spent = running.cpu() - cpu
        return {
            "median": 1000 * median(took),
            "p99": 1000 * quantiles(took, n=100)[-1],
            "rate": requests / sum(took),
            "many": at_once(port, requests, {"_type": "GetAgentStatus"}),
            "protected": at_once(port, requests, NOBODY, token),
            "cpu": 1000 * spent / requests,
            "rss": running.memory()[0],
        }


NOBODY = {"_type": "KillComponent", "componentId": {"prefix": "ESW.nobody", "componentType": "SequenceComponent"}}


def wait_for_components(port, count):
    """Wait until the status has all of them."""
    deadline = time.time() + PATIENCE
    while time.time() < deadline:
        answer = ask(port, {"_type": "GetAgentStatus"})
        if sum(len(agent["seqCompsStatus"]) for agent in answer.get("agentStatus", ())) == count:
            return
        time.sleep(0.05)
    raise BenchmarkError("the status does not have all components")


def one_after_the_other(port, requests):
    """Seconds that each request takes, over one connection."""
    link = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        return [timed(lambda: wanted(posted(link, {"_type": "GetAgentStatus"}), "Success"))[1] for _ in range(requests)]
    finally:
        link.close()


def at_once(port, requests, request, token=None, links=8):
    """Requests a second over several connections."""

    def some(_):
        link = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        try:
            return [posted(link, request, token).get("_type") for _ in range(requests // links)]
        finally:
            link.close()

    with ThreadPoolExecutor(links) as threads:
        answers, took = timed(lambda: [kind for kinds in threads.map(some, range(links)) for kind in kinds])
    if not set(answers) <= {"Success", "Failed"}:
        raise BenchmarkError(f"the agent service answers {set(answers)}")
    return len(answers) / took


CASES = (
    Case(
        "agent service spawn",
        "a sequence component, spawned and killed through HTTP, and without any service",
        spawn_and_kill,
        (
            Figure("spawn", "request to Spawned (s)"),
            Figure("floor_spawn", "floor: the bare command until the router has it (s)"),
            Figure("spawn_ratio", "Spawned / floor (x)"),
            Figure("kill", "request to Killed (s)"),
            Figure("floor_kill", "floor: SIGTERM to the end of the bare process (s)"),
            Figure("cpu", "CPU of the spawn agent, a spawn and a kill (ms)"),
            Figure("systemd", "systemd-run --wait true (s)"),
        ),
        sides=(OURS,),
    ),
    Case(
        "agent service status",
        "200 sequence components on 20 spawn agents, 100 of them with a sequencer",
        partial(status, 20, 10),
        (
            Figure("median", "GetAgentStatus, one connection, median (ms)"),
            Figure("p99", "the slowest in a hundred (ms)"),
            Figure("rate", "status requests/s, one connection"),
            Figure("many", "status requests/s, 8 connections"),
            Figure("protected", "KillComponent of nobody, token checked: requests/s, 8 connections"),
            Figure("cpu", "CPU of the service a status request (ms)"),
            Figure("rss", "memory of the service (MiB)"),
        ),
        sides=(OURS,),
    ),
)
