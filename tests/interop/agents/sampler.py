"""An agent that publishes samples of every kind and keeps a log of its own of what it has published.

Runs under ours and under the published ocs. `--log FILE`: a line of JSON for each sample: block, time, values.
"""

import argparse
import json
import time
from pathlib import Path

import txaio

from ocs import ocs_agent, site_config


class Sampler:
    def __init__(self, agent, log_file):
        self.agent = agent
        self.log_file = log_file
        agent.register_feed("slow", record=True, agg_params={"frame_length": 2}, buffer_time=0)
        agent.register_feed("quick", record=True, agg_params={"frame_length": 2, "fresh_time": 60}, buffer_time=0.3)

    def _note(self, feed, block, times, columns):
        for i, when in enumerate(times):
            values = {key: column[i] for key, column in columns.items()}
            self.log_file.write(json.dumps([feed, block, when, values]) + "\n")

    def _one(self, feed, block, values):
        now = time.time()
        self._note(feed, block, [now], {key: [value] for key, value in values.items()})
        self.agent.publish_to_feed(feed, {"block_name": block, "timestamp": now, "data": values})

    def _many(self, feed, block, times, columns):
        self._note(feed, block, times, columns)
        self.agent.publish_to_feed(feed, {"block_name": block, "timestamps": times, "data": columns})

    def publish(self, session, params):
        """**Process** - Publishes until it is stopped: about a hundred samples a second."""
        count = 0
        while session.status in ("starting", "running"):
            count += 1
            third = count / 3.0
            self._one("slow", "mixed", {"f_1": third, "i_1": -count, "b_1": count % 2 == 0, "s_1": f"no. {count} ä"})
            self._one("quick", "floats", {"temp_a": third * 1e-9, "temp_b": -third * 1e12, "_under": 0.0})
            self._one("quick", "ints", {"big": count + 2**53, "small": count % 3})
            start = time.time()
            times = [start + n / 100.0 for n in range(5)]
            self._many("quick", "many", times, {"f": [third + n for n in range(5)], "s": [str(n) for n in range(5)]})
            session.data = {"count": count}
            time.sleep(0.05)
        return True, f"published {count}"

    def stop(self, session, params):
        session.set_status("stopping")


def main(args=None):
    txaio.start_logging(level="info")
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", required=True)
    args = site_config.parse_args(agent_class="SamplerAgent", parser=parser, args=args)
    agent, runner = ocs_agent.init_site_agent(args)
    with Path(args.log).open("a", buffering=1) as log_file:
        sampler = Sampler(agent, log_file)
        agent.register_process("publish", sampler.publish, sampler.stop, startup=True)
        runner.run(agent, auto_reconnect=True)


if __name__ == "__main__":
    main()
