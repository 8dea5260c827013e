"""The last lines of a child, and its log files."""

import threading
from itertools import pairwise

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import DeferredSemaphore

from ocs.supervisor.output import ChildOutput, LogFile, Tail


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


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 6))
def test_following_shows_every_line_once_as_long_as_it_keeps_up(bursts, kept):
    tail, output = Tail(lines=kept), ChildOutput(None, None)
    output.tail = tail
    _none, position = output.read_since(None, 10)
    shown, printed = [], 0
    for burst in bursts:
        for _ in range(burst):
            tail.feed(f"{printed}\n".encode())
            printed += 1
        lines, position = output.read_since(position, 10)
        missed = [line for line in lines if "too fast" in line]
        assert missed == (
            [f"  --- {burst - kept} lines came too fast to be shown; the log file has them"] * (burst > kept)
        )
        shown += lines[len(missed) :]
        assert shown[-min(burst, kept) :] == [str(n) for n in range(printed - min(burst, kept), printed)] or not burst
    assert position == printed


def test_following_goes_on_in_pieces():
    output = ChildOutput(None, None)
    output.tail.feed(b"".join(b"%d\n" % n for n in range(10)))
    first, position = output.read_since(4, limit=3)
    rest, end = output.read_since(position, limit=100)
    assert (first, rest, end) == (["4", "5", "6"], ["7", "8", "9"], 10)


def test_a_position_of_an_earlier_supervisor_gives_all_there_is():
    output = ChildOutput(None, None)
    output.tail.feed(b"a\nb\n")
    assert output.read_since(5000, limit=100)[0][-2:] == ["a", "b"]


def test_without_a_position_the_last_lines_are_given():
    output = ChildOutput(None, None)
    output.tail.feed(b"".join(b"%d\n" % n for n in range(10)))
    assert output.read_since(limit=3) == (["7", "8", "9"], 10)


@pytest_twisted.ensureDeferred
async def test_what_a_disk_refused_is_counted_and_told_where_it_is_missing(tmp_path):
    output = ChildOutput(reactor, LogFile(tmp_path / "gone" / "a.log"))
    output.write(b"lost\n")
    await output.drained()
    assert output.lost_bytes == 5
    assert "No such file" in output.trouble
    (tmp_path / "gone").mkdir()
    output.write(b"kept\n")
    await output.drained()
    assert output.trouble == ""
    text = (tmp_path / "gone" / "a.log").read_text()
    assert text.startswith("\n  --- 5 bytes are missing here: [Errno 2] No such file")
    assert text.endswith("\nkept\n")


@pytest_twisted.ensureDeferred
async def test_disks_that_hang_take_only_so_many_threads(tmp_path):
    writers, go_on, writing = DeferredSemaphore(2), threading.Event(), threading.Semaphore(0)

    class Hanging(LogFile):
        def append(self, data):
            writing.release()
            assert go_on.wait(30)
            super().append(data)

    outputs = [ChildOutput(reactor, Hanging(tmp_path / f"{n}.log"), writers=writers) for n in range(10)]
    for output in outputs:
        output.write(b"line\n")
    assert writing.acquire(timeout=10)
    assert writing.acquire(timeout=10)
    assert not writing.acquire(timeout=0.05)
    go_on.set()
    for output in outputs:
        await output.drained()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["line\n"] * 10


@pytest_twisted.ensureDeferred
async def test_the_end_of_a_log_file_is_recalled_in_whole_lines(tmp_path):
    path = tmp_path / "a.log"
    path.write_text("".join(f"line {n:05}\n" for n in range(20000)))
    output = ChildOutput(reactor, LogFile(path))
    await output.recall()
    assert output.tail.lines() == [f"line {n:05}" for n in range(19600, 20000)]
    nothing = ChildOutput(reactor, LogFile(tmp_path / "none.log"))
    await nothing.recall()
    assert nothing.tail.lines() == []


def test_a_note_stands_on_a_line_of_its_own_and_ends_one_that_was_begun():
    output = ChildOutput(None, None)
    output.tail.feed(b"begun")
    output.note("a note")
    output.tail.feed(b"next\n")
    assert output.tail.lines() == ["begun", "next"]
