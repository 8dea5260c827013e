"""Publishes recorded samples at a set rate from a few feeds, and keeps the books: a raw autobahn publisher.

Arguments: URL, channels, samples per message, messages a second. Command ``run SECONDS`` publishes for so long and then
tells how many samples left, when the last one did, and how late it was at worst.
"""

import math
import sys
import time

from session import connect, obey, say
from simulated_agents import envelope
from twisted.internet import reactor, task

FEEDS, TICKS = 4, 1000  # ticks a second: messages leave one by one, as those of many agents would


class Load:
    """The messages of all feeds, taking turns."""

    def __init__(self, channels, samples, rate):
        self.samples, self.rate, self.sent = samples, rate, 0
        self.data = {
            f"channel_{channel:02d}": [math.sin(channel + sample / 10) for sample in range(samples)]
            for channel in range(channels)
        }
        self.envelopes = [self.recorded(f"load-{number}") for number in range(FEEDS)]

    @staticmethod
    def recorded(name):
        head = envelope(name, "samples")
        return {**head, "record": True, "agg_params": {"frame_length": 5}}

    async def join(self, session):
        self.session = session
        obey(lambda command: reactor.callFromThread(self.start, float(command.split()[1])))
        say(ready=True)

    def start(self, seconds):
        self.began, self.total = time.time(), round(seconds * self.rate)
        self.late, self.loop = 0.0, task.LoopingCall(self.tick)
        self.loop.start(1 / TICKS)

    def tick(self):
        due = min(self.total, int((time.time() - self.began) * self.rate))
        self.late = max(self.late, (due - self.sent) / self.rate)
        for number in range(self.sent, due):
            self.publish(number)
        self.sent = due
        if due == self.total:
            self.loop.stop()
            # Out of this process, too: what waits in its socket has not left yet.
            samples = self.sent * self.samples * len(self.data)
            reactor.callLater(0, say, samples=samples, messages=self.sent, ended=time.time(), late=self.late)

    def publish(self, number):
        head = self.envelopes[number % FEEDS]
        # Each feed has the whole stretch of time since its last message to itself, so that no two samples coincide.
        start, step = self.began + number / self.rate, FEEDS / self.rate / self.samples
        stamps = [start + step * sample for sample in range(self.samples)]
        name = head["agent_address"].rpartition(".")[2]
        block = {"block_name": name, "timestamps": stamps, "data": self.data}
        self.session.publish(head["address"], [{name: block}, head])


if __name__ == "__main__":
    channels, samples, rate = map(int, sys.argv[2:])
    connect(sys.argv[1], Load(channels, samples, rate).join)
