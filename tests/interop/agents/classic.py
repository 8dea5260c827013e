"""An agent written as existing packages write theirs; it runs under ours and under the published ocs.

Started as a program it is its own entry point, and `ocs-agent-cli --agent` finds `main` here.
"""

import argparse
import time

import txaio
from autobahn.twisted.util import sleep as dsleep
from twisted.internet.defer import inlineCallbacks

from ocs import ocs_agent, site_config
from ocs.ocs_twisted import Pacemaker, TimeoutLock

TAGS = {field: {"channel": 1, "_field": f"{field}_value"} for field in ("t_1", "n_1", "on", "mode")}


class ClassicAgent:
    """Operations of every kind: good, bad, slow, in a thread and in the reactor."""

    def __init__(self, agent, rate):
        self.agent = agent
        self.log = agent.log
        self.rate = rate
        self.lock = TimeoutLock()
        self.ticking = False
        agent.register_feed("therm", record=True, agg_params={"frame_length": 10}, buffer_time=0.5)
        agent.register_feed("notes", record=False)

    @ocs_agent.param("value", default=2, type=int, check=lambda value: value < 100)
    @ocs_agent.param("unit", default="K", choices=["K", "C"])
    def double(self, session, params):
        """double(value=2, unit='K')

        **Task** - Doubles.

        Parameters:
            value (int): less than 100
            unit (str): K or C

        """
        with self.lock.acquire_timeout(1, job="double") as acquired:
            if not acquired:
                return False, "busy"
            session.data = {"doubled": 2 * params["value"], "unit": params["unit"]}
            session.add_message("doubling")
        self.agent.publish_to_feed("notes", {"doubled": session.data["doubled"]})
        return True, "doubled"

    def free(self, session, params):
        """**Task** - Takes any parameters and shows them."""
        session.data = {"params": params}
        return True, "as you like"

    def fail(self, session, params):
        """**Task** - Does not work."""
        return False, "it did not work"

    def crash(self, session, params):
        """**Task** - Raises."""
        raise ValueError("out of order")

    @inlineCallbacks
    def slow(self, session, params):
        """**Task** - Takes a minute, in the reactor, unless it is aborted."""
        session.data = {"step": 0}
        for step in range(600):
            if session.status != "running":
                return False, "aborted"
            session.data["step"] = step
            yield dsleep(0.1)
        return True, "took its time"

    def _abort_slow(self, session, params):
        if session.status == "running":
            session.set_status("stopping")

    @ocs_agent.param("_")
    def none_taken(self, session, params):
        """**Task** - Accepts no parameters."""
        return True, "none taken"

    @ocs_agent.param("degraded", default=False, type=bool)
    def sample(self, session, params):
        """**Process** - Publishes, from a thread."""
        pace = Pacemaker(self.rate)
        session.degraded = params["degraded"]
        session.data = {"count": 0}
        while session.status in ["starting", "running"]:
            session.data["count"] += 1
            now = time.time()
            readings = {"t_1": 1.5, "n_1": session.data["count"], "on": True, "mode": "cold"}
            message = {"block_name": "temps", "timestamp": now, "data": readings, "influxdb_tags": TAGS}
            self.agent.publish_to_feed("therm", message)
            pace.sleep()
        return True, "sampled"

    def _stop_sample(self, session, params):
        session.set_status("stopping")

    @inlineCallbacks
    def tick(self, session, params):
        """**Process** - Ticks, in the reactor."""
        self.ticking = True
        session.data = {"ticks": 0}
        while self.ticking:
            session.data["ticks"] += 1
            yield dsleep(0.05)
        return True, "ticked"

    @inlineCallbacks
    def _stop_tick(self, session, params):
        yield dsleep(0.01)
        self.ticking = False


def make_parser(parser=None):
    if parser is None:
        parser = argparse.ArgumentParser()
    group = parser.add_argument_group("Agent Options")
    group.add_argument("--rate", type=float, default=10.0)
    return parser


def main(args=None):
    txaio.start_logging(level="info")
    parser = make_parser()
    args = site_config.parse_args(agent_class="ClassicAgent", parser=parser, args=args)
    agent, runner = ocs_agent.init_site_agent(args)
    classic = ClassicAgent(agent, args.rate)
    agent.register_task("double", classic.double)
    agent.register_task("free", classic.free)
    agent.register_task("fail", classic.fail)
    agent.register_task("crash", classic.crash)
    agent.register_task("none-taken", classic.none_taken)
    agent.register_task("restricted", classic.free, min_privs=2)
    agent.register_task("slow", classic.slow, aborter=classic._abort_slow, blocking=False)
    agent.register_process("sample", classic.sample, classic._stop_sample)
    agent.register_process("tick", classic.tick, classic._stop_tick, blocking=False, startup=True)
    runner.run(agent, auto_reconnect=True)


if __name__ == "__main__":
    main()
