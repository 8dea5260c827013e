"""The recorder dies at every call that changes the disk, and is started again: each sample is in the archive once."""

import random

import pytest

from ocs.agents.aggregator.aggregator import Aggregator
from ocs.agents.aggregator.inbox import Inbox, Item, Kind
from ocs.agents.aggregator.ledger import Ledger, journal_folder
from ocs.wamp.frames import pack_event
from tests.harness.archive import Clock, Lines, SessionRecord, envelope, files_of, message, samples_in
from tests.harness.crashing import Crash, CrashingDisk

AGENT = "observatory.a"
RUN = "1790000000.5"
KEY = (AGENT, RUN)
FEEDS = [f"{AGENT}.feeds.quick", f"{AGENT}.feeds.slow"]
MESSAGES = 24


def numbered(number):
    """A message of the stream: two feeds, of which one has its frames seldom."""
    address = FEEDS[number % 3 == 0]
    feed = envelope(address, session_id=RUN, seq=number, agg_params={"frame_length": 40 if number % 3 == 0 else 2})
    event = [message([float(number), number + 0.5], n=[number, -number]), feed]
    frame = pack_event([event])
    return Item(Kind.MESSAGE + frame.serializer, frame.payload, tuple(event), KEY, number + 1)


class Recorder:
    """A recorder's life, with an agent that keeps what is not safe yet."""

    def __init__(self, folder, safe):
        self.folder = folder
        self.safe = safe
        """What the agent knows to be safe: it has forgotten everything below."""
        self.clock = Clock()

    def live(self):
        """Take in all messages from where the journal ends, and end in order."""
        inbox = Inbox()
        inbox.open()
        ledger = Ledger(journal_folder(self.folder, "observatory.rec"), self.folder, clock=self.clock, timer=self.clock)
        aggregator = Aggregator(
            inbox, 15, self.folder, SessionRecord(), clock=self.clock, log=Lines(), ledger=ledger, safe=self.keep
        )
        start = ledger.positions.get(KEY, 1)
        assert start >= self.safe, "it has told the agent more than it has"
        self.safe = start  # which is what it tells at first
        for number in range(start, MESSAGES + 1):
            inbox.add(numbered(number), 4)
            self.clock.advance(1)
            aggregator.run()
            if number % 10 == 0:
                ledger.roll()
        inbox.close()
        aggregator.close()

    def keep(self, news):
        self.safe = max(self.safe, news.get(KEY, 0))


def whole():
    expected = {f"{address}.n": [] for address in FEEDS}
    for number in range(1, MESSAGES + 1):
        samples = [(float(number), number), (number + 0.5, -number)]
        expected[f"{FEEDS[number % 3 == 0]}.n"] += samples
    return expected


def calls_of_a_life(folder):
    disk = CrashingDisk(folder, float("inf"), random.Random(0))
    with disk.watching():
        Recorder(folder, 0).live()
    assert samples_in(files_of(folder)) == whole()
    return disk.calls


def dies(disk, safe, *, after, power):
    """Live until so many more calls; returns what the agent believes to be safe, and whether it came to the end."""
    disk.at = disk.calls + after
    recorder = Recorder(disk.folder, safe)
    done = False
    try:
        with disk.watching():
            try:
                recorder.live()
                done = True
            finally:
                disk.release()
    except Crash:
        if power:
            disk.cut_power()
    return recorder.safe, done


@pytest.mark.parametrize("power", [False, True], ids=["killed", "power cut"])
def test_a_death_at_any_call_costs_no_sample_and_doubles_none(tmp_path, power):
    for at in range(calls_of_a_life(tmp_path / "whole")):
        folder = tmp_path / str(at)
        folder.mkdir()
        safe, done = dies(CrashingDisk(folder, 0, random.Random(at)), 0, after=at, power=power)
        assert not done
        Recorder(folder, safe).live()
        assert samples_in(files_of(folder)) == whole(), f"died at call {at}"


@pytest.mark.parametrize("seed", range(40))
def test_neither_do_deaths_one_after_the_other(tmp_path, seed):
    rng = random.Random(seed)
    disk = CrashingDisk(tmp_path, 0, rng)
    safe, done = 0, False
    while not done:
        safe, done = dies(disk, safe, after=rng.randrange(5, 200), power=rng.random() < 0.5)
    assert samples_in(files_of(tmp_path)) == whole()


def test_what_the_dead_left_to_the_system_is_brought_to_the_disk_by_the_next(tmp_path):
    for at in range(0, calls_of_a_life(tmp_path / "whole"), 3):
        folder = tmp_path / str(at)
        folder.mkdir()
        disk = CrashingDisk(folder, 0, random.Random(at))
        safe, _ = dies(disk, 0, after=at, power=False)
        _, done = dies(disk, safe, after=float("inf"), power=False)
        assert done
        disk.cut_power()
        assert samples_in(files_of(folder)) == whole(), f"died at call {at}"
