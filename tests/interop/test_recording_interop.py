"""Both aggregators record the agents of both packages at the same time; what they wrote is what was published.

The publishers keep a log of their own, so that neither recorder is the other's only measure.
"""

import json
import math
import time
from collections import Counter, defaultdict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ocs.hk import load
from tests.harness.archive import files_of, frames_of, scanned
from tests.harness.peers import SIDES

pytestmark = pytest.mark.interop

SAMPLER = Path(__file__).parent / "agents" / "sampler.py"
ROUNDS = 100  # a twentieth of a second each, so that several files are begun meanwhile
TICKS = 10**8  # a G3Time counts tens of nanoseconds
BLOCKS = ("mixed", "floats", "ints", "many")
# In doubles a time of today times 1e8 is good to 16 ticks; the published aggregator leaves it at that.
SLACK = {"ours": 0, "published": 16}


@pytest.fixture(scope="module")
def recorded(start, tmp_path_factory):
    """Record for some seconds, and return (folder of each aggregator, log of each publisher)."""
    directory = tmp_path_factory.mktemp("recorded")
    folders = {side: directory / f"by-{side}" for side in SIDES}
    logs = {side: directory / f"log-{side}" for side in SIDES}
    recorders = {}
    for side, folder in folders.items():
        folder.mkdir()
        arguments = ["--data-dir", str(folder), "--initial-state", "record", "--time-per-file", "2"]
        recorders[side] = start(side, f"agg-{side}", "AggregatorAgent", arguments)
    for recorder in recorders.values():
        recorder.wait_until_ready()
    publishers = [
        start(side, f"lab-{side}", "SamplerAgent", ["--log", str(log)], program=[str(SAMPLER)])
        for side, log in logs.items()
    ]
    publishers += [start(side, f"fake-{side}", "FakeDataAgent", ["--mode", "acq"]) for side in SIDES]
    for publisher in publishers:
        publisher.wait_until_ready()
    for publisher in publishers[: len(logs)]:
        until_published(publisher, ROUNDS)
    for publisher in publishers[: len(logs)]:
        stopped(publisher, "publish")
    for publisher in publishers[len(logs) :]:
        stopped(publisher, "acq")
    time.sleep(2)  # the published aggregator takes what has come once a second, and forgets the rest when it is stopped
    for recorder in recorders.values():
        stopped(recorder, "record")
    return folders, {side: logged(log) for side, log in logs.items()}


def until_published(handle, rounds):
    deadline = time.monotonic() + 30
    while handle.call(".ops", "status", "publish")[2]["data"].get("count", 0) < rounds:
        assert time.monotonic() < deadline, handle.output
        time.sleep(0.1)


def stopped(handle, op):
    handle.call(".ops", "stop", op)
    code, message, session = handle.call(".ops", "wait", op, None, 3)
    assert (code, session.get("success")) == (0, True), (message, session, handle.output)


def logged(log):
    """Return what a publisher has noted: (feed, block) → (time, values), in order."""
    found = defaultdict(list)
    for line in log.read_text().splitlines():
        feed, block, when, values = json.loads(line)
        found[feed, block].append((when, values))
    return found


def samples_of(folder, address, block_name):
    """Return the samples of a block as the files have them: (ticks, field → value) in the order of the frames."""
    found = []
    for path in files_of(folder):
        for frame in frames_of(path):
            if int(frame["hkagg_type"]) == 2 and frame["address"] == address:
                for name, block in zip(frame["block_names"], frame["blocks"], strict=True):
                    if name == block_name:
                        columns = {key: list(block[key]) for key in block.keys()}  # noqa: SIM118 - spt3g's map
                        rows = zip(*columns.values(), strict=True)
                        found += [
                            (t.time, dict(zip(columns, row, strict=True)))
                            for t, row in zip(block.times, rows, strict=True)
                        ]
    return found


def exact_ticks(seconds):
    return round(Fraction(seconds) * TICKS)


def feed_of(block):
    return "slow" if block == "mixed" else "quick"


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("publisher", SIDES)
@pytest.mark.parametrize("recorder", SIDES)
def test_every_sample_is_there_once_with_its_value_and_time(recorded, recorder, publisher, block):
    folders, logs = recorded
    feed = feed_of(block)
    there = sorted(samples_of(folders[recorder], f"observatory.lab-{publisher}.feeds.{feed}", block), key=by_time)
    sent = sorted(((exact_ticks(when), values) for when, values in logs[publisher][feed, block]), key=by_time)

    slack = SLACK[recorder]
    within = [each for each in sent if there[0][0] - slack <= each[0] <= there[-1][0] + slack]
    assert len(within) > ROUNDS / 2
    assert len(there) == len(within)
    for (ticks, values), (sent_ticks, sent_values) in zip(there, within, strict=True):
        assert values == sent_values
        assert abs(ticks - sent_ticks) <= slack
        assert {key: kind(value) for key, value in values.items()} == {k: kind(v) for k, v in sent_values.items()}


def by_time(sample):
    return sample[0]


def kind(value):
    return type(getattr(value, "item", lambda: value)())


@pytest.mark.parametrize("publisher", SIDES)
def test_ours_has_the_last_sample_before_the_stop(recorded, publisher):
    folders, logs = recorded
    for block in BLOCKS:
        there = samples_of(folders["ours"], f"observatory.lab-{publisher}.feeds.{feed_of(block)}", block)
        last, values = logs[publisher][feed_of(block), block][-1]
        if publisher == "published" and feed_of(block) == "quick":
            continue  # it keeps what is in its buffer until another sample comes
        assert (exact_ticks(last), values) in there


def structure(folder, address):
    """Return, of the files' frames, the keys with their types: of session and status frames, and of one feed's data."""
    found = defaultdict(Counter)
    for path in files_of(folder):
        for frame in frames_of(path):
            sort = int(frame["hkagg_type"])
            if sort == 2 and frame["address"] != address:
                continue
            types = tuple(sorted((key, type(frame[key]).__name__) for key in frame.keys()))  # noqa: SIM118 - as above
            found[sort, str(frame.type), types] = True
            if sort == 2:
                for name, block in zip(frame["block_names"], frame["blocks"], strict=True):
                    columns = sorted((key, type(block[key]).__name__) for key in block.keys())  # noqa: SIM118 - as above
                    found["block", name, (type(block.times).__name__, *columns)] = True
            if sort == 1:
                for provider in frame["providers"]:
                    keys = sorted((key, type(provider[key]).__name__) for key in provider.keys())  # noqa: SIM118
                    found["provider", type(provider).__name__, tuple(keys)] = True
    return set(found)


@pytest.mark.parametrize("publisher", SIDES)
@pytest.mark.parametrize("feed", ["lab-{}.feeds.slow", "lab-{}.feeds.quick", "fake-{}.feeds.false_temperatures"])
def test_the_frames_have_the_same_keys_and_types(recorded, feed, publisher):
    folders, _ = recorded
    address = "observatory." + feed.format(publisher)

    assert structure(folders["ours"], address) == structure(folders["published"], address)


def test_the_files_begin_alike_and_lie_in_the_same_places(recorded):
    folders, _ = recorded
    for side in SIDES:
        files = files_of(folders[side])
        assert len(files) > 1  # it has begun a new one every two seconds
        for path in files:
            frames = frames_of(path)
            kinds = [int(frame["hkagg_type"]) for frame in frames[:2]]
            # The published one may end between the first frame of a new file and the second.
            assert kinds == [0, 1] or (side == "published" and path == files[-1] and kinds == [0])
            assert frames[0]["description"] == "HK data"
            assert path.parent.name == path.stem[:5]
            assert path.parent.parent == folders[side]
            assert math.isclose(float(path.stem), time.time(), abs_tol=600)


def test_so3g_scans_both_to_the_same_fields(recorded):
    folders, _ = recorded
    fields = {side: scanned(files_of(folder)) for side, folder in folders.items()}
    mine, other = ({name: each for name, each in fields[side].items() if "lab-" in name} for side in SIDES)

    assert mine.keys() == other.keys()
    assert {"observatory.lab-ours.feeds.slow.f_1", "observatory.lab-published.feeds.quick.big"} <= mine.keys()


@pytest.mark.parametrize("recorder", SIDES)
def test_our_reader_gives_the_arrays_that_so3g_gives(recorded, recorder):
    folder = recorded[0][recorder]
    archive = opened_by_so3g(folder)
    names = [name for name in archive.get_fields()[0] if not name.rpartition(".")[0].endswith(".feeds.notes")]
    data = load(folder)

    assert set(names) <= set(data)
    for name, (times, values) in zip(names, archive.simple(names, short_match=False), strict=True):
        np.testing.assert_array_equal(data[name].times, times, strict=True)
        np.testing.assert_array_equal(data[name].values, values, strict=True)


def opened_by_so3g(folder):
    from so3g.hk import HKArchiveScanner

    scanner = HKArchiveScanner()
    for path in files_of(folder):
        scanner.process_file(str(path))
    return scanner.finalize()


@pytest.mark.parametrize("publisher", SIDES)
def test_both_record_the_same_fake_data(recorded, publisher):
    folders, _ = recorded
    address = f"observatory.fake-{publisher}.feeds.false_temperatures"
    mine, other = (sorted(samples_of(folders[side], address, "temps"), key=by_time) for side in SIDES)

    # Those that both were there for.
    first, last = max(mine[0][0], other[0][0]) - 16, min(mine[-1][0], other[-1][0]) + 16
    mine, other = ([each for each in samples if first <= each[0] <= last] for samples in (mine, other))
    assert len(mine) == len(other) > 20
    assert [values for _, values in mine] == [values for _, values in other]
    assert max(abs(a[0] - b[0]) for a, b in zip(mine, other, strict=True)) <= 16
