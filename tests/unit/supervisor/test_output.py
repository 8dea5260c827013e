"""The last lines of a child, and its log files."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.supervisor.output import LogFile, Tail


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=20), st.integers(1, 5))
def test_a_tail_is_the_same_however_the_stream_is_cut(data, cuts, kept):
    whole, cut = Tail(lines=kept), Tail(lines=kept)
    whole.feed(data)
    edges = [0, *sorted(cuts), len(data)]
    for start, end in pairwise(edges):
        cut.feed(data[start:end])
    assert cut.lines() == whole.lines()
    assert len(whole.lines()) <= kept + 1


@given(st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20), min_size=1, max_size=30))
def test_a_tail_holds_the_last_lines(lines):
    tail = Tail(lines=5)
    tail.feed("".join(f"{line}\n" for line in lines).encode())
    assert tail.lines() == lines[-5:]
    assert tail.last_line() == lines[-1]


def test_a_character_cut_in_two_arrives_whole():
    tail = Tail()
    for byte in "température 4 µK\n".encode():
        tail.feed(bytes([byte]))
    assert tail.lines() == ["température 4 µK"]


def test_binary_colours_and_control_characters_are_harmless():
    tail = Tail()
    tail.feed(b"\x1b[31mred\x1b[0m \x00\x07\xff end\r\n")
    assert tail.lines() == ["red \ufffd end"]


def test_a_line_without_end_does_not_grow():
    tail = Tail(width=100)
    for _ in range(1000):
        tail.feed(b"x" * 8192)
    assert tail.lines() == ["x" * 100]


def test_the_last_line_is_one_that_says_something():
    tail = Tail()
    tail.feed(b"disk full\n\n  \n")
    assert tail.last_line() == "disk full"


def test_a_log_file_rotates_and_loses_nothing(tmp_path):
    log = LogFile(tmp_path / "a.log", max_bytes=100, keep=20)
    pieces = [f"{i:04d}\n".encode() for i in range(300)]
    for piece in pieces:
        log.append(piece)
    files = sorted(tmp_path.glob("a.log.*"), key=lambda path: -int(path.suffix[1:]))
    assert b"".join(path.read_bytes() for path in [*files, tmp_path / "a.log"]) == b"".join(pieces)
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())


def test_only_so_many_old_log_files_are_kept(tmp_path):
    log = LogFile(tmp_path / "a.log", max_bytes=10, keep=2)
    for i in range(50):
        log.append(b"%09d\n" % i)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log", "a.log.1", "a.log.2"]
    assert (tmp_path / "a.log.1").read_bytes() == b"000000048\n"


def test_a_log_folder_that_is_gone_is_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        LogFile(tmp_path / "gone" / "a.log").append(b"x")
