"""An agent with an operation for each thing that the tests want to see done."""

import argparse
import gc
import math
import os
import threading
import time

import numpy as np
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater

from ocs import ocs_agent, site_config
from ocs.ocs_agent import OpSession, param


class ProvingAgent:
    """Does what it is told."""

    def __init__(self, agent):
        self.agent = agent
        agent.register_feed("counts", record=True, buffer_time=0.05)
        agent.register_feed("slow", record=True, buffer_time=1.0)
        agent.register_feed("never", record=True, buffer_time=10_000)
        agent.register_feed("events")
        self.heard = []
        self.waiting = None

    # Tasks

    @param("text", default="hello", type=str)
    @param("times", default=1, type=int, choices=[1, 2, 3], help="how often")
    def echo(self, session, params):
        """echo(text="hello", times=1)

        **Task** - Say it.
        """
        session.data = {"said": [params["text"]] * params["times"]}
        return True, params["text"]

    def raw(self, session, params):
        session.data = {"params": params, "thread": threading.current_thread().name}
        return True, ""

    async def coroutine(self, session, params):
        await deferLater(reactor, 0.01, lambda: None)
        return True, "awaited"

    def deferred(self, session, params):
        return deferLater(reactor, 0.01, lambda: (True, "deferred"))

    def crash(self, session, params):
        raise RuntimeError("out of helium")

    def bad_result(self, session, params):
        return "fine"

    def quick(self, session, params):
        return True, ""

    def pending(self, session, params):
        self.waiting = Deferred()
        return self.waiting

    def abort_pending(self, session, params):
        self.waiting.callback((False, "aborted"))
        return True, "aborting"

    def data(self, session, params):
        session.data = {
            "array": np.arange(3), "scalar": np.float32(0.5), "nan": math.nan, "none": None,
            **({"inf": math.inf, "object": object(), "text": "\udcff"} if params and params.get("bad") else {}),
            **({"huge": np.zeros(3_000_000)} if params and params.get("huge") else {}),
        }  # fmt: skip
        return True, "\udcff" if params and params.get("bad") else ""

    def publish(self, session, params):
        """Publish `count` samples from `start` on, at once or one by one, on a feed."""
        feed, start, count = params["feed"], params.get("start", 0), params["count"]
        numbers = list(range(start, start + count))
        if params.get("at_once"):
            columns = {"n": numbers, "x": [float(n) for n in numbers]}
            if params.get("text"):
                columns["text"] = ["x" * params["text"]] * count
            message = {"block_name": "b", "timestamps": [float(n) for n in numbers], "data": columns}
            self.agent.publish_to_feed(feed, message)
        else:
            for n in numbers:
                self.agent.publish_to_feed(
                    feed, {"block_name": "b", "timestamp": float(n), "data": {"n": n, "x": n / 2}}
                )
        return True, f"{count} samples"

    def later(self, session, params):
        time.sleep(params["after"])
        return self.publish(session, params)

    def publish_bad(self, session, params):
        """Publish what cannot be sent, and tell what came of it."""
        try:
            self.agent.publish_to_feed("counts", {"block_name": "b", "timestamp": 1.0, "data": {"n": 1, "x": None}})
        except TypeError as error:
            names, trace = [], error.__traceback__
            while trace:
                names.append(trace.tb_frame.f_code.co_name)
                trace = trace.tb_next
            session.data = {"frames": names, "text": str(error), "thread": threading.current_thread().name}
            return True, "refused"
        return False, "accepted"

    def foreign(self, session, params):
        """Use everything from a thread that the framework does not know, as vendors' libraries have."""
        failures = []

        def work():
            try:
                session.add_message("from a foreign thread")
                session.set_status("stopping")
                self.agent.publish_to_feed("counts", {"block_name": "f", "timestamp": 1.0, "data": {"n": 1}})
                self.agent.publish_to_feed("events", {"from": "a foreign thread"})
            except Exception as error:
                failures.append(repr(error))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return not failures, ", ".join(failures)

    def inspect(self, session, params):
        """Tell what there is in this process, in the reactor."""
        gc.collect()
        session.data = {
            "threads": threading.active_count(),
            "delayed_calls": len([call for call in reactor.getDelayedCalls() if call.active()]),
            "sessions": sum(isinstance(thing, OpSession) for thing in gc.get_objects()),
            "callbacks": sum(len(one._when_done) for one in self.agent.sessions.values() if one),
            "outbox": self.agent.outbox.size,
            "heard": self.heard[-20:],
            "pid": os.getpid(),
        }
        return succeed((True, ""))

    # Processes

    def count(self, session, params):
        """Count up, 200 times a second, and publish each number."""
        n = 0
        while session.status in ("starting", "running"):
            self.agent.publish_to_feed("counts", {"block_name": "c", "timestamp": time.time(), "data": {"n": n}})
            session.data = {"n": n}
            n += 1
            time.sleep(0.005)
        self.agent.publish_to_feed("never", {"block_name": "last", "timestamp": time.time(), "data": {"n": n}})
        return True, f"counted to {n}"

    def loop(self, session, params):
        while session.status in ("starting", "running"):
            time.sleep(0.02)
        return True, ""

    def deaf(self, session, params):
        while True:
            time.sleep(1)

    def stop(self, session, params):
        return True, "stopping"


def main(args=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--processes", type=int, default=0)
    parser.add_argument("--startup", action="store_true")
    parser.add_argument("--deaf", action="store_true")
    parser.add_argument("--listen", help="a topic pattern")
    parser.add_argument("--once", action="store_true", help="do not reconnect")
    parser.add_argument("--min-privs", type=int, default=1)
    parsed = site_config.parse_args(agent_class="ProvingAgent", parser=parser, args=args)
    agent, runner = ocs_agent.init_site_agent(parsed)
    work = ProvingAgent(agent)
    for name in ("echo", "crash", "bad_result", "publish", "later", "publish_bad", "foreign", "data"):
        agent.register_task(name, getattr(work, name))
    agent.register_task("raw", work.raw, min_privs=parsed.min_privs)
    agent.register_task("raw_here", work.raw, blocking=False)
    agent.register_task("crash_here", work.crash, blocking=False)
    agent.register_task("quick", work.quick, blocking=False)
    agent.register_task("quick_thread", work.quick)
    for name in ("coroutine", "deferred", "inspect"):
        agent.register_task(name, getattr(work, name), blocking=False)
    agent.register_task("pending", work.pending, aborter=work.abort_pending, blocking=False)
    agent.register_task("at_startup", work.raw, startup={"from": "startup"} if parsed.startup else False)
    agent.register_process("count", work.count, work.stop, startup=parsed.startup)
    agent.register_process("deaf", work.deaf, work.stop, startup=parsed.deaf)
    for number in range(parsed.processes):
        agent.register_process(f"loop_{number:03}", work.loop, work.stop)
    if parsed.listen:
        agent.subscribe_on_start(lambda event: work.heard.append(event[0]), parsed.listen, {"match": "wildcard"})
    runner.run(agent, auto_reconnect=not parsed.once)


if __name__ == "__main__":
    main()
