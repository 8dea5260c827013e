"""Opening the files of an archive: by the index if there is one that fits, else by reading them."""

import os

import pytest

from ocs.errors import RecordingError
from ocs.hk.archive import ChangedFileError, IndexedFile, open_archive, with_archive
from ocs.hk.index import index_path
from tests.harness.g3_files import G3File


@pytest.fixture
def file(tmp_path):
    return G3File(tmp_path / "1.g3").block([1.0], x=[1.0]).block([2.0], x=[2.0])


def opened(path, **how):
    """Open a file; return what is known of it and how many frames had to be read."""
    read = []
    found = IndexedFile.open(path, advance=read.append, **how)
    return found, len(read)


def test_the_second_time_nothing_has_to_be_read(file):
    first, read = opened(file.path)
    assert read == len(file.places) == 4
    second, read = opened(file.path)
    assert read == 0
    assert second.entries() == first.entries()
    assert second.summary.series == first.summary.series


def test_only_what_came_since_is_read(file):
    opened(file.path)
    file.block([3.0], x=[3.0])
    found, read = opened(file.path)

    assert read == 1
    assert found.summary.frames == len(found.entries()) == 5


def test_an_index_that_lacks_a_little_is_not_written_again_and_again(file):
    opened(file.path)
    before = index_path(file.path).read_bytes()
    file.block([3.0], x=[3.0])
    opened(file.path)

    assert index_path(file.path).read_bytes() == before


def test_an_index_that_lacks_much_is_completed(file):
    opened(file.path)
    for second in range(100):
        file.block([second], x=[1.0])
    assert opened(file.path)[1] == 100
    assert opened(file.path)[1] == 0


def test_an_index_that_was_never_completed_is_completed_when_the_file_is_old(file):
    opened(file.path)
    index = index_path(file.path)
    index.write_bytes(b"".join(index.read_bytes().splitlines(keepends=True)[:-1]))
    opened(file.path)
    assert b'"end":' not in index.read_bytes()
    os.utime(file.path, (1.0, 1.0))
    opened(file.path)
    assert b'"end":' in index.read_bytes()


def test_a_shorter_file_is_read_anew(file):
    opened(file.path)
    file.path.write_bytes(b"".join(content for _, content in file.places[:-1]))
    found, read = opened(file.path)

    assert (read, found.summary.frames, found.damage) == (3, 3, None)


def test_a_file_that_took_the_place_of_another_is_read_anew(file):
    opened(file.path)
    file.path.unlink()
    other = G3File(file.path, 1_800_000_000.0).block([5.0], x=[1.0]).block([6.0], x=[1.0])
    found, read = opened(other.path)

    assert read == 4
    assert found.summary.series[0].start == 500_000_000


@pytest.mark.parametrize("garbage", [b"", b"\x00" * 100, b'{"format":', b"[]\n[]\n"])
def test_a_damaged_index_is_made_anew(file, garbage):
    opened(file.path)
    index_path(file.path).write_bytes(garbage)

    assert opened(file.path)[1] == 4
    assert opened(file.path)[1] == 0


def test_every_frame_is_read_and_checked_when_the_index_is_to_be_rebuilt(file):
    opened(file.path)
    content = bytearray(file.path.read_bytes())
    content[-40] ^= 1
    file.path.write_bytes(content)

    assert opened(file.path)[0].damage is None
    found, read = opened(file.path, rebuild=True)
    assert read == 3
    assert "CRC" in str(found.damage)
    assert found.damage.frames == 3


def test_a_torn_tail_is_told_with_and_without_an_index(file):
    file.path.write_bytes(file.path.read_bytes() + file.places[-1][1][:-1])
    for read in (4, 0):
        found, frames = opened(file.path)
        assert frames == read
        assert (found.damage.frames, found.damage.path) == (4, file.path)
        assert "middle of a frame" in str(found.damage)


def test_nothing_is_written_if_nothing_is_to_be_kept(file):
    opened(file.path, keep=False)
    assert not index_path(file.path).exists()


def test_a_folder_that_cannot_be_written_to_is_read_all_the_same(file):
    (file.path.parent / ".index").write_text("in the way")

    assert opened(file.path)[1] == 4
    assert opened(file.path)[1] == 4


def test_no_half_written_index_is_left(file):
    opened(file.path)
    assert [path.name for path in index_path(file.path).parent.iterdir()] == ["1.g3.jsonl"]


def test_an_empty_file_is_no_damage(tmp_path):
    (tmp_path / "1.g3").touch()
    found, _ = opened(tmp_path / "1.g3")
    assert (found.damage, found.entries(), found.summary.series) == (None, [], [])


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path):
    with pytest.raises(RecordingError, match=r"gone\.g3 cannot be read: No such file"):
        IndexedFile.open(tmp_path / "gone.g3")


def test_frames_of_other_kinds_are_passed_over(file):
    from spt3g import core

    file.append(core.G3Frame(core.G3FrameType.Observation))
    odd = core.G3Frame(core.G3FrameType.Housekeeping)
    odd["something"] = 5
    file.append(odd)
    found, _ = opened(file.path)

    assert found.damage is None
    assert [entry.info.kind for entry in found.entries()][-2:] == ["other", "other"]


def test_the_frames_are_found_though_the_index_disappeared_meanwhile(file):
    opened(file.path)
    found, read = opened(file.path)
    index_path(file.path).unlink()

    assert read == 0
    assert len(found.entries()) == 4


def test_a_wrong_index_is_given_a_second_chance(file):
    tried = []

    def use(archive):
        tried.append(archive)
        if len(tried) == 1:
            raise ChangedFileError("not as it was")
        return "done"

    open_archive([file.path])
    assert with_archive([file.path], use) == "done"
    assert len(tried) == 2
