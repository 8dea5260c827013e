import errno
import resource
import signal
from contextlib import contextmanager

import pytest

from ocs.agents.aggregator.drivers import make_filename
from ocs.agents.aggregator.files import FrameFile, check_folder


def test_a_file_is_named_by_its_time_in_a_folder_of_five_digits(tmp_path, clock):
    assert make_filename(tmp_path, clock=clock) == str(tmp_path / "17900" / "1790000000.g3")
    assert (tmp_path / "17900").is_dir()


def test_the_folders_are_made_only_on_request(tmp_path, clock):
    make_filename(tmp_path / "new", make_subdirs=False, clock=clock)

    assert not (tmp_path / "new").exists()


def test_a_second_file_of_the_same_second_takes_the_next_free_second(tmp_path, clock):
    (tmp_path / "17900").mkdir()
    (tmp_path / "17900" / "1790000000.g3").write_bytes(b"precious")

    assert make_filename(tmp_path, clock=clock).endswith("/1790000001.g3")


def test_a_file_that_exists_is_never_opened(tmp_path):
    taken = tmp_path / "x.g3"
    taken.write_bytes(b"precious")

    file = FrameFile.create(lambda: taken)
    file.append(b"new")
    file.close()

    assert taken.read_bytes() == b"precious"
    assert file.path == tmp_path / "x_01.g3"
    assert file.path.read_bytes() == b"new"


@contextmanager
def largest_file(size):
    """Have the system refuse to let files grow beyond `size` bytes: a write then fails in the middle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_frame_that_does_not_fit_is_not_in_the_file_not_even_in_part(tmp_path):
    file = FrameFile.create(lambda: tmp_path / "x.g3")
    file.append(b"whole frame")
    with largest_file(20), pytest.raises(OSError) as caught:
        file.append(b"this one is too long for the disk")

    assert caught.value.errno == errno.EFBIG
    assert file.path.read_bytes() == b"whole frame"
    file.append(b" and on")
    file.close()
    assert file.path.read_bytes() == b"whole frame and on"


def test_a_file_deleted_while_it_is_written_is_noticed(tmp_path):
    file = FrameFile.create(lambda: tmp_path / "x.g3")
    assert not file.removed()
    file.path.unlink()
    assert file.removed()
    file.discard()


def test_a_folder_that_can_be_made_is_made(tmp_path):
    assert check_folder(tmp_path / "a" / "b") == ""
    assert (tmp_path / "a" / "b").is_dir()


def test_a_folder_that_cannot_be_made_is_named_with_the_way_out(tmp_path):
    (tmp_path / "file").write_text("in the way")

    trouble = check_folder(tmp_path / "file" / "hk")

    assert str(tmp_path / "file" / "hk") in trouble
    assert "--data-dir" in trouble
