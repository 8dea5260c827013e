"""An agent whose every sample can be accounted for. It runs unchanged under ours and under the published ocs.

Samples of each feed are numbered from `--start` on. Its log has a line for each publication, appended with one write
each, so that a killed process has lost none:

    ? quick 17 1 1790000000.25   now it is tried to publish 1 sample, number 17, of that time
    + quick 17 1                 `publish_to_feed` has returned: the sample is accepted
    .                            nothing more will be published: the file `{log}.stop` has been seen
"""

import argparse
import os
import time
from pathlib import Path
from typing import NamedTuple

STEP = 0.0005  # s between the samples of one publication
BEHIND = 0.5  # s; who is more behind than this does not try to make up for it


class FeedPlan(NamedTuple):
    """What is published on a feed: `count` samples every so many ticks, by a feed of that buffer_time (s)."""

    every: int
    count: int
    buffer_time: float
    richly: bool = False


FEEDS = {
    "quick": FeedPlan(every=1, count=1, buffer_time=0.2),
    "single": FeedPlan(every=5, count=1, buffer_time=0),
    "slow": FeedPlan(every=10, count=1, buffer_time=1, richly=True),
    "batch": FeedPlan(every=50, count=50, buffer_time=0),
}


def sample(n, *, richly):
    """Return the values of sample number `n`."""
    values = {"n": n, "x": n * 0.5}
    return values | {"text": f"no. {n} ä", "flag": n % 3 == 0} if richly else values


class Publisher:
    def __init__(self, agent, args):
        self.agent = agent
        self.rate = args.rate
        self.stop_file = Path(args.samples_log + ".stop")
        self.log = os.open(args.samples_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.next = dict.fromkeys(FEEDS, args.start)
        for name, plan in FEEDS.items():
            agg_params = {"frame_length": args.frame_length, "fresh_time": 60}
            agent.register_feed(name, record=True, agg_params=agg_params, buffer_time=plan.buffer_time)

    def note(self, *words):
        os.write(self.log, (" ".join(map(str, words)) + "\n").encode())

    def publish_on(self, name, count):
        plan, first, now = FEEDS[name], self.next[name], time.time()
        self.next[name] += count
        samples = [sample(n, richly=plan.richly) for n in range(first, first + count)]
        if count == 1:
            message = {"block_name": "b", "timestamp": now, "data": samples[0]}
        else:
            times = [now + i * STEP for i in range(count)]
            columns = {key: [each[key] for each in samples] for key in samples[0]}
            message = {"block_name": "b", "timestamps": times, "data": columns}
        self.note("?", name, first, count, repr(now))
        self.agent.publish_to_feed(name, message)
        self.note("+", name, first, count)

    def publish(self, session, params):
        """**Process** - Publishes until the file `{log}.stop` is there."""
        began, tick = time.monotonic(), 0
        while session.status in ("starting", "running") and not self.stop_file.exists():
            for name, plan in FEEDS.items():
                if tick % plan.every == 0:
                    self.publish_on(name, plan.count)
            tick += 1
            ahead = began + tick / self.rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            elif ahead < -BEHIND:
                began -= ahead
        self.flush()
        self.note(".")
        return True, "stopped"

    def flush(self):
        """Publish a last sample, tried but not accepted: one package sends its buffer only when another comes."""
        time.sleep(1.2)
        for name, plan in FEEDS.items():
            n, now = self.next[name], time.time()
            self.note("?", name, n, 1, repr(now))
            self.agent.publish_to_feed(
                name, {"block_name": "b", "timestamp": now, "data": sample(n, richly=plan.richly)}
            )

    def stop(self, session, params):
        session.set_status("stopping")


def main():
    from ocs import ocs_agent, site_config

    parser = argparse.ArgumentParser()
    parser.add_argument("--samples-log", required=True, help="file to be appended to")
    parser.add_argument("--start", type=int, default=0, help="number of the first sample of each feed")
    parser.add_argument("--rate", type=float, default=100.0, help="ticks a second; 2.3 samples to a tick")
    parser.add_argument("--frame-length", type=float, default=2.0, help="s")
    args = site_config.parse_args(agent_class="NumberedPublisher", parser=parser)
    agent, runner = ocs_agent.init_site_agent(args)
    publisher = Publisher(agent, args)
    agent.register_process("publish", publisher.publish, publisher.stop, startup=True)
    runner.run(agent, auto_reconnect=True)


if __name__ == "__main__":
    main()
