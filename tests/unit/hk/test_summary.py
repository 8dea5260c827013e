import pytest

from ocs.agents.aggregator.drivers import Aggregator
from ocs.agents.aggregator.inbox import Inbox
from ocs.errors import RecordingError
from ocs.hk import DamagedFileError, archive_files, quiet_library, read_file, summarize
from tests.harness.archive import ADDRESS, Clock, Lines, envelope, event, message


@pytest.fixture
def record(tmp_path):
    """Write events into one new file of the folder and return its path."""
    clock = Clock()

    def write(*events):
        inbox = Inbox()
        inbox.open()
        aggregator = Aggregator(inbox, 3600, tmp_path, clock=clock, log=Lines())
        path = aggregator.writer.current_file
        for one in events:
            inbox.put(one)
        aggregator.close()
        clock.advance(1)
        return tmp_path / path

    return write


def test_a_feed_is_summed_up_over_files(record):
    first = record(event([10.0, 11.0], a=[1, 2], b=["x", "y"]))
    second = record(event([12.5], a=[3]))
    (feed,), damage = summarize([first, second])

    assert damage == []
    assert (feed.address, feed.instance, feed.feed) == (ADDRESS, "a", "b")
    assert (feed.samples, feed.values, feed.oldest, feed.newest) == (3, 5, 10.0, 12.5)
    assert {name: (f.newest, f.value) for name, f in feed.fields.items()} == {"a": (12.5, 3), "b": (11.0, "y")}


def test_the_newest_value_is_that_of_the_latest_time_whatever_the_order(record):
    (feed,), _ = summarize([record(event([12.0, 10.0], a=[2, 1]), event([11.0], a=[7]))])

    assert (feed.newest, feed.fields["a"].value) == (12.0, 2)


def test_feeds_are_sorted_by_address(record):
    path = record([message([1.0], a=[1]), envelope("o.z.feeds.f")], [message([1.0], a=[1]), envelope("o.a.feeds.f")])

    assert [feed.address for feed in summarize([path])[0]] == ["o.a.feeds.f", "o.z.feeds.f"]


@pytest.mark.parametrize("cut", [1, 50, 100])
def test_a_torn_file_is_named_and_read_up_to_the_last_whole_frame(record, cut):
    whole = record(event([1.0], a=[1]), [message([1.0], a=[1]), envelope("o.later.feeds.f")])
    torn = whole.with_name("torn.g3")
    torn.write_bytes(whole.read_bytes()[:-cut])
    feeds, (error,) = summarize([torn])

    assert [feed.address for feed in feeds] == [ADDRESS]
    assert (error.path, error.frames) == (torn, 4)
    assert str(torn) in str(error)


def test_a_damaged_file_does_not_keep_the_others_from_being_read(record, capfd):
    good = record(event([1.0], a=[1]))
    bad = good.with_name("0.g3")
    bad.write_bytes(b"\xff" * 5000)
    feeds, damage = summarize([bad, good])

    assert [feed.samples for feed in feeds] == [1]
    assert [error.path for error in damage] == [bad]
    assert capfd.readouterr().err == ""


def test_a_flipped_bit_is_noticed(record):
    path = record(event([1.0], a=[1]))
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)

    with quiet_library(), pytest.raises(DamagedFileError):
        list(read_file(path))


def test_progress_is_told_in_bytes_of_the_files(record):
    paths = [record(event([1.0], a=[1])), record(event([2.0], a=[1]))]
    told = []
    summarize(paths, progress=lambda *step: told.append(step))

    total = sum(path.stat().st_size for path in paths)
    assert told[-1] == ("indexing", total, total)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_files_are_found_at_any_depth_in_the_order_of_their_names(tmp_path):
    for name in ("b/2.g3", "a/3.g3", "c/d/1.g3", "note.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    assert [path.name for path in archive_files(tmp_path)] == ["1.g3", "2.g3", "3.g3"]
    assert archive_files(tmp_path / "note.txt") == [tmp_path / "note.txt"]


def test_a_place_without_files_is_an_error_that_names_it(tmp_path):
    with pytest.raises(RecordingError, match=r"no file or folder .*gone"):
        archive_files(tmp_path / "gone")
    with pytest.raises(RecordingError, match=r"no \.g3 file in"):
        archive_files(tmp_path)
