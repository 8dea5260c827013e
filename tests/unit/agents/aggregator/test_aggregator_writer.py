import errno
import os

import pytest

from ocs.agents.aggregator import frames
from ocs.agents.aggregator.drivers import G3FileRotator
from ocs.agents.aggregator.files import FrameFile
from ocs.agents.aggregator.writer import EncodedFrame
from tests.harness.archive import frames_of


class Disk:
    """A disk whose trouble is turned on and off; what it takes goes to real files."""

    def __init__(self):
        self.full = 0
        self.closed = 0

    def create(self, filename, head):
        if self.closed:
            raise OSError(self.closed, os.strerror(self.closed), str(filename()))
        disk = self

        class File(FrameFile):
            def append(self, frame):
                if disk.full:
                    raise OSError(disk.full, os.strerror(disk.full))
                super().append(frame)

        return File.create(filename, head)


class Rig:
    def __init__(self, folder, clock, **changes):
        self.clock = clock
        self.folder = folder
        self.disk = Disk()
        self.faults = []
        self.number = 0
        self.rotator = G3FileRotator(
            100, self.next_name, clock=clock, create=self.disk.create, report=self.faults.append, **changes
        )
        self.session = frames.new_session(clock())
        self.put("session", self.session.session_frame())
        self.put("status", self.session.status_frame(timestamp=1.0))

    def next_name(self):
        self.number += 1
        return self.folder / f"{self.number}.g3"

    def put(self, kind, frame, values=0):
        self.rotator.put(EncodedFrame(kind, frames.encode(frame), values))

    def data(self, prov_id, values=1):
        self.put("data", self.session.data_frame(prov_id, timestamp=1.0), values)

    def contents(self):
        """Return what is in every file: `S` session, `s` status, and the provider's number for data."""
        return {path.name: "".join(map(_letter, frames_of(path))) for path in sorted(self.folder.glob("*.g3"))}


def _letter(frame):
    kind = int(frame["hkagg_type"])
    return "Ss"[kind] if kind < 2 else str(int(frame["prov_id"]))


@pytest.fixture
def rig(tmp_path, clock):
    made = Rig(tmp_path, clock)
    yield made
    made.rotator.close_file()


def test_a_file_begins_with_session_and_status(rig):
    rig.data(1)
    rig.rotator.commit()

    assert rig.contents() == {"1.g3": "Ss1"}
    assert rig.rotator.current_file == str(rig.folder / "1.g3")


def test_a_new_file_begins_when_the_time_is_up_with_the_last_session_and_status(rig, clock):
    rig.data(1)
    rig.rotator.commit()
    rig.put("status", rig.session.status_frame(timestamp=2.0))
    rig.rotator.commit()
    clock.advance(100)
    rig.data(2)
    rig.rotator.commit()

    assert rig.contents() == {"1.g3": "Ss1s", "2.g3": "Ss2"}


def test_a_file_without_data_is_not_replaced_by_another(rig, clock):
    rig.rotator.commit()
    clock.advance(1000)
    rig.rotator.commit()

    assert rig.contents() == {"1.g3": "Ss"}


def test_frames_wait_for_a_full_disk_and_follow_in_order(rig):
    rig.data(1)
    rig.rotator.commit()
    rig.disk.full = errno.ENOSPC
    rig.data(2)
    assert not rig.rotator.commit()
    assert "No space left" in rig.rotator.trouble
    assert rig.rotator.current_file in rig.rotator.trouble
    rig.data(3)
    rig.rotator.commit()
    rig.disk.full = 0

    assert rig.rotator.commit()
    assert rig.rotator.trouble == ""
    assert rig.rotator.waiting_bytes == 0
    assert rig.contents() == {"1.g3": "Ss123"}


def test_a_file_that_fails_otherwise_is_left_for_a_new_one(rig):
    rig.data(1)
    rig.rotator.commit()
    rig.disk.full = errno.EIO
    rig.data(2)
    rig.rotator.commit()
    rig.disk.full = 0
    rig.rotator.commit()

    assert list(rig.contents().values()) == ["Ss1", "Ss2"]


def test_rotation_onto_an_unwritable_folder_goes_on_in_the_current_file(rig, clock):
    rig.data(1)
    rig.rotator.commit()
    clock.advance(100)
    rig.disk.closed = errno.EACCES
    rig.data(2)

    assert not rig.rotator.commit()
    assert "no new file can be made: Permission denied" in rig.rotator.trouble
    assert rig.contents() == {"1.g3": "Ss12"}
    rig.disk.closed = 0
    rig.data(3)
    assert rig.rotator.commit()
    assert list(rig.contents().values()) == ["Ss12", "Ss3"]


def test_a_disk_that_takes_no_file_at_the_start_gets_everything_later(rig):
    rig.disk.closed = errno.EROFS
    rig.data(1)
    assert not rig.rotator.commit()
    assert rig.rotator.current_file is None
    rig.disk.closed = 0
    rig.rotator.commit()

    assert list(rig.contents().values()) == ["Ss1"]


def test_beyond_its_bound_the_oldest_data_is_dropped_and_counted(tmp_path, clock):
    rig = Rig(tmp_path, clock, max_waiting=2000)
    rig.disk.closed = errno.ENOSPC
    rig.rotator.commit()
    for prov_id in range(9):
        rig.data(prov_id, values=10)
    assert rig.rotator.waiting_bytes <= 2000
    rig.disk.closed = 0
    rig.rotator.close_file()

    (kept,) = rig.contents().values()
    dropped = sum(fault.values for fault in rig.faults)
    assert kept.startswith("Ss")
    assert kept.endswith("8")
    assert dropped + 10 * (len(kept) - 2) == 90
    assert {fault.cause for fault in rig.faults} == {"disk"}


def test_what_the_disk_does_not_take_at_the_end_is_counted(rig):
    rig.rotator.commit()
    rig.disk.full = errno.ENOSPC
    rig.data(1, values=7)
    rig.rotator.close_file()

    assert [fault.values for fault in rig.faults] == [7]
    assert rig.rotator.current_file is None


def test_a_deleted_file_is_replaced_by_a_new_one(rig):
    rig.data(1)
    rig.rotator.commit()
    (rig.folder / "1.g3").unlink()
    rig.data(2)
    rig.rotator.commit()

    assert rig.contents() == {"2.g3": "Ss2"}
    assert ["was deleted" in fault.detail for fault in rig.faults] == [True]


def test_it_takes_frames_as_a_module_of_a_pipeline(tmp_path):
    rotator = G3FileRotator(100, lambda: tmp_path / "x.g3")
    session = frames.new_session(1.0)
    first = session.session_frame()

    assert rotator(first) == [first]
    rotator.Process([session.status_frame(timestamp=1.0), session.data_frame(5, timestamp=1.0)])
    rotator.close_file()

    assert [_letter(frame) for frame in frames_of(tmp_path / "x.g3")] == ["S", "s", "5"]


def test_what_is_flushed_can_be_read_at_once(rig):
    rig.rotator.commit()
    rig.data(4)
    rig.rotator.flush()

    assert rig.contents() == {"1.g3": "Ss4"}
