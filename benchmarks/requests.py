"""Requests to operations, each of which ours enter in their audit: starts that are refused, and tasks to their end."""

from benchmarks.agent_start import INSTANCE, fake_data_agent
from benchmarks.case import Case, Figure
from benchmarks.processes import Cost

__all__ = ["CASES", "FIGURES", "requests"]


def requests(bench, side):
    """Start a process that runs already, over and over, by one caller and by eight; then tasks that end at once."""
    with (
        fake_data_agent(bench, side) as agent,
        bench.program("client_calls", bench.directory / "site.yaml", INSTANCE, side=side) as client,
    ):
        client.answer()
        client.ask("refused 50 1")
        count = 500 if bench.quick else 2000
        cost = Cost(agent=agent.pid)
        one = client.ask(f"refused {count} 1", timeout=60)
        agent_cpu = 1000 * cost.cpu("agent") / count
        many = client.ask(f"refused {count} 8", timeout=60)
        cost = Cost(agent=agent.pid)
        tasks = client.ask(f"tasks {count // 5}", timeout=60)
        return {
            "rate": one["rate"],
            "agent": agent_cpu,
            "rate_threads": many["rate"],
            "tasks": tasks["rate"],
            "task_agent": 1000 * cost.cpu("agent") / (count // 5),
        }


FIGURES = (
    Figure("rate", "refused starts, one caller (requests/s)"),
    Figure("agent", "agent CPU (ms/refused start)"),
    Figure("rate_threads", "8 threads (requests/s)"),
    Figure("tasks", "tasks from start to end, one caller (tasks/s)"),
    Figure("task_agent", "agent CPU (ms/task)"),
)

CASES = (Case("requests", "requests to operations, with the audit of ours", requests, FIGURES, rounds=5),)
