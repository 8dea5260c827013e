"""The format: what is read is what was written, or less; never something else."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.errors import JournalValueError
from ocs.journal.records import RECORD_BYTES, Entry, encode, scan

entries = st.builds(Entry, st.integers(0, 2**64 - 1), st.integers(0, 255), st.binary(max_size=40))


def encoded(found):
    return b"".join(piece for entry in found for piece in encode(entry.index, entry.kind, [entry.body])[0])


def scanned(content):
    return [entry for entry, _ in scan(lambda size, at: content[at : at + size], 0, len(content))]


@given(st.lists(entries))
def test_what_was_written_is_read(written):
    assert scanned(encoded(written)) == written


@given(st.lists(entries, min_size=1), st.data())
def test_of_a_cut_file_the_whole_entries_are_read(written, data):
    content = encoded(written)
    size = data.draw(st.integers(0, len(content)))
    found = scanned(content[:size])
    assert found == written[: len(found)]
    assert len(found) == len(written) or len(encoded(written[: len(found) + 1])) > size


@given(st.lists(entries, min_size=1), st.data())
def test_of_a_file_with_one_wrong_byte_what_stands_before_is_read(written, data):
    content = bytearray(encoded(written))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    whole = next(n for n in range(len(written)) if len(encoded(written[: n + 1])) > at)
    assert scanned(bytes(content)) == written[:whole]


@given(st.binary(max_size=200))
def test_rubbish_is_read_without_an_error(content):
    scanned(content)


def test_zeros_are_no_entries():
    assert scanned(bytes(1000)) == []


def test_a_length_that_cannot_be_allocates_nothing():
    content = b"\xff\xff\xff\x3f" + bytes(100)
    tracemalloc.start()
    try:
        assert scanned(content) == []
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_a_body_larger_than_a_block_is_read():
    written = [Entry(1, 1, b"a"), Entry(2, 2, bytes(700_000)), Entry(3, 3, b"b" * 300_000), Entry(4, 4, b"")]
    assert scanned(encoded(written)) == written


def test_pieces_are_one_body_of_any_kind_of_bytes():
    pieces, size = encode(5, 6, [b"ab", bytearray(b"cd"), memoryview(b"xefx")[1:3], b""])
    assert scanned(b"".join(pieces)) == [Entry(5, 6, b"abcdef")]
    assert size == RECORD_BYTES + 6


def test_a_large_body_is_not_copied():
    body = bytes(1_000_000)
    assert any(piece is body for piece in encode(1, 1, [body])[0])


@pytest.mark.parametrize(("index", "kind"), [(-1, 0), (2**64, 0), (0, 256), (0, -1), (1.5, 0), ("1", 0)])
def test_numbers_out_of_range_are_refused(index, kind):
    with pytest.raises(JournalValueError, match="not what an entry can have"):
        encode(index, kind, [b""])


def test_a_body_that_is_too_long_is_refused(monkeypatch):
    monkeypatch.setattr("ocs.journal.records.MAX_BODY", 3)
    with pytest.raises(JournalValueError, match="4 bytes"):
        encode(1, 1, [b"ab", b"cd"])
