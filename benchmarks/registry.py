"""The registry: its share of a core while many agents send heartbeats, and its logic alone with 10,000."""

import time
from functools import partial
from statistics import median

from benchmarks.bench import NO_ANSWER
from benchmarks.case import Case, Figure, Target
from benchmarks.processes import Cost

__all__ = ["CASES"]

MODULE, KIND, INSTANCE = "ocs.agents.registry.agent", "RegistryAgent", "registry"
FRESH = 5.0  # seconds after which the registry takes an agent for gone


def crowd(number, bench, side):
    """A registry among ``number`` simulated agents, each with a heartbeat a second, once it has seen them all start."""
    with (
        bench.agent(side, MODULE, KIND, INSTANCE) as agent,
        bench.program("simulated_agents", bench.ws_url, number) as agents,
    ):
        agents.answer()
        agents.ask("start")
        time.sleep(3 if bench.quick else 5)
        cost, sent = Cost(registry=agent.pid, router=bench.router_pid), agents.ask("sent")["sent"]
        time.sleep(8 if bench.quick else 30)  # the registry publishes all it knows every 30 s
        sent = agents.ask("sent")["sent"] - sent
        used = {name: cost.cpu(name) for name in ("registry", "router")}
        found = {
            **{name: seconds / cost.wall() for name, seconds in used.items()},
            "per_heartbeat": 1e6 * used["registry"] / sent,
            **asked(bench),
            "peak": agent.peak(),
        }
    if found["status"] is None:
        bench.restart_router()  # what an overwhelmed registry left in its queues must not burden the next
    return found


def asked(bench):
    """What the registry says of the agents, and how long it takes to say it."""
    took, session = [], None
    for _ in range(5):
        began = time.time()
        try:
            session = bench.operation(INSTANCE, "status", "main", timeout=5)
        except NO_ANSWER:
            return {"status": None, "fresh": 0}
        took.append(1000 * (time.time() - began))
    now = time.time()
    simulated = [entry for name, entry in session["data"].items() if ".sim-" in name]
    fresh = [not entry["expired"] and now - entry["last_updated"] < FRESH for entry in simulated]
    return {"status": median(took), "fresh": sum(fresh)}


def logic(number, bench, side):
    """The same class with no router: every agent's first heartbeat, one without and one with news, and a status."""
    limit = 20 if bench.quick else 40
    site = bench.site_file((KIND, INSTANCE))
    with bench.program("registry_logic", site, number, limit, side=side) as program:
        found = program.answer(limit + 30)
    costs = {key: 1000 * found[key] for key in ("first", "same", "changed", "status") if key in found}
    return {"taken": found["taken"], **costs}


def crowd_case(number, rounds=1, quick_rounds=0):
    """The case of a crowd of a size."""
    return Case(
        f"registry {number:,}",
        f"{number:,} simulated agents on the router",
        partial(crowd, number),
        (
            Figure("registry", "registry CPU (cores)", (Target(0.5),)),
            Figure("per_heartbeat", "registry CPU (µs/heartbeat)"),
            Figure("router", "router CPU (cores)"),
            Figure("fresh", "agents known and fresh", (Target(number, ratio=False, most=False),)),
            Figure("status", "main.status() (ms)"),
            Figure("peak", "peak memory (MiB)"),
        ),
        rounds=rounds,
        quick_rounds=quick_rounds,
    )


def logic_case(number, rounds=1, quick_rounds=0):
    """The case of the logic alone at a size."""
    return Case(
        f"registry logic {number:,}",
        f"{number:,} agents fed straight into the class",
        partial(logic, number),
        (
            Figure("taken", "heartbeats taken", (Target(3 * number, ratio=False, most=False),)),
            Figure("first", "first heartbeats (ms CPU)", (Target(0.5),)),
            Figure("same", "nothing changed (ms CPU)"),
            Figure("changed", "1 in 100 changed (ms CPU)"),
            Figure("status", "session for status (ms CPU)"),
        ),
        rounds=rounds,
        quick_rounds=quick_rounds,
    )


CASES = (crowd_case(100), crowd_case(1000, 2, 1), crowd_case(3000), logic_case(1000, 3, 1), logic_case(10_000))
