"""The blocking client: importing it, building one, and calls through the router's HTTP bridge."""

import json
import subprocess

from benchmarks.agent_start import INSTANCE, fake_data_agent
from benchmarks.case import Case, Figure, Target
from benchmarks.processes import Cost
from benchmarks.sides import child_environment

__all__ = ["CASES"]

IMPORT = "import time; start = time.process_time(); import ocs.ocs_client; print(time.process_time() - start)"
BUILD = """
import json, sys, time
from ocs.ocs_client import OCSClient
wall, cpu = time.perf_counter(), time.process_time()
OCSClient(sys.argv[2], args=["--site-file", sys.argv[1]])
print(json.dumps({"wall": 1000 * (time.perf_counter() - wall), "cpu": 1000 * (time.process_time() - cpu),
                  "script": time.process_time()}))
"""
THREADS = 8


def run(bench, side, code, *arguments):
    """Run a few lines in a fresh interpreter and return what they print."""
    command = [side.python, "-c", code, *map(str, arguments)]
    return subprocess.check_output(command, text=True, env=child_environment(), cwd=bench.directory, timeout=60)


def import_client(bench, side):
    """CPU of ``import ocs.ocs_client``: the best of a few, as whatever disturbs only adds."""
    return {"cpu": min(float(run(bench, side, IMPORT)) for _ in range(4))}


def build(bench, side):
    """The first client of a control script, with what it loads on that occasion."""
    with fake_data_agent(bench, side):
        return json.loads(run(bench, side, BUILD, bench.directory / "site.yaml", INSTANCE))


def calls(bench, side):
    """``status()`` over and over: one caller, then eight threads with a client each."""
    with (
        fake_data_agent(bench, side) as agent,
        bench.program("client_calls", bench.directory / "site.yaml", INSTANCE, side=side) as client,
    ):
        client.answer()
        client.ask("sequential 100")
        count = 500 if bench.quick else 2000
        cost = Cost(client=client.pid, agent=agent.pid, router=bench.router_pid)
        one = client.ask(f"sequential {count}", timeout=60)
        per_call = {name: 1000 * cost.cpu(name) / count for name in ("client", "agent", "router")}
        many = client.ask(f"threads {count} {THREADS}", timeout=60)
        return {**one, **per_call, "rate_threads": many["rate"]}


CASES = (
    Case(
        "client import",
        "import ocs.ocs_client, fresh interpreter",
        import_client,
        (Figure("cpu", "CPU (s)", (Target(0.5), Target(0.15, ratio=False))),),
        rounds=8,
        quick_rounds=3,
    ),
    Case(
        "client build",
        "first OCSClient of a script",
        build,
        (
            Figure("wall", "wall (ms)", (Target(0.5),)),
            Figure("cpu", "CPU (ms)", (Target(0.5),)),
            Figure("script", "CPU of the whole script (s)"),
        ),
        rounds=8,
        quick_rounds=3,
    ),
    Case(
        "client calls",
        "status() through OCSClient",
        calls,
        (
            Figure("median", "median (ms)", (Target(0.6),)),
            Figure("p99", "99th percentile (ms)"),
            Figure("client", "client CPU (ms/call)", (Target(0.5),)),
            Figure("agent", "agent CPU (ms/call)"),
            Figure("router", "router CPU (ms/call)"),
            Figure("rate", "one caller (calls/s)"),
            Figure("rate_threads", f"{THREADS} threads (calls/s)"),
        ),
        rounds=5,
    ),
)
