"""An agent that publishes on demand, written against the public names alone so that either package can run it.

Its process ``publish`` leaves its figures, taken from inside its own thread, in ``session.data``.
"""

import time
from array import array
from collections import deque

from twisted.internet import reactor, threads

from ocs import ocs_agent, site_config

CHANNELS = SAMPLES = 100


def single_messages(start, count):
    """Yield messages of one sample, numbered so that a receiver can account for each."""
    for number in range(start, start + count):
        yield {"block_name": "single", "timestamp": time.time(), "data": {"number": float(number)}}


def array_messages(start, count, fresh=list):
    """Yield messages of 100 fields by 100 floats, each with lists (or arrays) of its own, as an instrument has."""
    offsets = [number / 200.0 for number in range(SAMPLES)]
    fields = {
        f"channel_{number:03d}": array("d", [number + offset for offset in offsets]) for number in range(CHANNELS)
    }
    for _ in range(start, start + count):
        now = time.time()
        stamps = fresh([now + offset for offset in offsets])
        yield {
            "block_name": "arrays",
            "timestamps": stamps,
            "data": {name: fresh(values) for name, values in fields.items()},
        }


def numpy_messages(start, count):
    """The same as NumPy arrays."""
    import numpy as np  # noqa: PLC0415 - the other shapes must not pay for it

    return array_messages(start, count, np.array)


def paced(messages, rate):
    """Hold each message back until its turn, ``rate`` a second; not at all if that is 0."""
    began = time.perf_counter()
    for number, message in enumerate(messages):
        if rate:
            time.sleep(max(0.0, began + number / rate - time.perf_counter()))
        yield message


SHAPES = {"single": single_messages, "arrays": array_messages, "numpy": numpy_messages}


class PublishingAgent:
    """Publishes as the parameters of its one process tell."""

    def __init__(self, agent):
        self.agent = agent
        for name, buffer_time in (("unbuffered", 0), ("buffered", 1)):
            agent.register_feed(name, record=True, agg_params={"frame_length": 60}, buffer_time=buffer_time)

    def publish(self, session, params):
        """publish(shape, feed, count, bursts=1, pause=0, rate=0)

        **Process** - Publish ``bursts`` times ``count`` messages, ``pause`` seconds apart, from this process's own
        thread. Where there is a pause, one message more closes the run, since a buffer may wait for the next message to
        take it along. ``rate`` messages a second leave, or as many as can if it is 0.
        """
        session.set_status("running")
        make, count, bursts = SHAPES[params["shape"]], params["count"], params["bursts"]
        generating = -time.thread_time()
        deque(make(0, count), maxlen=0)
        generating += time.thread_time()
        session.data = {"generating": generating * bursts, "started": time.time()}
        totals = [0.0, 0.0]
        for burst in range(bursts):
            self.timed(params["feed"], paced(make(burst * count, count), params["rate"]), totals)
            time.sleep(params["pause"])
        if params["pause"]:
            self.timed(params["feed"], make(bursts * count, 1), totals)
        session.data = {**session.data, "wall": totals[0], "cpu": totals[1], "ended": time.time()}
        return True, "published"

    def timed(self, feed, messages, totals):
        """Publish, wait until the reactor has dealt with it, and add up wall and CPU seconds of the process."""
        wall, cpu = time.perf_counter(), time.process_time()
        for message in messages:
            self.agent.publish_to_feed(feed, message)
        threads.blockingCallFromThread(reactor, lambda: None)
        totals[0] += time.perf_counter() - wall
        totals[1] += time.process_time() - cpu

    def stop(self, session, params):  # noqa: ARG002 - operations take both
        """Nothing to interrupt: a run is bounded by its count."""
        return True, "it runs to its end"


def main():
    args = site_config.parse_args(agent_class="PublishingAgent")
    agent, runner = ocs_agent.init_site_agent(args)
    publisher = PublishingAgent(agent)
    agent.register_process("publish", publisher.publish, publisher.stop)
    runner.run(agent, auto_reconnect=True)


if __name__ == "__main__":
    main()
