"""Several machines on this one: each host has a network, process ids and a name of its own, and can be cut off.

Hosts are namespaces of the kernel's, held by one process each: when that ends, by whatever cause, the host is gone
with all that ran on it and with its cable. Nothing of this has a name that could be left behind, and none of it
touches the machine's own network. It takes root and `ip`; see docs/developer/testing.md.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.harness import host_init
from tests.harness.waiting import wait_for

HUB = "hub"
HUB_ADDRESS = "10.213.0.1"
"""Where the others find the hub; nobody else is in that network."""

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_BRIDGE = "lan"
_BRIDGE_MAC = "02:00:00:00:00:01"
"""Its own, or it would be that of one of the cables, and change with them."""


class NoHostsError(Exception):
    """There can be no hosts here; the text says why."""


def need_hosts(make):
    """Return what `make` returns; where there can be no hosts the test is skipped, in CI it fails: that must."""
    try:
        return make()
    except NoHostsError as error:
        say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        return say(f"no hosts for the tests: {error}")


def ip_program() -> str:
    """Return where `ip` is, also where only root's PATH has it."""
    found = shutil.which("ip") or shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if not found:
        raise NoHostsError("no program ip; Debian: apt install iproute2")
    return found


class Program:
    """A program that was started on a host.

    Attributes:
        pid: its process id, as seen on that host.
    """

    def __init__(self, host: "Host", pid: int, output: Path) -> None:
        self.host, self.pid, self._output = host, pid, output

    @property
    def output(self) -> str:
        """All that it has printed so far."""
        return self._output.read_text(errors="replace")

    @property
    def code(self) -> int | None:
        """Its exit code, or the number of a signal with a minus; None while it runs."""
        return self.host.ask("code", self.pid)

    def kill(self, how: signal.Signals = signal.SIGKILL) -> int:
        """End it, and nothing that it has started; return its exit code."""
        self.host.ask("kill", self.pid, int(how))
        wait_for(lambda: self.code is not None)
        return self.code


class Host:
    """A machine.

    Args:
        name: what programs there read as the name of their host.
        folder: where the output of its programs goes.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self._turn = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self.boot()

    def boot(self) -> None:
        """Switch it on: nothing runs there yet, and no cable is plugged in."""
        kinds = ["--net", "--uts", "--pid", "--mount-proc", "--fork", "--kill-child"]
        first = [sys.executable, "-I", "-S", host_init.__file__, self.name]
        self._log = self.folder / "host.err"
        with self._log.open("wb") as errors:
            self._holder = subprocess.Popen(
                ["unshare", *kinds, *first], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        if not self._holder.stdout.readline():
            self.power_off()
            raise NoHostsError(f"the kernel gives no namespaces (root?): {self._log.read_text().strip()[-300:]}")

    @property
    def first_pid(self) -> int:
        """The process id of its first process, as seen from the tests."""
        pid = self._holder.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def ask(self, *request: Any) -> Any:
        """Have the host's first process do something: see `host_init`."""
        with self._turn:
            self._holder.stdin.write(json.dumps(request) + "\n")
            self._holder.stdin.flush()
            return json.loads(self._holder.stdout.readline())

    def start(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> Program:
        """Start a program, and return at once.

        Args:
            name: what its output is called.
            argv: its words.
            env: its whole environment.
        """
        output = self.folder / f"{name}.out"
        return Program(self, self.ask("start", list(argv), dict(env), str(self.folder), str(output)), output)

    def running(self) -> dict[str, str]:
        """Return the command lines of all that runs there, by process id."""
        return self.ask("processes")

    def power_off(self) -> None:
        """End all that runs there at once; harmless if it is off."""
        with suppress(OSError, IndexError):
            os.kill(self.first_pid, signal.SIGKILL)
        with suppress(BrokenPipeError):
            self._holder.stdin.close()
        self._holder.wait(10)
        self._holder.stdout.close()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Have this thread's sockets, and the programs that it starts, in the host's network."""
        with Path("/proc/thread-self/ns/net").open() as own, Path(f"/proc/{self.first_pid}/ns/net").open() as theirs:
            _enter(theirs.fileno())
            try:
                yield
            finally:
                _enter(own.fileno())


def _enter(namespace: int) -> None:
    # os.setns is Python 3.12's.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _NEW_NETWORK):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Network:
    """A hub, and hosts that are joined to it by a cable each.

    Args:
        names: of the hosts; a word of at most ten letters each.
        folder: where the output of their programs goes.

    Raises:
        NoHostsError: that is not possible here.
    """

    def __init__(self, names: Sequence[str], folder: Path) -> None:
        self._ip = ip_program()
        self.hosts: dict[str, Host] = {}
        self._addresses = {name: f"10.213.0.{number}" for number, name in enumerate(names, 11)}
        try:
            self.hub = self.hosts[HUB] = Host(HUB, folder / HUB)
            self._lay_bridge()
            for name in names:
                self.hosts[name] = Host(name, folder / name)
                self._plug_in(name)
        except BaseException:
            self.close()
            raise

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def cut(self, name: str) -> None:
        """Lose all packets from and to a host, silently: nobody is told that a connection is over."""
        self._run(HUB, "link", "set", "dev", name, "down")

    def mend(self, name: str) -> None:
        """Carry a host's packets again."""
        self._run(HUB, "link", "set", "dev", name, "up")

    @contextmanager
    def cut_off(self, name: str) -> Iterator[None]:
        """Have a host cut off for the time of the context."""
        self.cut(name)
        try:
            yield
        finally:
            self.mend(name)

    def power_off(self, name: str) -> None:
        """End all that runs on a host at once, without a word to the others."""
        self.cut(name)
        self.hosts[name].power_off()

    def power_on(self, name: str) -> None:
        """Boot a host that is off, with nothing that runs on it yet."""
        self.hosts[name].boot()
        self._plug_in(name)

    def close(self) -> None:
        """End all hosts with all that runs there; the kernel takes the cables down with them."""
        for host in reversed(self.hosts.values()):
            host.power_off()

    def _lay_bridge(self) -> None:
        self._run(HUB, "link", "set", "dev", "lo", "up")
        self._run(HUB, "link", "add", "name", _BRIDGE, "address", _BRIDGE_MAC, "type", "bridge")
        self._run(HUB, "address", "add", f"{HUB_ADDRESS}/24", "dev", _BRIDGE)
        self._run(HUB, "link", "set", "dev", _BRIDGE, "up")

    def _plug_in(self, name: str) -> None:
        far_end = ["peer", "name", "eth0", "netns", str(self.hosts[name].first_pid)]
        with suppress(NoHostsError):  # the kernel has not taken that of the last time down yet
            self._run(HUB, "link", "delete", "dev", name)
        self._run(HUB, "link", "add", "name", name, "type", "veth", *far_end)
        self._run(HUB, "link", "set", "dev", name, "master", _BRIDGE, "up")
        self._run(name, "link", "set", "dev", "lo", "up")
        self._run(name, "address", "add", f"{self._addresses[name]}/24", "dev", "eth0")
        self._run(name, "link", "set", "dev", "eth0", "up")

    def _run(self, where: str, *words: str) -> None:
        with self.hosts[where].inside():
            done = subprocess.run([self._ip, *words], check=False, capture_output=True, text=True, timeout=10)
        if done.returncode:
            raise NoHostsError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@contextmanager
def network(names: Sequence[str], folder: Path) -> Iterator[Network]:
    """Have a hub and hosts for the time of the context."""
    made = need_hosts(lambda: Network(names, folder))
    try:
        yield made
    finally:
        made.close()
