"""The whole way of an event into a file, without WAMP: what is sent is what other people's readers find."""

import errno
import math
import os
import queue
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocs.agents.aggregator import aggregator as aggregator_module
from ocs.agents.aggregator.drivers import Aggregator
from ocs.agents.aggregator.inbox import Inbox
from tests.harness.archive import (
    ADDRESS,
    Clock,
    Lines,
    envelope,
    event,
    files_of,
    frames_of,
    message,
    samples_in,
    scanned,
)

OTHER = "observatory.other.feeds.good"


def test_every_sample_sent_is_read_back_with_its_time_and_type(recording):
    times = [1_790_000_000.0 + i / 7 for i in range(500)]
    sent = {
        "f": [i * 0.1 for i in range(500)],
        "i": [i - 250 for i in range(500)],
        "b": [i % 3 == 0 for i in range(500)],
        "s": [f"text {i}" for i in range(500)],
    }
    for start in range(0, 500, 50):
        recording.send(event(times[start : start + 50], **{name: v[start : start + 50] for name, v in sent.items()}))
    found = recording.close()

    for name, values in sent.items():
        assert [value for _, value in found[f"{ADDRESS}.{name}"]] == values
        assert [when for when, _ in found[f"{ADDRESS}.{name}"]] == pytest.approx(times, abs=2.4e-7)


def test_so3g_scans_the_archive_and_finds_the_same(recording):
    for i in range(20):
        recording.send(event([float(i)], a=[i * 1.5], b=[i]))
    recording.close()

    assert recording.scanned() == {
        f"{ADDRESS}.a": [(float(i), i * 1.5) for i in range(20)],
        f"{ADDRESS}.b": [(float(i), i) for i in range(20)],
    }


def test_a_file_has_session_then_status_then_data_in_the_schema_of_the_archive(recording):
    recording.send(event([1.0], a=[1.0]))
    recording.close()
    (path,) = files_of(recording.folder)
    session, status, news, data = frames_of(path)

    assert path.parent.name == "17900"
    assert path.name == "1790000000.g3"
    assert {frame.type.name for frame in (session, status, news, data)} == {"Housekeeping"}
    assert {frame["hkagg_version"] for frame in (session, status, news, data)} == {2}
    assert [frame["hkagg_type"] for frame in (session, status, news, data)] == [0, 1, 1, 2]
    assert (session["description"], session["start_time"]) == ("HK data", recording.clock.now)
    assert len({frame["session_id"] for frame in (session, status, news, data)}) == 1
    assert [(p["prov_id"].value, p["description"].value) for p in news["providers"]] == [(0, ADDRESS)]
    assert (data["prov_id"], data["address"], data["provider_session_id"]) == (0, ADDRESS, "1790000000.5")
    assert list(data["block_names"]) == ["t"]
    assert {type(value).__name__ for value in data["blocks"]} == {"G3TimesampleMap"}


BAD_EVENTS = {
    "timestamp None": event([None], a=[1]),
    "timestamp text": event(["now"], a=[1]),
    "timestamps None": event(None, a=[1]),
    "timestamp NaN": event([math.nan], a=[1]),
    "timestamp infinite": event([math.inf], a=[1]),
    "timestamp beyond 64 bits": event([10**30], a=[1]),
    "changed keys": event([5.0], z=[1]),
    "unequal lengths": event([5.0, 6.0], a=[1]),
    "more values than times": event([5.0], a=[1, 2, 3]),
    "mixed int and float": event([5.0, 6.0], a=[1, 2.5]),
    "mixed text and float": event([5.0, 6.0], a=["x", 2.5]),
    "integer over 64 bits": event([5.0], a=[2**70]),
    "integer over a float": event([5.0], a=[10**400]),
    "None value": event([5.0], a=[None]),
    "nested list": event([5.0], a=[[1, 2]]),
    "ragged list": event([5.0, 6.0], a=[[1, 2], [3]]),
    "map as value": event([5.0], a=[{"b": 1}]),
    "bytes": event([5.0], a=[b"\xff\x00"]),
    "bool for int": event([5.0], a=[True]),
    "agg_params None": [message([5.0], a=[1]), envelope(agg_params=None)],
    "agg_params of wrong types": [message([5.0], a=[1]), envelope(agg_params={"frame_length": "x", "fresh_time": []})],
    "agg_params a list": [message([5.0], a=[1]), envelope(agg_params=[1])],
    "no envelope keys": [message([5.0], a=[1]), {"record": True}],
    "address a number": [message([5.0], a=[1]), {**envelope(), "address": 7}],
    "session id a list": [message([5.0], a=[1]), envelope(session_id=[1])],
    "session id missing": [message([5.0], a=[1]), {k: v for k, v in envelope().items() if k != "session_id"}],
    "a megabyte of text": event([5.0], a=["x" * 1_000_000]),
    "a megabyte of name": event([5.0], **{"x" * 1_000_000: [1]}),
    "data None": [None, envelope()],
    "data a text": ["text", envelope()],
    "data a list": [[1, 2], envelope()],
    "block None": [{"t": None}, envelope()],
    "block without data": [{"t": {"timestamps": [1.0]}}, envelope()],
    "hostile field names": event([5.0], **{"": [1], "a\n\0": [2], "../../etc": [3], "{x}": [4], "ä" * 300: [5]}),
    "hostile block name": [message([5.0], block="../\0\n{}%s" * 50, a=[1]), envelope()],
    "names that are no text": [{5: {"timestamps": [5.0], "data": {1: [1], None: [2], 2.5: [3]}}}, envelope()],
    "half a surrogate pair": event([5.0], a=["\ud800"]),
    "duplicate names once corrected": event([5.0], **{"a b": [1], "a_b": [2], "a  b": [3], "a__b": [4]}),
}


@pytest.mark.parametrize("bad", BAD_EVENTS.values(), ids=BAD_EVENTS.keys())
def test_one_bad_message_costs_nobody_a_sample(recording, bad):
    for i in range(4):
        recording.send(event([10.0 + i], a=[i], b=[0.5]), event([10.0 + i], OTHER, x=[i]))
        if i == 1:
            recording.send(bad)
    recording.close()
    found = recording.scanned()

    assert found[f"{OTHER}.x"] == [(10.0 + i, i) for i in range(4)]
    assert {(10.0 + i, i) for i in range(4)} <= set(found[f"{ADDRESS}.a"])
    assert {(10.0 + i, 0.5) for i in range(4)} <= set(found[f"{ADDRESS}.b"])


@pytest.mark.parametrize("name", ["timestamp None", "None value", "unequal lengths", "data None", "no envelope keys"])
def test_what_is_dropped_is_counted_and_logged_once(recording, name):
    for _ in range(50):
        recording.send(BAD_EVENTS[name])
    recording.close()

    assert sum(recording.session.data["faults"].values()) >= 1
    assert len(recording.log.lines) == 1


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.lists(st.none(), max_size=2)
)
COLUMNS = st.one_of(VALUES, st.lists(VALUES, max_size=4))
MESSAGES = st.one_of(
    VALUES,
    st.dictionaries(
        st.text(max_size=3),
        st.one_of(
            VALUES,
            st.fixed_dictionaries(
                {"timestamps": COLUMNS, "data": st.dictionaries(st.text(max_size=3), COLUMNS, max_size=3)}
            ),
        ),
        max_size=2,
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(MESSAGES, max_size=8))
def test_garbage_of_any_kind_leaves_a_readable_archive_with_all_good_samples(garbage):
    folder = Path(tempfile.mkdtemp())
    try:
        inbox = Inbox()
        inbox.open()
        aggregator = Aggregator(inbox, 3600, folder, clock=Clock(), log=Lines())
        for i, data in enumerate(garbage):
            inbox.put([data, envelope()])
            inbox.put([message([float(i)], good=[i + 0.25]), envelope(OTHER)])
            aggregator.run()
        aggregator.close()
        found = samples_in(files_of(folder))
        assert found.get(f"{OTHER}.good", []) == [(float(i), i + 0.25) for i in range(len(garbage))]
        assert "unforeseen" not in aggregator.tally.faults
    finally:
        shutil.rmtree(folder)


def test_a_frame_is_written_every_frame_length(recording):
    feed = envelope(agg_params={"frame_length": 10})
    for i in range(31):
        recording.send([message([float(i)], a=[i]), feed])
        recording.clock.advance(1)

    (path,) = files_of(recording.folder)
    frames = [frame for frame in frames_of(path) if frame["hkagg_type"] == 2]
    assert [len(frame["blocks"][0].times) for frame in frames] == [11, 11]
    recording.close()
    assert len(recording.samples()[f"{ADDRESS}.a"]) == 31


def test_a_silent_provider_is_written_out_and_taken_off_the_list(recording):
    recording.send(event([1.0], a=[1]), [message([1.0], x=[1]), envelope(OTHER, agg_params={"fresh_time": 1e6})])
    recording.clock.advance(181)
    recording.send()

    (path,) = files_of(recording.folder)
    frames = frames_of(path)
    assert [frame["hkagg_type"] for frame in frames] == [0, 1, 1, 2, 1]
    assert [p["description"].value for p in frames[-1]["providers"]] == [OTHER]
    assert list(recording.session.data["providers"]) == [OTHER]
    recording.close()


def test_each_run_of_an_agent_is_a_provider_of_its_own(recording):
    recording.send(event([1.0], a=[1]), [message([2.0], a=[2]), envelope(session_id="1790000005.0")])
    recording.close()

    data = [frame for frame in frames_of(files_of(recording.folder)[0]) if frame["hkagg_type"] == 2]
    assert [(f["prov_id"], f["provider_session_id"]) for f in data] == [(0, "1790000000.5"), (1, "1790000005.0")]
    assert recording.scanned()[f"{ADDRESS}.a"] == [(1.0, 1), (2.0, 2)]


def test_a_new_file_begins_when_the_time_is_up_and_the_old_one_is_complete(recording):
    recording.send(event([1.0], a=[1]))
    recording.clock.advance(3600)
    recording.send(event([2.0], a=[2]))
    recording.clock.advance(1)
    recording.send(event([3.0], a=[3]))

    old, new = files_of(recording.folder)
    assert samples_in([old]) == {f"{ADDRESS}.a": [(1.0, 1), (2.0, 2)]}
    assert [frame["hkagg_type"] for frame in frames_of(new)] == [0, 1]
    assert recording.session.data["current_file"] == str(new)
    recording.close()
    assert scanned([new]) == {f"{ADDRESS}.a": [(3.0, 3)]}
    assert frames_of(old)[0]["session_id"] == frames_of(new)[0]["session_id"]


def test_an_excluded_feed_is_not_recorded(recording):
    recording.send([message([1.0], a=[1]), envelope(agg_params={"exclude_aggregator": True})])

    assert recording.close() == {}
    assert recording.session.data["providers"] == {}


def test_the_session_shows_file_and_providers(recording):
    recording.clock.advance(1)
    recording.send(event([1.0], a=[1]))
    data = recording.session.data

    assert data["current_file"] == str(recording.folder / "17900" / "1790000000.g3")
    assert data["providers"] == {
        ADDRESS: {
            "last_refresh": recording.clock.now,
            "sessid": "1790000000.5",
            "stale": False,
            "last_block_received": "t",
        }
    }
    recording.close()
    assert recording.session.data["values_recorded"] == 1


def test_two_aggregators_in_one_folder_and_second_write_two_files(tmp_path):
    clock = Clock()
    for value in (1, 2):
        inbox = Inbox()
        inbox.open()
        aggregator = Aggregator(inbox, 3600, tmp_path, clock=clock, log=Lines())
        inbox.put(event([float(value)], a=[value]))
        aggregator.close()

    assert len(files_of(tmp_path)) == 2
    assert samples_in(files_of(tmp_path)) == {f"{ADDRESS}.a": [(1.0, 1), (2.0, 2)]}


def test_a_data_folder_replaced_by_a_file_is_survived(recording):
    """The folder becomes unusable, for root too: the open file goes on, the rest waits, nothing is lost."""
    recording.send(event([1.0], a=[1]))
    hidden = recording.folder.with_name("hidden")
    recording.folder.rename(hidden)
    recording.folder.write_text("in the way")
    recording.clock.advance(3600)
    recording.send(event([2.0], a=[2]))
    recording.clock.advance(1)
    recording.send(event([3.0], a=[3]))

    assert recording.session.degraded
    assert "no new file can be made" in recording.session.data["trouble"]
    assert len(recording.session.messages) == 1
    recording.folder.unlink()
    recording.clock.advance(1)
    recording.send(event([4.0], a=[4]))
    assert not recording.session.degraded
    assert recording.session.data["trouble"] is None
    recording.close()
    found = samples_in(files_of(recording.folder) + files_of(hidden))
    assert found == {f"{ADDRESS}.a": [(float(i), i) for i in range(1, 5)]}


def test_data_waits_in_bounded_memory_while_no_file_can_be_made(tmp_path, recording):
    """What cannot be kept is counted: recorded and dropped together are what was sent."""
    writer = recording.aggregator.writer
    writer._max_waiting = 20_000
    writer._file.append = lambda frame: (_ for _ in ()).throw(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    for i in range(100):
        recording.send([message([float(i)] * 100, a=[float(i)] * 100), envelope(agg_params={"frame_length": 0.5})])
        recording.clock.advance(1)
    assert recording.session.degraded
    assert recording.session.data["waiting_bytes"] <= 20_000
    del writer._file.append
    found = recording.close()

    kept = len(found[f"{ADDRESS}.a"])
    assert 0 < kept < 10_000
    assert kept + recording.session.data["dropped"]["disk"] == 10_000


def test_many_providers_are_written_early_before_they_fill_the_memory(recording, monkeypatch):
    monkeypatch.setattr(aggregator_module, "MAX_BUFFERED_BYTES", 100_000)
    for number in range(20):
        recording.send(event([1.0] * 1000, f"observatory.a{number}.feeds.b", a=[1.0] * 1000))
    buffered = sum(provider.size for provider in recording.aggregator.providers.values())

    assert buffered <= 100_000
    recording.close()
    assert recording.session.data["values_recorded"] == 20_000


def test_feeds_beyond_the_bound_are_counted_and_the_others_go_on(recording, monkeypatch):
    monkeypatch.setattr(aggregator_module, "MAX_PROVIDERS", 1)
    recording.send(event([1.0], a=[1]), event([1.0], OTHER, x=[1, 2]), event([2.0], a=[2]))
    recording.close()

    assert recording.samples() == {f"{ADDRESS}.a": [(1.0, 1), (2.0, 2)]}
    assert recording.session.data["faults"] == {"providers": 1}


def test_it_takes_events_from_an_ordinary_queue_as_well(tmp_path):
    events = queue.Queue()
    aggregator = Aggregator(events, 3600, str(tmp_path))
    events.put((message([1.0], a=[1]), envelope()))
    aggregator.run()
    aggregator.close()

    assert samples_in(files_of(tmp_path)) == {f"{ADDRESS}.a": [(1.0, 1)]}


def test_write_to_disk_writes_everything_on_request(recording):
    recording.inbox.put(event([1.0], a=[1]))
    recording.aggregator.process_incoming_data()
    recording.aggregator.write_to_disk(write_all=True)

    assert recording.samples() == {f"{ADDRESS}.a": [(1.0, 1)]}
    recording.close()


def test_a_field_that_turned_text_can_still_be_read_as_numbers(recording):
    recording.send(event([1.0], a=[1.5]), event([2.0], a=["error"]), event([3.0], a=[2.5]))
    recording.close()

    assert recording.scanned() == {f"{ADDRESS}.a": [(1.0, 1.5), (3.0, 2.5)], f"{ADDRESS}.a_text": [(2.0, "error")]}


def test_a_field_added_later_is_seen_by_so3g(recording):
    recording.send(event([1.0], a=[1]), event([2.0], a=[2], b=[7]))
    recording.close()

    assert recording.scanned()[f"{ADDRESS}.b"] == [(2.0, 7)]
