"""Tells of each heartbeat of one agent as it arrives: a raw autobahn subscriber."""

import sys
import time

from session import connect, say


async def watch(session):
    topic = f"observatory.{sys.argv[2]}.feeds.heartbeat"
    await session.subscribe(lambda _: say(time=time.time()), topic)
    say(ready=True)


if __name__ == "__main__":
    connect(sys.argv[1], watch)
