"""What monitoring 10,000 agents costs: the registry and the Prometheus exporter, each beside the published registry.

The published package has no exporter: whoever wants these figures asks its registry for `main.status()`, so that is
what the exporter is set beside, as often as Prometheus would come.
"""

import contextlib
import http.client
import re
import threading
import time
from functools import partial
from statistics import median

from benchmarks import registry
from benchmarks.bench import NO_ANSWER
from benchmarks.case import Case, Figure, Target
from benchmarks.processes import Cost
from benchmarks.sides import OURS
from ocs.router.ports import free_port

__all__ = ["CASES"]

AGENTS = 10_000
PERIOD = 4  # seconds between two heartbeats of an agent: one a second of so many is more than the router passes on
SCRAPE_EVERY = 5.0
EXPORTER = ("ocs.agents.prometheus_exporter.agent", "PrometheusExporter", "exporter")


@contextlib.contextmanager
def crowd(bench):
    """10,000 simulated agents whose hearts beat, from a few connections."""
    with bench.program("simulated_agents", bench.ws_url, AGENTS, PERIOD) as agents:
        agents.answer()
        agents.ask("start")
        yield agents


def told_by_registry(bench):
    """How many agents the registry's status has as alive."""
    data = bench.operation(registry.INSTANCE, "status", "main", timeout=30)["data"]
    return sum(not entry["expired"] for name, entry in data.items() if ".sim-" in name)


def told_by_exporter(port):
    """How many agents `/metrics` has as alive."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        text = connection.getresponse().read()
    return len(re.findall(rb'^ocs_agent_up\{agent="sim-\d+",[^}]*\} 1\.0$', text, re.MULTILINE))


class Waiting:
    """Asks something small again and again, to know for how long at most it has to wait."""

    def __init__(self, ask):
        self.longest = 0.0
        self._ask = ask
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while not self._over.wait(0.02):
            began = time.perf_counter()
            with contextlib.suppress(*NO_ANSWER):
                self._ask()
            self.longest = max(self.longest, time.perf_counter() - began)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


def watch(bench, agent, told, small):
    """Ask what an agent knows of the crowd, as often as Prometheus would; what that costs, and whom it holds up."""
    time.sleep(5 if bench.quick else 10)
    cost = Cost(agent=agent.pid)
    took, fresh, turns = [], [], 2 if bench.quick else 6
    with Waiting(small) as waiting:
        for turn in range(turns):
            time.sleep(max(0.0, turn * SCRAPE_EVERY - cost.wall()))
            began = time.perf_counter()
            try:
                fresh.append(told())
            except NO_ANSWER:
                fresh.append(0)
                break
            took.append(1000 * (time.perf_counter() - began))
    return {
        "cpu": cost.cpu("agent") / cost.wall(),
        "took": median(took) if took else None,
        "slowest": max(took, default=None),
        "fresh": min(fresh),
        "held": 1000 * waiting.longest,
        "peak": agent.peak(),
    }


def watched_registry(bench, side):
    """A registry among the crowd, asked for all that it knows."""
    kind = (registry.MODULE, registry.KIND, registry.INSTANCE)
    small = partial(bench.call, f"observatory.{registry.INSTANCE}", "get_agent_class", timeout=30)
    with bench.agent(side, *kind) as agent, crowd(bench):
        found = watch(bench, agent, partial(told_by_registry, bench), small)
    bench.restart_router()  # what an overwhelmed registry left in its queues must not burden the next
    return found


def watched_exporter(bench, side):
    """Our exporter among the crowd, or the published registry, which is all that the published package has for it."""
    if side.name != OURS:
        return watched_registry(bench, side)
    port = free_port()
    with bench.agent(side, *EXPORTER, "--port", port) as agent, crowd(bench):
        return watch(bench, agent, partial(told_by_exporter, port), partial(healthy, port))


def healthy(port):
    """Ask the exporter's smallest page."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/-/healthy")
        connection.getresponse().read()


def case(name, title, measure, asked):
    """A case of somebody who knows of the whole crowd."""
    return Case(
        name,
        title,
        measure,
        (
            Figure("cpu", "CPU (cores)", (Target(0.5),)),
            Figure("fresh", "agents known and alive", (Target(AGENTS, ratio=False, most=False),)),
            Figure("took", f"{asked} (ms)"),
            Figure("slowest", f"the slowest {asked} (ms)"),
            Figure("held", "a small question waits at most (ms)"),
            Figure("peak", "peak memory (MiB)"),
        ),
        rounds=2,
        quick_rounds=1,
    )


CASES = (
    case("registry 10,000", f"{AGENTS:,} agents, each heard every {PERIOD} s", watched_registry, "main.status()"),
    case("exporter 10,000", "the same, for Prometheus; beside the published registry", watched_exporter, "answer"),
)
