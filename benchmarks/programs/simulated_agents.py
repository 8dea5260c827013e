"""The heartbeats of many agents, one a period each and spread over it, from a few connections.

Arguments: URL, number of agents, period in s (1 unless given). Commands: ``start`` begins; ``sent`` tells how many have
left and how late the latest tick was.
"""

import sys
import time

from session import connect, obey, say
from twisted.internet import reactor, task

CONNECTIONS, TICKS = 4, 20  # ticks a second
ROOT = "observatory"


def envelope(name, feed="heartbeat"):
    return {
        "agent_address": f"{ROOT}.{name}",
        "agg_params": {},
        "feed_name": feed,
        "address": f"{ROOT}.{name}.feeds.{feed}",
        "record": False,
        "session_id": "1700000000.0",
        "agent_class": "SimulatedAgent",
    }


class Crowd:
    """All simulated agents, each belonging to one of the sessions."""

    def __init__(self, number, period=1):
        self.ticks = TICKS * period
        self.sessions, self.sent, self.late = [], 0, 0.0
        self.members = [envelope(f"sim-{index:05d}") for index in range(number)]
        self.tick_number, self.loop = 0, task.LoopingCall(self.tick)

    def start(self):
        self.began = time.time()
        self.loop.start(1 / TICKS)
        say(ok=True)

    def tick(self):
        """Send the heartbeats of one part of the crowd."""
        self.late = max(self.late, time.time() - self.began - self.tick_number / TICKS)
        for index in range(self.tick_number % self.ticks, len(self.members), self.ticks):
            member = self.members[index]
            self.sessions[index % CONNECTIONS].publish(member["address"], [self.codes(index), member])
            self.sent += 1
        self.tick_number += 1

    def codes(self, index):
        """Four operations, as a fake-data agent has; each second one agent in a hundred has news."""
        task_runs = (index + self.tick_number // TICKS) % 100 == 0
        return {"acq": 3, "count": 3, "set_heartbeat": 1, "delay_task": 3 if task_runs else 1}

    def carry_out(self, command):
        if command == "start":
            reactor.callFromThread(self.start)
        else:
            say(sent=self.sent, late=self.late)

    async def join(self, session):
        self.sessions.append(session)
        if len(self.sessions) == CONNECTIONS:
            obey(self.carry_out)
            say(ready=True)


if __name__ == "__main__":
    connect(sys.argv[1], Crowd(*map(int, sys.argv[2:])).join, connections=CONNECTIONS)
