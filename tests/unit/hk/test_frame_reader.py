"""Values out of frames: what is guessed from the frame before is checked."""

import numpy as np
import pytest

from ocs.hk.archive import ChangedFileError, IndexedFile
from ocs.hk.frame_reader import FrameReader, Sink
from tests.harness.g3_files import G3File


def sink(count, *fields, position=0):
    return Sink(position, np.zeros(count, np.int64), {field: np.zeros(count) for field in fields})


@pytest.fixture
def file(tmp_path):
    """Frames that look alike, up to the one in the middle, which has its fields in other places."""
    file = G3File(tmp_path / "1.g3")
    for n in range(5):
        first = {"aa": [n + 0.1] * 3, "zz": [n + 0.9] * 3}
        second = {"aa": [n + 0.5] * 3}
        blocks = [("t", ([1 + n] * 3, first)), ("u", ([2 + n] * 3, second))]
        file.data(dict(blocks if n != 2 else blocks[::-1]))
    return file


def entries_of(file):
    return [entry for entry in IndexedFile.open(file.path).entries() if entry.info.kind == "data"]


def test_a_frame_that_looks_the_same_but_is_not_is_read_right(file):
    values = []
    with FrameReader(file.path) as reader:
        for entry in entries_of(file):
            position = [block.name for block in entry.info.blocks].index("u")
            out = sink(3, "aa", position=position)
            reader.read(entry, [out])
            values.append(out.columns["aa"][0])
    assert values == [0.5, 1.5, 2.5, 3.5, 4.5]


def test_the_words_before_the_values_are_checked_even_if_the_index_lies(file):
    entries = entries_of(file)
    values = []
    with FrameReader(file.path) as reader:
        for entry in entries:
            out = sink(3, "zz")
            if entry is entries[2]:
                with pytest.raises(ChangedFileError):
                    reader.read(entry._replace(info=entries[0].info), [out])
                continue
            reader.read(entry, [out])
            values.append(out.columns["zz"][0])
    assert values == [0.9, 1.9, 3.9, 4.9]


def test_several_blocks_of_a_frame_are_read_at_once(file):
    first, second = sink(3, "zz", "aa"), sink(3, "aa", position=1)
    with FrameReader(file.path) as reader:
        for entry in entries_of(file)[:2]:
            reader.read(entry, [second, first])

    assert first.ticks.tolist() == [200_000_000] * 3
    assert (first.columns["zz"][0], first.columns["aa"][0], second.columns["aa"][0]) == (1.9, 1.1, 1.5)


def test_far_apart_fields_of_large_frames_are_read_without_what_is_between(tmp_path):
    file = G3File(tmp_path / "1.g3")
    count = 20_000
    for n in range(3):
        file.block(np.arange(count), a=np.full(count, n + 0.5), b=np.zeros(count), c=np.full(count, n + 0.25))
    with FrameReader(file.path) as reader:
        for n, entry in enumerate(entries_of(file)):
            out = sink(count, "c", "a")
            reader.read(entry, [out])
            assert out.ticks[-1] == (count - 1) * 100_000_000
            assert set(out.columns["a"]) == {n + 0.5}
            assert set(out.columns["c"]) == {n + 0.25}


@pytest.mark.parametrize("cut", [1, 100, 700])
def test_a_file_that_became_shorter_is_not_what_its_index_says(file, cut):
    *_, before, last = entries_of(file)
    with FrameReader(file.path) as reader:
        reader.read(before, [sink(3, "aa")])
        file.path.write_bytes(file.path.read_bytes()[: -last.length + cut - 1])
        with pytest.raises(ChangedFileError, match=r"1\.g3"):
            reader.read(last, [sink(3, "aa")])


def test_a_frame_with_another_number_of_samples_is_not_what_its_index_says(file):
    with FrameReader(file.path) as reader, pytest.raises(ChangedFileError):
        reader.read(entries_of(file)[0], [sink(4, "aa")])


def test_a_block_is_read_whole(tmp_path):
    file = G3File(tmp_path / "1.g3").block([1.0, 2.0], x=[1.5, 2.5], n=["a", "é"], b=[True, False], i=[1, -300])
    *_, entry = entries_of(file)
    with FrameReader(file.path) as reader:
        ticks, columns = reader.block(entry.offset, entry.length, 0)
        with pytest.raises(ChangedFileError):
            reader.block(entry.offset + 1, entry.length, 0)

    assert ticks.tolist() == [100_000_000, 200_000_000]
    assert {name: list(values) for name, values in columns.items()} == {
        "x": [1.5, 2.5],
        "n": ["a", "é"],
        "b": [True, False],
        "i": [1, -300],
    }
