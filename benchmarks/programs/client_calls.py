"""A control script that asks for an operation's status, over and over; written against the public names alone.

Commands: ``sequential COUNT``, ``threads COUNT THREADS``, ``refused COUNT THREADS`` (starts of a process that runs),
``tasks COUNT`` (each to its end).
"""

import json
import sys
import threading
import time

from ocs.ocs_client import OCSClient


def say(**answer):
    print("@" + json.dumps(answer), flush=True)


def new_client():
    return OCSClient(sys.argv[2], args=["--site-file", sys.argv[1]])


def latencies(client, count):
    """Seconds of each of ``count`` calls."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        client.delay_task.status()
        took.append(time.perf_counter() - began)
    return took


def sequential(count):
    began = time.perf_counter()
    took = sorted(latencies(CLIENT, count))
    rate = count / (time.perf_counter() - began)
    say(rate=rate, median=1000 * took[count // 2], p99=1000 * took[int(0.99 * count)])


def threads(count, number, work=latencies):
    workers = [threading.Thread(target=work, args=(new_client(), count // number)) for _ in range(number)]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    say(rate=count / (time.perf_counter() - began))


def starts(client, count):
    for _ in range(count):
        client.acq.start()


def refused(count, number):
    CLIENT.acq.start()
    threads(count, number, starts)


def tasks(count):
    began = time.perf_counter()
    for _ in range(count):
        CLIENT.delay_task(delay=0)
    say(rate=count / (time.perf_counter() - began))


CLIENT = new_client()
COMMANDS = {"sequential": sequential, "threads": threads, "refused": refused, "tasks": tasks}
say(ready=True)
for line in sys.stdin:
    command, *numbers = line.split()
    COMMANDS[command](*map(int, numbers))
