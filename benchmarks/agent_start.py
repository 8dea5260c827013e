"""Starting an agent: what passes until its first heartbeat, and what it costs while it does nothing."""

import time

from benchmarks.case import Case, Figure, Target
from benchmarks.processes import Cost

__all__ = ["CASES", "fake_data_agent"]

MODULE, KIND, INSTANCE = "ocs.agents.fake_data.agent", "FakeDataAgent", "faker"


def fake_data_agent(bench, side):
    """A fake-data agent of ``side``, ready to be called."""
    return bench.agent(side, MODULE, KIND, INSTANCE)


def start(bench, side):
    """From the start of the process to the arrival of its first heartbeat at a subscriber that was there before."""
    with bench.program("heartbeats", bench.ws_url, INSTANCE) as watcher:
        watcher.answer()
        with bench.starting_agent(side, MODULE, KIND, INSTANCE) as agent:
            heartbeat = watcher.answer()
            cpu, (resident, share) = agent.cpu(), agent.memory()
            return {"wall": heartbeat["time"] - agent.started, "cpu": cpu, "rss": resident, "pss": share}


def idle(bench, side):
    """An agent with no operation running: heartbeats alone."""
    with fake_data_agent(bench, side) as agent:
        time.sleep(1.5)  # what is left of the start is not idling
        cost = Cost(agent=agent.pid, router=bench.router_pid)
        time.sleep(3 if bench.quick else 10)
        return {
            "agent": 1000 * cost.cpu("agent") / cost.wall(),
            "router": 1000 * cost.cpu("router") / cost.wall(),
            "rss": agent.memory()[0],
        }


CASES = (
    Case(
        "agent start",
        "fake-data agent, to its first heartbeat",
        start,
        (
            Figure("wall", "wall (s)"),
            Figure("cpu", "CPU (s)", (Target(0.75),)),
            Figure("rss", "memory, RSS (MiB)", (Target(0.75),)),
            # No verdict: the router runs from our environment, and shares pages with our agent only.
            Figure("pss", "memory, PSS (MiB)"),
        ),
        rounds=10,
        quick_rounds=2,
    ),
    Case(
        "agent idle",
        "fake-data agent, no operation running",
        idle,
        (
            Figure("agent", "agent CPU (ms/s)"),
            Figure("router", "router CPU (ms/s)"),
            Figure("rss", "memory, RSS (MiB)"),
        ),
        rounds=3,
    ),
)
