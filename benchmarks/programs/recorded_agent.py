"""An agent that publishes recorded samples at a set rate, from a thread, and keeps the books.

Written against the public names of OCS, so that either package can run it; ours numbers what it publishes. Options:
``--shape CHANNELS SAMPLES RATE``, of which SAMPLES are those of a message, and RATE is in messages a second; and
``--not-recorded`` for feeds that recorders are to leave alone. The line ``run SECONDS`` on stdin has it publish for so
long; the answer is that of ``load.py``.
"""

import argparse
import json
import math
import sys
import threading
import time

from twisted.internet import reactor, threads

from ocs import ocs_agent, site_config

FEEDS = 4


class Load:
    """The messages of all feeds, taking turns."""

    def __init__(self, agent, shape, params):
        self.agent = agent
        channels, self.samples, self.rate = shape
        for number in range(FEEDS):
            agent.register_feed(f"load-{number}", record=True, agg_params=params, buffer_time=0)
        self.data = {
            f"channel_{channel:02d}": [math.sin(channel + sample / 10) for sample in range(self.samples)]
            for channel in range(channels)
        }

    def obey(self):
        for line in sys.stdin:
            # In one of the reactor's threads, where the processes of agents run, too.
            answer = threads.blockingCallFromThread(reactor, threads.deferToThread, self.run, float(line.split()[1]))
            print(
                "@" + json.dumps(answer), file=sys.__stdout__, flush=True
            )  # what is printed elsewhere is taken for a log

    def run(self, seconds):
        """Publish for ``seconds``; every message when it is due, or as soon as possible."""
        began, late, total = time.time(), 0.0, round(seconds * self.rate)
        for number in range(total):
            ahead = began + number / self.rate - time.time()
            if ahead > 0:
                time.sleep(ahead)
            late = max(late, -ahead)
            self.publish(number, began)
        threads.blockingCallFromThread(reactor, lambda: None)
        samples = total * self.samples * len(self.data)
        return {"samples": samples, "messages": total, "began": began, "ended": time.time(), "late": late}

    def publish(self, number, began):
        # Each feed has the whole stretch of time since its last message to itself, so that no two samples coincide.
        start, step = began + number / self.rate, FEEDS / self.rate / self.samples
        stamps = [start + step * sample for sample in range(self.samples)]
        feed = f"load-{number % FEEDS}"
        data = {name: list(values) for name, values in self.data.items()}
        self.agent.publish_to_feed(feed, {"block_name": feed, "timestamps": stamps, "data": data})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", nargs=3, type=int, required=True)
    parser.add_argument("--not-recorded", action="store_true")
    args = site_config.parse_args(agent_class="RecordedAgent", parser=parser)
    agent, runner = ocs_agent.init_site_agent(args)
    params = {"frame_length": 5, **({"exclude_aggregator": True} if args.not_recorded else {})}
    load = Load(agent, args.shape, params)
    threading.Thread(target=load.obey, daemon=True).start()
    runner.run(agent, auto_reconnect=True)


if __name__ == "__main__":
    main()
