"""The recorder's journal: what it remembers, what it lets go, and what happens while the disk does not take it."""

import errno
import os

import pytest

from ocs.agents.aggregator import safekeeping as module
from ocs.agents.aggregator.aggregator import Aggregator
from ocs.agents.aggregator.inbox import FORGET, Inbox, Item, Kind
from ocs.agents.aggregator.ledger import Ledger, journal_folder, read_message
from ocs.errors import JournalInUseError
from ocs.wamp.frames import ARGUMENTS, pack, pack_event
from tests.harness.archive import ADDRESS, Clock, Lines, SessionRecord, envelope, files_of, message, samples_in

KEY = ("observatory.a", "1790000000.5")


class Rig:
    """A recorder with a journal, on a disk that can be made to refuse."""

    def __init__(self, folder, monkeypatch, *, frame_length=2):
        self.folder = folder
        self.clock = Clock()
        self.session = SessionRecord()
        self.safe = {}
        self.frame_length = frame_length
        self._refuse = monkeypatch
        self.start()

    def start(self):
        self.inbox = Inbox()
        self.inbox.open()
        self.ledger = self.open_ledger()
        self.aggregator = Aggregator(
            self.inbox, 3600, self.folder, self.session, clock=self.clock, log=Lines(), ledger=self.ledger,
            safe=self.safe.update,
        )  # fmt: skip

    def open_ledger(self):
        folder = journal_folder(self.folder, "observatory.rec")
        return Ledger(folder, self.folder, clock=self.clock, timer=self.clock)

    def send(self, number):
        feed = envelope(ADDRESS, seq=number, agg_params={"frame_length": self.frame_length})
        event = [message([float(number)], n=[number], text=["x" * 1000]), feed]
        frame = pack_event([event])
        self.inbox.add(Item(Kind.MESSAGE + frame.serializer, frame.payload, tuple(event), KEY, number + 1), 2)

    def turn(self, seconds=1.0):
        self.clock.advance(seconds)
        self.aggregator.run()

    def refuse(self, number):
        def refused(*_args):
            raise OSError(number, os.strerror(number))

        self._refuse.setattr(os, "pwritev", refused)

    def relent(self):
        self._refuse.undo()

    def recorded(self):
        return [value for _, value in samples_in(files_of(self.folder)).get(f"{ADDRESS}.n", [])]


@pytest.fixture
def rig(tmp_path, monkeypatch):
    made = Rig(tmp_path, monkeypatch)
    yield made
    made.relent()
    made.ledger.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_while_the_journal_takes_nothing_nothing_is_taken_in_and_then_everything(rig, number):
    rig.send(1)
    rig.turn()
    rig.turn(3)
    rig.refuse(number)
    for message_number in range(2, 8):
        rig.send(message_number)
        rig.turn(3)
    assert rig.session.degraded
    assert os.strerror(number) in rig.session.data["trouble"]
    assert rig.safe == {KEY: 2}
    assert rig.recorded() == [1]

    rig.relent()
    for _ in range(3):
        rig.turn(3)
    assert not rig.session.degraded
    assert rig.safe == {KEY: 8}
    assert rig.recorded() == list(range(1, 8))


def test_what_is_safe_is_told_only_when_it_is_on_the_disk(rig, monkeypatch):
    synced = []
    true = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (true(fd), synced.append(dict(rig.safe))))
    rig.send(1)
    rig.turn()

    assert synced[0] == {}
    assert rig.safe == {KEY: 2}


def test_a_journal_that_has_grown_too_large_has_frames_written_before_their_time(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 40_000)
    rig = Rig(tmp_path, monkeypatch, frame_length=100_000)
    sizes = []
    for number in range(1, 200):
        rig.send(number)
        rig.turn()
        if number % 5 == 0:
            rig.ledger.roll()
        sizes.append(rig.ledger.size)

    assert max(sizes) < 60_000
    assert len(rig.recorded()) > 100
    rig.aggregator.close()
    assert rig.recorded() == list(range(1, 200))


def test_after_an_end_in_order_the_journal_has_nothing_but_the_state(rig):
    rig.send(1)
    rig.turn()
    rig.aggregator.close()
    again = rig.open_ledger()

    assert list(again.recover()) == []
    assert again.positions == {KEY: 2}
    assert again.recorder_id == rig.ledger.recorder_id
    assert again.since == rig.ledger.since
    again.close()


def test_who_forgets_begins_as_another_recorder(rig):
    rig.send(1)
    rig.turn()
    rig.aggregator.close(forget=True)
    again = rig.open_ledger()

    assert again.recorder_id != rig.ledger.recorder_id
    assert again.since == rig.clock.now > rig.ledger.since
    assert again.positions == {}
    again.close()


def test_a_stream_that_is_over_is_forgotten_for_good(rig):
    rig.send(1)
    rig.inbox.add(Item(Kind.POSITION, pack([*KEY, FORGET]), None, KEY, FORGET), 1)
    rig.turn()
    rig.aggregator.close()
    again = rig.open_ledger()
    list(again.recover())

    assert again.positions == {}
    again.close()


def test_a_second_recorder_of_the_same_name_is_refused(rig):
    with pytest.raises(JournalInUseError):
        rig.open_ledger()


def test_a_file_that_ends_in_the_middle_of_a_frame_is_cut_and_that_is_noted(rig):
    rig.send(1)
    rig.turn()
    rig.turn(3)
    rig.ledger.close()
    (path,) = files_of(rig.folder)
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes() + b"torn")
    again = rig.open_ledger()

    assert path.stat().st_size == whole
    assert [(note.kind, note.subject, note.detail) for note in again.repairs] == [
        ("repaired", str(path), "4 bytes of a frame that was not written whole cut off")
    ]
    again.close()


def test_frames_of_a_file_that_was_taken_away_are_taken_for_written(rig):
    rig.send(1)
    rig.turn()
    rig.turn(3)
    rig.ledger.close()
    (path,) = files_of(rig.folder)
    path.rename(rig.folder / "moved")
    rig.start()
    rig.aggregator.close()

    assert rig.recorded() == []


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc1", pack([]), pack([1]), pack([[1, 2]]), pack([[{}, 5]]), pack([{"a": 1}])],
    ids=["empty", "garbage", "no event", "number", "no map", "no envelope", "map"],
)
def test_a_message_that_is_none_is_refused_with_a_value_error(body):
    with pytest.raises(ValueError, match=r"message|frame|event"):
        read_message(Kind.MESSAGE + ARGUMENTS, body)
