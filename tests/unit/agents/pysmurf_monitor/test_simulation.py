"""What the simulator says: the same with the same seed, in order, and of the shape that the monitor expects."""

import json
import re
from collections import Counter
from dataclasses import replace
from itertools import islice

import pytest

from ocs.agents.pysmurf_monitor.messages import parse
from ocs.agents.pysmurf_monitor.simulation import Plan, day, steady, until

START = 1_790_000_000.0
PLAN = Plan("/data", START, streams=("crate1slot2", "crate1slot3"), rate=10.0, metadata_rate=5.0)

SMURF = re.compile(r"/data/smurf_data/\d{8}/(crate1slot\d)/(\d{10})/(outputs|plots)/\2_\w+_\d{4}\.(npy|png|txt)")
TIMESTREAM = re.compile(r"/data/timestreams/\d{5}/(crate1slot\d)/\d{10}_\d{3}\.g3")


def some(plan=PLAN, number=500):
    return list(islice(steady(plan), number))


def files(messages):
    return [message for message in messages if message.file]


@pytest.fixture(scope="module")
def whole_day():
    return day(replace(PLAN, metadata_rate=0.1))


@pytest.mark.parametrize("make", [some, day])
def test_equal_seeds_say_the_same(make):
    assert list(make(PLAN)) == list(make(PLAN))


@pytest.mark.parametrize("make", [some, day])
def test_another_seed_says_something_else(make):
    assert list(make(PLAN)) != list(make(replace(PLAN, seed=1)))


@pytest.mark.parametrize("make", [some, day])
def test_times_only_go_on(make):
    moments = [message.at for message in make(PLAN)]
    assert moments == sorted(moments)


@pytest.mark.parametrize("make", [some, day])
def test_no_file_comes_twice(make):
    paths = [message.file for message in files(make(PLAN))]
    assert len(set(paths)) == len(paths) > 0


@pytest.mark.parametrize("make", [some, day])
def test_files_are_where_a_smurf_server_has_them(make):
    for message in files(make(PLAN)):
        shape = TIMESTREAM if message.kind == "g3_file" else SMURF
        assert shape.fullmatch(message.file), message.file


@pytest.mark.parametrize("make", [some, day])
def test_every_stream_has_files_of_every_kind(make):
    kinds = {(each.pub_id.removeprefix("STREAMER:"), each.file.rpartition(".")[2]) for each in files(make(PLAN))}
    assert kinds == {(stream, kind) for stream in PLAN.streams for kind in ("npy", "png", "txt", "g3")}


def test_everything_that_a_publisher_says_is_said(whole_day):
    kinds = Counter(message.kind for message in whole_day)
    assert kinds.keys() == {"data_file", "g3_file", "session_log", "session_data", "metadata"}
    assert kinds.keys() == {message.kind for message in some()}


def test_a_steady_stream_keeps_its_rate():
    within_ten_seconds = files(until(steady(PLAN), seconds=10.0))
    assert len(within_ten_seconds) == 100


def test_registers_come_at_a_rate_of_their_own():
    messages = until(steady(PLAN), seconds=10.0)
    assert sum(message.kind == "metadata" for message in messages) == 50


def test_no_registers_at_rate_0():
    messages = until(steady(replace(PLAN, metadata_rate=0.0)), seconds=10.0)
    assert "metadata" not in {message.kind for message in messages}


def test_a_day_has_its_files_for_each_stream(whole_day):
    of_each = Counter(message.pub_id for message in files(whole_day))
    # 24 IV curves of 34 files, 24 bias steps of 8, 12 noise of 6, 2 bgmaps of 27, 2 relocks of 26, one setup of 92
    assert of_each["crate1slot2"] == of_each["crate1slot3"] == 816 + 192 + 72 + 54 + 52 + 92
    assert of_each["STREAMER:crate1slot2"] == 24 * 5


def test_a_day_is_as_long_as_a_day(whole_day):
    assert 86_000 < whole_day[-1].at < 86_460


def test_names_tell_the_times_they_are_of():
    for message in files(some()):
        ctime = int(message.file.rpartition("/")[2].split("_")[0])
        assert START <= ctime <= START + message.at


def test_a_datagram_is_what_a_publisher_sends():
    (message,) = islice(files(some()), 1)

    told = json.loads(message.datagram(START, 17))

    assert told.keys() == {"host", "id", "script", "time", "seq_no", "type", "payload"}
    assert (told["id"], told["type"], told["seq_no"]) == ("crate1slot2", "data_file", 17)
    assert told["time"] == START + message.at
    assert told["payload"].keys() >= {"path", "timestamp", "action", "action_ts", "plot", "format"}


def test_what_is_announced_is_the_file_but_that_arrays_may_lack_their_suffix():
    announced = [(message.payload["path"], message.file) for message in files(some())]
    assert {file.removeprefix(path) for path, file in announced} == {"", ".npy"}


def test_timestreams_are_told_by_the_streamer():
    streams = [message for message in some() if message.kind == "g3_file"]
    assert {message.payload["archive_name"] for message in streams} == {"timestreams"}
    assert {message.pub_id for message in streams} == {"STREAMER:crate1slot2", "STREAMER:crate1slot3"}


@pytest.mark.parametrize(("wanted", "found"), [(1, 1), (20, 20), (21, 21), (0, 0)])
def test_a_stream_ends_after_so_many_files(wanted, found):
    assert len(files(until(steady(PLAN), files=wanted))) == found


def test_a_stream_ends_with_whichever_end_comes_first():
    assert len(files(until(steady(PLAN), files=5, seconds=1.0))) == 5
    assert len(files(until(steady(PLAN), files=50, seconds=1.0))) == 10


@pytest.mark.parametrize("make", [some, day])
def test_the_monitor_understands_all_of_it(make):
    for number, message in enumerate(make(PLAN)):
        understood = parse(message.datagram(START, number))
        assert understood.path == message.file if message.file else understood.kind in ("session", "metadata")
