"""Feeds heartbeats of many agents straight into a Registry, without a router; runs under either interpreter.

The agent is a real OCSAgent that has never joined, so that its feeds are real too; what it would publish is thrown
away. Prints, as one answer, how many heartbeats it got rid of, and CPU seconds for the first heartbeat of all agents,
for one of all in which nothing changes, for one of all of which one in a hundred changes, and for a status. What takes
longer than the limit is left out.
"""

import argparse
import json
import os
import threading
import time

from twisted.internet import reactor, task
from twisted.internet.defer import ensureDeferred

from ocs import site_config  # before autobahn, so that either package loads it in its own way
from ocs.agents.registry.agent import Registry, make_parser
from ocs.ocs_agent import OCSAgent, OpSession

from autobahn.wamp.types import ComponentConfig  # isort: skip

ROOT = "observatory"


class QuietAgent(OCSAgent):
    """Keeps the handlers of its subscriptions, and publishes nothing."""

    def subscribe_on_start(self, handler, *_, **__):
        self.heartbeat_handler = handler

    def publish(self, *_, **__):
        """Nothing leaves."""


def heartbeat(number, codes):
    name = f"{ROOT}.sim-{number:05d}"
    envelope = {
        "agent_address": name,
        "agg_params": {},
        "feed_name": "heartbeat",
        "address": f"{name}.feeds.heartbeat",
        "record": False,
        "session_id": "1700000000.0",
        "agent_class": "Simulated",
    }
    return [codes, envelope]


class Trial:
    """Feeds the handler, a slice at a time so that the reactor runs as it would."""

    def __init__(self, site_file, agents):
        self.agents = agents
        place = ["--site-file", site_file, "--instance-id", "registry"]
        args = site_config.parse_args("RegistryAgent", make_parser(), place)
        self.agent = QuietAgent(ComponentConfig("test_realm", {}), args, address=f"{ROOT}.registry")
        self.registry = Registry(self.agent, args)
        self.session = OpSession(1, "main", app=self.agent)
        self.found = {"taken": 0}

    async def sweep(self, name, codes):
        """Pass on one heartbeat of every agent and note the CPU seconds, with what the reactor does after."""
        began = time.process_time()
        for start in range(0, self.agents, 500):
            for number in range(start, min(start + 500, self.agents)):
                self.agent.heartbeat_handler(heartbeat(number, codes(number)))
                self.found["taken"] += 1
            await task.deferLater(reactor, 0.001, lambda: None)
        await task.deferLater(reactor, 1.5, lambda: None)
        self.found[name] = time.process_time() - began

    async def run(self):
        self.registry.main(self.session, {"test_mode": False}).addErrback(
            lambda failure: self.found.update(error=str(failure.value))
        )
        same = {"acq": 3, "count": 3, "set_heartbeat": 1, "delay_task": 1}
        await self.sweep("first", lambda _: dict(same))
        await self.sweep("same", lambda _: dict(same))
        await self.sweep("changed", lambda number: same | {"delay_task": 3 if number % 100 == 0 else 1})
        began = time.process_time()
        self.session.encoded()
        self.found["status"] = time.process_time() - began
        self.answer()

    def answer(self):
        """Say what has been found so far, and end, whatever the reactor is busy with."""
        print("@" + json.dumps(self.found), flush=True)
        os._exit(0)


async def main():
    trial = Trial(OPTIONS.site_file, OPTIONS.agents)
    out_of_time = threading.Timer(OPTIONS.limit, trial.answer)
    out_of_time.daemon = True
    out_of_time.start()
    await trial.run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("site_file")
    parser.add_argument("agents", type=int)
    parser.add_argument("limit", type=float, help="seconds")
    OPTIONS = parser.parse_args()
    task.react(lambda _: ensureDeferred(main()))
