"""The index that the recorder keeps: as good as one made from the file, and no trouble for the recorder."""

import pytest

from ocs.hk.archive import IndexedFile
from ocs.hk.index import index_path
from ocs.hk.index_writer import IndexWriter
from tests.harness.g3_files import G3File


@pytest.fixture
def told():
    return []


@pytest.fixture
def writer(told):
    return IndexWriter(told.append)


def recorded(path):
    file = G3File(path).block([1.0, 2.0], x=[1.5, 2.5])
    return file.block([3.0], x=[3.5], n=["a"]).block([0.5], "u", n=["b"])


def feed(writer, file):
    for offset, content in file.places:
        writer.add_frame(str(file.path), offset, content)


def test_it_is_byte_for_byte_what_a_reader_would_make(tmp_path, writer, told):
    file = recorded(tmp_path / "17900" / "1.g3")
    feed(writer, file)
    writer.close()
    kept = index_path(file.path).read_bytes()
    index_path(file.path).unlink()
    IndexedFile.open(file.path)

    assert index_path(file.path).read_bytes() == kept
    assert told == []


def test_what_is_flushed_can_be_read_while_the_file_grows(tmp_path, writer):
    file = recorded(tmp_path / "1.g3")
    feed(writer, file)
    writer.flush()
    read = []
    opened = IndexedFile.open(file.path, keep=False, advance=read.append)

    assert read == []
    assert opened.summary.frames == len(file.places)


def test_a_frame_of_another_file_completes_the_index_of_the_last(tmp_path, writer):
    first, second = recorded(tmp_path / "1.g3"), recorded(tmp_path / "2.g3")
    feed(writer, first)
    feed(writer, second)

    assert b'"end":' in index_path(first.path).read_bytes()
    assert not index_path(second.path).exists()


def test_a_missing_frame_ends_the_index_and_leaves_none(tmp_path, writer, told):
    file = recorded(tmp_path / "1.g3")
    feed(writer, file)
    writer.flush()
    writer.add_frame(str(file.path), file.path.stat().st_size + 1, file.places[-1][1])
    writer.add_frame(str(file.path), file.path.stat().st_size + 2, file.places[-1][1])
    writer.close()

    assert not index_path(file.path).exists()
    assert len(told) == 1


def test_bytes_that_are_no_frame_end_the_index(tmp_path, writer, told):
    file = recorded(tmp_path / "1.g3")
    feed(writer, file)
    writer.add_frame(str(file.path), file.path.stat().st_size, b"nonsense")

    assert not index_path(file.path).exists()
    assert len(told) == 1


def test_a_folder_that_cannot_be_written_to_is_told_once_and_fails_nobody(tmp_path, writer, told):
    (tmp_path / ".index").write_text("in the way")
    file = recorded(tmp_path / "1.g3")
    feed(writer, file)
    writer.flush()
    writer.add_frame(str(file.path), file.path.stat().st_size, file.places[-1][1])
    writer.flush()
    writer.close()

    assert len(told) == 1
    assert str(file.path) in told[0]


def test_the_next_file_is_tried_again(tmp_path, writer):
    (tmp_path / ".index").write_text("in the way")
    feed(writer, recorded(tmp_path / "1.g3"))
    writer.flush()
    (tmp_path / ".index").unlink()
    second = recorded(tmp_path / "2.g3")
    feed(writer, second)
    writer.close()

    assert index_path(second.path).exists()


def test_a_file_that_is_begun_again_has_its_index_begun_again(tmp_path, writer, told):
    """Its first frames could not be written, so it was deleted, and made once more."""
    file = recorded(tmp_path / "1.g3")
    offset, content = file.places[0]
    writer.add_frame(str(file.path), offset, content)
    feed(writer, file)
    writer.close()

    assert told == []
    assert IndexedFile.open(file.path).summary.frames == len(file.places)


def test_an_old_index_of_the_name_is_written_over(tmp_path, writer):
    file = recorded(tmp_path / "1.g3")
    index_path(file.path).parent.mkdir()
    index_path(file.path).write_text("of an earlier file\n")
    feed(writer, file)
    writer.close()

    assert index_path(file.path).read_bytes().startswith(b'{"format":"ocs.hk.index"')


def test_lines_that_nobody_flushes_do_not_pile_up(tmp_path, writer):
    file = G3File(tmp_path / "1.g3").block([1.0], x=[1.0])
    _, content = file.places[-1]
    offset = file.path.stat().st_size
    feed(writer, file)
    with file.path.open("ab") as out:
        for _ in range(4000):
            out.write(content)
            writer.add_frame(str(file.path), offset, content)
            offset += len(content)

    assert index_path(file.path).stat().st_size > 100_000
