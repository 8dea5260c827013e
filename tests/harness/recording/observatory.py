"""One observatory for one run: router, links that can fail, recorders, publishers, and what is written of them."""

import contextlib
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

from ocs.router.config import crossbar_config
from ocs.router.server import Router, free_port
from tests.harness.agents import AgentHandle, start_agent
from tests.harness.peers import PUBLISHED_OCS, peer_python
from tests.harness.proxy import TcpProxy
from tests.harness.recording import publisher
from tests.harness.recording.books import Archive, Books, Excuse, balance, has_ended
from tests.harness.recording.disk import Shim, SmallDisk, mounts_permitted
from tests.harness.site import Site

SCRIPT = Path(publisher.__file__)
RUN = 10_000_000  # the numbers that each run of a publisher has for itself
POLL_S = 0.25
ROUTER_S = 90.0  # for the router to be ready, on a machine with a lot to do
STARTING = threading.Semaphore(3)  # observatories that may begin at a time: a dozen routers at once take too long
RESTART_S = 1.0  # after which one that has ended by itself is started again


def new_router(directory: Path) -> Router:
    """Make a router on a free port; it is not started."""
    port = free_port()
    urls = {"wamp_server": f"ws://127.0.0.1:{port}/ws", "wamp_http": f"http://127.0.0.1:{port}/call"}
    hub = SimpleNamespace(**urls, wamp_realm="test_realm", address_root="observatory")
    return Router(crossbar_config(hub, host="127.0.0.1", port=port), directory)


def python_of(side: str) -> str:
    """Return the interpreter that has the ocs of a side."""
    return sys.executable if side == "ours" else peer_python("ocs", "ocs", PUBLISHED_OCS)


class Member:
    """An agent that is to run: where it ends by itself it is started again, as a supervisor would.

    Attributes:
        address: the agent's.
        side: whose package it runs under.
        state: its state folder.
        runs: how often it has been started; `restarts`: how often because it had ended by itself.
    """

    def __init__(
        self, site: Site, instance_id: str, side: str, state: Path, *, program: Sequence[str] = ("-m", "ocs.agent_cli")
    ) -> None:
        self.site, self.instance_id, self.side = site, instance_id, side
        self.address = site.address(instance_id)
        self.state = state
        self.environment: dict[str, str] = {"OCS_STATE_DIR": str(state)}
        self.runs = self.restarts = 0
        self._program = program
        self._wanted = False
        self._started = 0.0
        self._gone_at: float | None = None
        self._handle: AgentHandle | None = None

    def arguments(self) -> list[str]:
        """Further arguments of the next run."""
        return []

    def start(self) -> None:
        self._wanted, self._started = True, time.monotonic()
        arguments = self.arguments()
        self.runs += 1
        self._handle = start_agent(
            self.site, self.instance_id, *arguments,
            python=python_of(self.side), env=self.environment, program=self._program,
        )  # fmt: skip

    def tend(self) -> None:
        """Start it again if it has ended though nobody told it to."""
        if not self._wanted or self.is_alive:
            self._gone_at = None
        elif self._gone_at is None:
            self._gone_at = time.monotonic()
        elif time.monotonic() - self._gone_at > RESTART_S:
            self.restarts += 1
            self.start()

    @property
    def is_alive(self) -> bool:
        return self._handle is not None and self._handle.process.poll() is None

    @property
    def age(self) -> float:
        """Seconds since it was last started."""
        return time.monotonic() - self._started

    def signal(self, how: signal.Signals) -> None:
        """Send it a signal, without waiting for what comes of that."""
        assert self._handle
        self._handle.process.send_signal(how)

    def kill(self) -> None:
        self._wanted = False
        if self._handle:
            self._handle.kill()

    def terminate(self, timeout: float = 20.0) -> float:
        """Ask it to end by SIGTERM and wait for that, killing it after `timeout` seconds; returns how long it took."""
        self._wanted = False
        began = time.monotonic()
        if self._handle and self.is_alive:
            with contextlib.suppress(AssertionError):
                self._handle.stop(signal.SIGTERM, timeout)
        return time.monotonic() - began

    def ask(self, *args: Any) -> Any:
        """Call the agent's `.ops`; None while it does not answer."""
        assert self._handle
        with contextlib.suppress(LookupError):
            return self._handle.call(".ops", *args)

    @property
    def output(self) -> str:
        return self._handle.output if self._handle else ""


class Recorder(Member):
    """An aggregator with a disk of its own, `disk`, on which data and state are."""

    def __init__(self, site: Site, instance_id: str, side: str, disk: Path, options: Mapping[str, Any]) -> None:
        self.disk, self.data = disk, disk / "data"
        arguments = ["--data-dir", str(self.data), "--initial-state", "record"]
        site.add_instance("AggregatorAgent", instance_id, [*arguments, "--time-per-file", str(options["file_time"])])
        super().__init__(site, instance_id, side, disk / "state")
        self.archive = Archive(self.data)
        self._timeout = str(options["crossbar_timeout"])

    def arguments(self) -> list[str]:
        self.data.mkdir(parents=True, exist_ok=True)
        return ["--crossbar-timeout", self._timeout]

    def finish(self) -> None:
        """Stop the recording by its operation, so that what it holds is written, then the agent."""
        session = self.ask("status", "record")
        (self.site.directory / f"{self.instance_id}.session.json").write_text(json.dumps(session, indent=1))
        if self.ask("stop", "record"):
            self.ask("wait", "record", None, 4)
        self.terminate()


class Publisher(Member):
    """The numbered publisher, with a log of its own, `log`, which no disk of the observatory can lose."""

    def __init__(self, site: Site, instance_id: str, side: str, disk: Path, options: Mapping[str, Any]) -> None:
        site.add_instance("NumberedPublisher", instance_id, [])
        super().__init__(site, instance_id, side, disk / "state", program=[str(SCRIPT)])
        self.log = site.directory / f"{instance_id}.log"
        keys = ("crossbar_timeout", "rate", "frame_length")
        self._options = [text for key in keys for text in (f"--{key.replace('_', '-')}", str(options[key]))]

    def arguments(self) -> list[str]:
        return ["--samples-log", str(self.log), "--start", str(self.runs * RUN), *self._options]

    def hush(self) -> None:
        """Let it publish its last, and stay."""
        Path(f"{self.log}.stop").touch()

    @property
    def has_ended(self) -> bool:
        return has_ended(self.log)


OPTIONS = {"rate": 100.0, "frame_length": 2.0, "file_time": 5, "crossbar_timeout": 120}


class Observatory:
    """A running observatory. Use it in a `with` block; processes, mounts and threads end with that, files stay.

    Args:
        directory: for everything that is written.
        side: whose aggregator and publishers: `ours` or `published`.
        publishers: the side of each publisher; None: two of `side`.
        recorders: how many aggregators.
        with_shim: whether disks can be made slow or read-only, and lose their power.
        with_small_disk: whether the recorders' disks can be filled; where mounts are not permitted, a shim does it.
        seed: of whatever is left to chance.
        source: a folder with the package `ocs` that is to be ours; None: the one that is installed.
        options: what differs from `OPTIONS`.

    Attributes:
        router: owned by this.
        chance: where it is taken from.
        publisher_link, recorder_link: proxies between those and the router.
        disks: of the recorders, where they can be filled.
        shims: below the recorders' disks and below the publishers', where they can be made to fail.
        excuses: what may be missing, as faults have stated.
    """

    def __init__(
        self,
        directory: Path,
        side: str,
        *,
        publishers: Sequence[str] | None = None,
        recorders: int = 1,
        with_shim: bool = False,
        with_small_disk: bool = False,
        seed: int = 0,
        source: Path | None = None,
        **options: Any,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.side = directory, side
        self.options = {**OPTIONS, **options}
        self.chance = random.Random(seed)
        self.excuses: list[Excuse] = []
        self.disks: list[SmallDisk] = []
        self.shims: list[Shim] = []
        self._helpers: list[subprocess.Popen[bytes]] = []
        self._open = contextlib.ExitStack()
        self._recorder_count, self._publisher_sides = recorders, publishers or [side, side]
        self._source = source
        self._with_small_disk = with_small_disk and mounts_permitted()
        self._with_shim = with_shim or (with_small_disk and not self._with_small_disk)

    def __enter__(self) -> Self:
        try:
            with STARTING:
                self._begin()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    def _begin(self) -> None:
        self._open.callback(self.end_helpers)
        self.router = new_router(self.directory / "router")
        self._open.callback(self.router.stop)
        self.router.start(ROUTER_S)
        self.recorder_link, recorder_site = self._side_of_router("recorders")
        self.publisher_link, publisher_site = self._side_of_router("publishers")
        self.recorders = [
            Recorder(recorder_site, f"agg-{i}", self.side, self._disk(recorder_site) / f"agg-{i}", self.options)
            for i in range(1, self._recorder_count + 1)
        ]
        self.publishers = [
            Publisher(publisher_site, f"lab-{i}", side, self._disk(publisher_site) / f"lab-{i}", self.options)
            for i, side in enumerate(self._publisher_sides, 1)
        ]
        if self._with_shim:
            self._put_shims_under(self.recorders)
            self._put_shims_under(self.publishers)
        self._start()

    def _disk(self, site: Site) -> Path:
        return site.directory / "disk"

    def _put_shims_under(self, members: Sequence[Member]) -> None:
        site = members[0].site
        self.shims.append(Shim(self._disk(site), site.directory))
        for member in members:
            member.environment |= self.shims[-1].environment

    def _side_of_router(self, name: str) -> tuple[TcpProxy, Site]:
        link = TcpProxy(self.router)
        self._open.callback(link.close)
        directory = self.directory / name
        directory.mkdir()
        site = Site(directory, link)
        site.hub["wamp_http"] = self.router.http_url  # what the harness asks shall not meet the faults
        site.write()
        return link, site

    def _start(self) -> None:
        for recorder in self.recorders:
            if self._with_small_disk:
                self.disks.append(SmallDisk(recorder.disk))
                self._open.callback(self.disks[-1].close)
        for member in self.members:
            if self._source and member.side == "ours":
                member.environment["PYTHONPATH"] = str(self._source)
            self._open.callback(member.kill)
        for recorder in self.recorders:
            recorder.start()
        self.wait_until(lambda: all(map(_is_recording, self.recorders)), 60, "the recorders to record")
        for each in self.publishers:
            each.start()
        self.wait_until(self._all_recorded, 60, "samples of every feed in the files")

    def _all_recorded(self) -> bool:
        return not self.silent_since(0)

    def silent_since(self, when: float) -> set[str]:
        """Return the feeds of which some archive has no sample that is younger than `when` (unix s)."""
        feeds = {f"{each.address}.feeds.{name}" for each in self.publishers for name in publisher.FEEDS}
        return feeds - set.intersection(*(recorder.archive.feeds_since(when) for recorder in self.recorders))

    @property
    def members(self) -> list[Member]:
        return [*self.recorders, *self.publishers]

    @property
    def logs(self) -> dict[str, Path]:
        return {each.address: each.log for each in self.publishers}

    def live(self, seconds: float) -> None:
        """Let time pass, with whatever ends by itself started again."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.tend()
            time.sleep(min(left, POLL_S))

    def tend(self) -> None:
        for member in self.members:
            member.tend()

    def run(self, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        """Start another program, for as long as the observatory is there or until `end_helpers`."""
        self._helpers.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE))
        return self._helpers[-1]

    def end_helpers(self) -> None:
        while self._helpers:
            helper = self._helpers.pop()
            helper.kill()
            helper.communicate()

    def wait_until(self, condition: Callable[[], object], timeout: float, what: str) -> None:
        """Let time pass until `condition` holds; raises AssertionError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"waited {timeout:.0f} s for {what}; {self._last_words()}"
            self.live(POLL_S)

    def _last_words(self) -> str:
        words = {each.instance_id: (each.output.splitlines() or [""])[-1] for each in self.members}
        return f"last lines: {words}"

    def excuse(self, seconds: float, why: str, members: Sequence[Member] = ()) -> None:
        """State that what the members have published in the last `seconds` may be missing."""
        now = time.time()
        for member in members or self.publishers:
            self.excuses.append(Excuse(f"{member.address}.", now - seconds, now, why, with_buffer=True))

    def books(self) -> list[Books]:
        """Balance the archive of each recorder, as it is now."""
        return [balance(recorder.archive, self.logs, self.excuses) for recorder in self.recorders]

    def finish(self, timeout: float = 60.0, patience: float = 10.0) -> tuple[list[Books], float]:
        """Let the publishers come to their end, wait until the books balance, stop the recorders, and balance again.

        Args:
            timeout: how long to wait, in seconds.
            patience: after how many seconds without any change not to wait longer.

        Returns:
            The books, and how long it took until they balanced, in seconds.
        """
        for each in self.publishers:
            each.hush()
        self.wait_until(lambda: all(each.has_ended for each in self.publishers), timeout, "the publishers to end")
        began = changed = time.monotonic()
        before, now = None, self.books()
        while not all(each.balanced for each in now) and time.monotonic() < min(began + timeout, changed + patience):
            self.live(POLL_S)
            before, now = now, self.books()
            if before != now:
                changed = time.monotonic()
        took = time.monotonic() - began
        for recorder in self.recorders:
            recorder.finish()
        return self.books(), took


def _is_recording(recorder: Recorder) -> bool:
    answer = recorder.ask("status", "record")
    return bool(answer) and answer[2].get("status") == "running"
