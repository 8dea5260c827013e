"""The first process of a host that is a namespace: starts its programs, buries them, and ends when nobody holds it.

Takes one request a line and gives one answer a line, both as JSON; its end takes all that runs on the host with it.
Needs nothing but the standard library, so that it is there at once: see `tests.harness.hosts`.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

codes: dict[int, int] = {}
"""How those ended that have been started here: exit code, or the signal's number with a minus."""


def bury(*_):
    """Take note of who has ended; also orphans are ours."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        codes[pid] = os.waitstatus_to_exitcode(status)


def start(argv, env, folder, output):
    with Path(output).open("ab") as file:
        started = subprocess.Popen(
            argv, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    started.returncode = 0  # `bury` does that
    return started.pid


def kill(pid, signum):
    if pid not in codes:
        os.kill(pid, signum)


def processes():
    """Return the command lines of all that run here but this one, by process id."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and folder.name != "1":
            with suppress(OSError):
                found[folder.name] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return {pid: line.strip() for pid, line in found.items() if line}  # a zombie has no words


def main():
    socket.sethostname(sys.argv[1])
    signal.signal(signal.SIGCHLD, bury)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a tester's Ctrl-C is for the tests
    serves = {"start": start, "kill": kill, "processes": processes, "code": codes.get, "host": os.uname}
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        name, *args = json.loads(line)
        print(json.dumps(serves[name](*args)), flush=True)


if __name__ == "__main__":
    main()
