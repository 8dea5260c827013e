"""What is written to an index comes back; what does not fit is noticed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.hk.describe import BlockInfo, FrameInfo
from ocs.hk.index import (
    FrameEntry,
    IndexLines,
    StaleIndexError,
    fingerprint,
    index_path,
    parse_lines,
    parse_summary,
)

BEGINNING = b"session and so on" * 50

names = st.sampled_from(["a", "b", "ü\n", ""])
fields = st.dictionaries(names, st.sampled_from("fibs"), max_size=3)
block = st.builds(BlockInfo, names, st.integers(-5, 5), st.integers(5, 9), st.integers(0, 3), fields)
data = st.builds(FrameInfo, st.just("data"), names, names, st.lists(block, max_size=3).map(tuple))
infos = st.lists(st.one_of(data, st.sampled_from([FrameInfo("session"), FrameInfo("status")])), min_size=1, max_size=8)


def entries_of(some):
    offset = 0
    for number, info in enumerate(some, 1):
        yield FrameEntry(offset, number, info)
        offset += number


def lines_of(entries, name="1.g3"):
    lines = IndexLines(name)
    head = lines.first(fingerprint(BEGINNING, entries[0].length))
    return [head, *map(lines.frame, entries), lines.last()]


@given(infos)
def test_what_is_written_is_read(some):
    entries = list(entries_of(some))
    size = entries[-1].offset + entries[-1].length
    assert parse_lines(lines_of(entries), "1.g3", BEGINNING) == (entries, size)


@given(infos, st.sets(names))
def test_the_frames_of_some_feeds_can_be_read_alone(some, addresses):
    entries = list(entries_of(some))
    found = parse_lines(lines_of(entries), "1.g3", BEGINNING, addresses)

    assert found.covered == entries[-1].offset + entries[-1].length
    assert found.entries == [entry for entry in entries if entry.info.kind != "data" or entry.info.address in addresses]


@given(infos, st.data())
def test_a_torn_index_has_the_frames_before_the_tear(some, data):
    entries = list(entries_of(some))
    whole = b"".join(lines_of(entries))
    cut = data.draw(st.integers(len(lines_of(entries)[0]), len(whole)))
    lines = whole[:cut].splitlines(keepends=True)
    found, covered = parse_lines(lines, "1.g3", BEGINNING)

    assert found == entries[: len(found)]
    assert covered == sum(entry.length for entry in found)
    assert parse_lines(lines, "1.g3", BEGINNING, ["a"]).covered == covered
    assert len(found) >= whole[:cut].count(b"\n") - 2


@given(infos)
def test_the_last_line_sums_up_the_frames(some):
    entries = list(entries_of(some))
    first, *_, last = lines_of(entries)
    summary = parse_summary(first, last, "1.g3", BEGINNING)

    assert (summary.covered, summary.frames) == (entries[-1].offset + entries[-1].length, len(entries))
    expected = {}
    for entry in entries:
        for one in entry.info.blocks:
            if one.samples:
                key = entry.info.address, one.name, tuple(one.fields.items())
                start, end, samples = expected.get(key, (one.start, one.end, 0))
                expected[key] = min(start, one.start), max(end, one.end), samples + one.samples
    found = {
        (one.address, one.name, tuple(one.fields.items())): (one.start, one.end, one.samples) for one in summary.series
    }
    assert found == expected


def test_the_newest_of_two_equal_samples_is_the_one_written_last():
    info = FrameInfo("data", "a", "s", (BlockInfo("t", 1, 5, 2, {"x": "f"}),))
    older = FrameInfo("data", "a", "s", (BlockInfo("t", 1, 4, 2, {"x": "f"}),))
    lines = IndexLines("1.g3")
    for entry in entries_of([info, info, older]):
        lines.frame(entry)

    (series,) = lines.summary.series
    assert (series.offset, series.length, series.samples) == (1, 2, 6)


@pytest.mark.parametrize("other", [b"other" * 200, b"", BEGINNING[:3]])
def test_an_index_of_another_file_of_the_name_is_stale(other):
    entries = list(entries_of([FrameInfo("session")] * 6))
    entries[0] = entries[0]._replace(length=100)
    with pytest.raises(StaleIndexError):
        parse_lines(lines_of(entries), "1.g3", other)
    with pytest.raises(StaleIndexError):
        parse_summary(lines_of(entries)[0], lines_of(entries)[-1], "1.g3", other)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b"\xff\xfe\n"],
        [b"[1]\n"],
        [b'{"format":"ocs.hk.index","version":99,"file":"1.g3","head":[1,2]}\n'],
        [b'{"format":"ocs.hk.index","version":1,"file":"1.g3","head":[-4,0]}\n'],
        [b'{"format":"ocs.hk.index","version":1,"file":"1.g3"}\n'],
    ],
)
def test_what_is_no_index_is_stale(lines):
    with pytest.raises(StaleIndexError):
        parse_lines(lines, "1.g3", BEGINNING)


@pytest.mark.parametrize(
    "line", [b'{"o":0}\n', b'{"o":0,"n":-1,"k":"x"}\n', b'{"o":0,"n":5,"a":"b","s":"","b":[["t",1,2,3]]}\n']
)
def test_a_line_that_makes_no_sense_makes_the_index_stale(line):
    head = IndexLines("1.g3").first(fingerprint(BEGINNING, 500))
    with pytest.raises(StaleIndexError):
        parse_lines([head, line], "1.g3", BEGINNING)


def test_frames_told_twice_count_once_and_a_hole_ends_the_index():
    entries = list(entries_of([FrameInfo("session"), FrameInfo("status"), FrameInfo("status"), FrameInfo("status")]))
    head, first, second, third, fourth, last = lines_of(entries)

    assert parse_lines([head, first, second, last, first, second, third], "1.g3", BEGINNING).entries == entries[:3]
    assert parse_lines([head, first, second, fourth], "1.g3", BEGINNING).entries == entries[:2]


@pytest.mark.parametrize(
    ("path", "index"),
    [
        ("/data/hk/17900/1790000000.g3", "/data/hk/.index/17900/1790000000.g3.jsonl"),
        ("/data/copied/1790000000.g3", "/data/copied/.index/1790000000.g3.jsonl"),
        ("/data/179001/x.g3", "/data/179001/.index/x.g3.jsonl"),
    ],
)
def test_the_index_is_in_a_hidden_folder_of_the_data_folder(tmp_path, path, index):
    assert index_path(tmp_path / path[1:]) == tmp_path / index[1:]
