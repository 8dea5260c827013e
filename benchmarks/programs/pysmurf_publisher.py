"""Announces files over UDP as the publisher of a SMuRF server does: so many a second, or as fast as they are taken.

Arguments: port, folder. Commands, each with one answer:

``make COUNT SIZE``
    Makes the folder's files, those that are not there yet; each has other contents.
``send COUNT RATE``
    Announces so many of them, from the first on, by the clock.
``pass COUNT BYTES``
    The same as fast as they are taken: whenever less than so many bytes wait in the socket of the other side, so that
    none is lost.

Both of these answer how many left, when the first and the last did, and how late the worst was.
"""

import json
import os
import socket
import sys
import time
from pathlib import Path

FOLDER_SIZE = 1000  # files to a folder
TICK = 0.001  # seconds between looks at the clock
BATCH = 50  # datagrams between looks at the other side's socket
PUBLISHER = "crate1slot2"


def path_of(folder, number):
    """The file with this number, in a folder of one action."""
    ctime = 1_700_000_000 + number // FOLDER_SIZE
    return f"{folder}/20231114/{PUBLISHER}/{ctime}/outputs/{ctime}_{number:06d}.npy"


def contents(number, size):
    """The bytes of a file: its number, over and over."""
    mark = number.to_bytes(8, "big")
    return (mark * (size // len(mark) + 1))[:size]


def make(folder, count, size):
    """Make the files that are not there yet."""
    for number in range(count):
        path = Path(path_of(folder, number))
        if number % FOLDER_SIZE == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(contents(number, size))
    os.sync()  # so that no round has to share the disk with what is left of this


def announcement(folder, number):
    """The datagram that announces a file."""
    path = path_of(folder, number)
    ctime = int(Path(path).parts[-3])
    payload = {
        "path": path,
        "type": "tuning",
        "format": "npy",
        "timestamp": ctime,
        "action": "take_noise_psd",
        "action_ts": ctime,
        "plot": False,
        "pysmurf_version": "8.1.0",
    }
    origin = {"id": PUBLISHER, "origin": f"{PUBLISHER}, pid 4711", "user": "cryo", "host": "smurf-srv20"}
    return json.dumps({**origin, "time": ctime + 0.25, "type": "data_file", "payload": payload}).encode()


class Announcer:
    """A socket that announces to a port of this machine.

    Args:
        port: the UDP port of the other side.
    """

    def __init__(self, port):
        self.suffix = f":{port:04X}"
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(("127.0.0.1", port))

    def send(self, datagrams, rate):
        """Send so many a second: what is due goes out at once."""
        sent, began, late = 0, time.time(), 0.0
        while sent < len(datagrams):
            due = min(len(datagrams), int((time.time() - began) * rate) + 1)
            late = max(late, (due - sent) / rate)
            self.pass_on(datagrams[sent:due])
            sent = due
            time.sleep(TICK)
        return {"sent": sent, "began": began, "ended": time.time(), "late": late}

    def send_as_taken(self, datagrams, room):
        """Send small batches, each when less than ``room`` bytes wait on the other side."""
        began = time.time()
        for start in range(0, len(datagrams), BATCH):
            while self.waiting() > room:
                time.sleep(TICK)
            self.pass_on(datagrams[start : start + BATCH])
        return {"sent": len(datagrams), "began": began, "ended": time.time(), "late": 0.0}

    def pass_on(self, datagrams):
        """Hand them to the kernel."""
        send = self.socket.send
        for datagram in datagrams:
            send(datagram)

    def waiting(self):
        """Bytes that wait in the other side's socket, as the kernel counts them."""
        with Path("/proc/net/udp").open() as table:
            rows = [line.split() for line in table if self.suffix in line]
        return max((int(row[4].partition(":")[2], 16) for row in rows if row[1].endswith(self.suffix)), default=0)


def answer(folder, announcer, command, *numbers):
    """Carry out one command."""
    count, number = map(int, numbers)
    if command == "make":
        make(folder, count, number)
        return {"made": count}
    datagrams = [announcement(folder, each) for each in range(count)]
    return (announcer.send_as_taken if command == "pass" else announcer.send)(datagrams, number)


if __name__ == "__main__":
    port, folder = int(sys.argv[1]), sys.argv[2]
    announcer = Announcer(port)
    for line in sys.stdin:
        print("@" + json.dumps(answer(folder, announcer, *line.split())), flush=True)
