"""Fields as arrays: the same as so3g's own reader gives on ordinary archives, and everything on the others."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ocs.errors import RecordingError
from ocs.hk import MomentError, UnknownFieldError, load
from ocs.hk.archive import IndexedFile
from ocs.hk.index import index_path
from tests.harness.g3_files import ADDRESS, START, G3File

OTHER = "observatory.z-1.feeds.noise"
KINDS = {
    "float": lambda n, rng: rng.standard_normal(n),
    "int": lambda n, rng: rng.integers(-(10 ** rng.integers(1, 18)), 10**2, n),
    "bool": lambda n, rng: rng.integers(0, 2, n).astype(bool),
    "text": lambda n, rng: ["x" * int(size) + "é" for size in rng.integers(0, 9, n)],
}


def simple(paths, names, **span):
    """What so3g's reader gives."""
    from so3g.hk import HKArchiveScanner

    scanner = HKArchiveScanner()
    for path in paths:
        scanner.process_file(str(path))
    return dict(zip(names, scanner.finalize().simple(names, short_match=False, **span), strict=True))


def assert_equal(ours, theirs):
    for name, (times, values) in theirs.items():
        assert ours[name].times.dtype == times.dtype
        np.testing.assert_array_equal(ours[name].times, times, strict=True)
        np.testing.assert_array_equal(ours[name].values, values, strict=True)


@pytest.fixture
def archive(tmp_path):
    """Two files of two feeds, one with two blocks."""
    for number in range(2):
        file = G3File(tmp_path / "17900" / f"{number}.g3")
        for frame in range(3):
            base = START + 100 * (3 * number + frame)
            fields = {"x": [1.5 * base, 2.5], "on": [True, False]}
            file.data({"t": ([base, base + 1], fields), "u": ([base + 2], {"count": [frame]})})
            file.block([base, base + 0.5, base + 0.7], "v", OTHER, level=["low", "högh", ""])
    return tmp_path


@st.composite
def recordings(draw):
    """Files of frames of blocks: (address, block → (times, fields)), times in order."""
    layouts = draw(
        st.lists(
            st.tuples(
                st.sampled_from([ADDRESS, OTHER]),
                st.sampled_from(["t", "u"]),
                st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4),
            ),
            min_size=1,
            max_size=3,
            unique_by=lambda one: one[:2],
        )
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    clock = START
    files = []
    for _ in range(draw(st.integers(1, 3))):
        frames = []
        for _ in range(draw(st.integers(1, 4))):
            address, block, kinds = draw(st.sampled_from(layouts))
            count = draw(st.integers(1, 20))
            times = clock + np.cumsum(rng.integers(1, 10**9, count)) / 1e8
            clock = times[-1] + draw(st.sampled_from([0.5, 100.0]))
            fields = {f"{block}_{n}_{kind}": KINDS[kind](count, rng) for n, kind in enumerate(kinds)}
            frames.append((address, {block: (times, fields)}))
        files.append(frames)
    return files


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(recordings(), st.data())
def test_fields_are_what_so3g_gives(tmp_path_factory, files, data):
    folder = tmp_path_factory.mktemp("hk")
    paths = []
    names, moments = set(), [START - 5.0]
    for number, frames in enumerate(files):
        file = G3File(folder / f"{number}.g3")
        for address, blocks in frames:
            file.data(blocks, address)
            ((times, fields),) = blocks.values()
            names |= {f"{address}.{field}" for field in fields}
            moments += times.tolist()
        paths.append(file.path)
    start, stop = sorted(data.draw(st.tuples(st.sampled_from(moments), st.sampled_from(moments))))
    assume(start < stop)
    span = data.draw(st.sampled_from([{}, {"start": start}, {"start": start, "stop": stop}]))
    theirs = simple(paths, sorted(names), **{"end" if key == "stop" else key: one for key, one in span.items()})

    assert_equal(load(folder, **span), theirs)  # from the files
    assert_equal(load(folder, sorted(names), **span), theirs)  # by their indexes


def test_a_name_gives_times_and_values(archive):
    data = load(archive, f"{ADDRESS}.x")
    times, values = data[f"{ADDRESS}.x"]

    assert list(data) == [f"{ADDRESS}.x"]
    assert times.tolist() == [START + 100 * n + i for n in range(6) for i in range(2)]
    assert values[1::2].tolist() == [2.5] * 6


def test_fields_measured_together_share_their_times(archive):
    data = load(archive, [f"{ADDRESS}.x", f"{ADDRESS}.on", f"{ADDRESS}.count"])

    assert data[f"{ADDRESS}.x"].times is data[f"{ADDRESS}.on"].times
    assert len(data[f"{ADDRESS}.count"].times) == 6


def test_a_field_is_found_in_what_was_loaded_by_a_part_of_its_name(archive):
    data = load(archive)

    assert data["count"].values.tolist() == [0, 1, 2] * 2
    assert "count" not in data
    with pytest.raises(KeyError, match="may be any of 4 fields"):
        data["observatory"]


def test_all_fields_are_loaded_if_none_is_named(archive):
    assert set(load(archive)) == {f"{ADDRESS}.{name}" for name in ("x", "on", "count")} | {f"{OTHER}.level"}
    assert "4 fields" in repr(load(archive))


def test_the_span_begins_with_start_and_ends_before_stop(archive):
    data = load(archive, "x", START + 1, START + 101)
    assert data["x"].times.tolist() == [START + 1, START + 100]


def test_times_may_be_text_and_relative(archive):
    data = load(archive, "x", "2026-09-21T14:13:20+00:00", "-1s", clock=lambda: START + 2)
    assert data["x"].times.tolist() == [START]


def test_a_field_without_samples_in_the_span_is_empty(archive):
    times, values = load(archive, "x", 0, 1)["x"]
    assert (times.shape, values.shape, times.dtype, values.dtype) == ((0,), (0,), np.float64, np.float64)


def test_an_unknown_field_is_an_error_that_suggests_others(archive):
    with pytest.raises(UnknownFieldError, match=r"did you mean observatory\.a\.feeds\.b\.count\?"):
        load(archive, "countt")
    with pytest.raises(RecordingError, match="no file or folder"):
        load(archive / "gone")
    with pytest.raises(MomentError):
        load(archive, start="soon")


def test_a_file_still_being_written_is_read_to_its_last_frame(tmp_path):
    file = G3File(tmp_path / "1.g3").block([1.0], x=[1.0])
    assert load(tmp_path)["x"].values.tolist() == [1.0]
    file.block([2.0], x=[2.0])
    assert load(tmp_path)["x"].values.tolist() == [1.0, 2.0]


def test_samples_are_put_in_order_and_those_of_one_time_stay_as_recorded(tmp_path):
    file = G3File(tmp_path / "1.g3").block([3.0, 1.0, 3.0], x=[31, 1, 32])
    file.block([2.0, 3.0], x=[2, 33])

    times, values = load(tmp_path)["x"]
    assert times.tolist() == [1, 2, 3, 3, 3]
    assert values.tolist() == [1, 31, 32, 33, 2] or values.tolist() == [1, 2, 31, 32, 33]


def test_a_field_that_comes_later_in_a_block_of_the_name_is_there(tmp_path):
    G3File(tmp_path / "1.g3").block([1.0], x=[1.0]).block([2.0], x=[2.0], y=[5.0]).block([3.0], y=[6.0])
    data = load(tmp_path)

    assert (data["x"].times.tolist(), data["x"].values.tolist()) == ([1, 2], [1, 2])
    assert (data["y"].times.tolist(), data["y"].values.tolist()) == ([2, 3], [5, 6])


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        ([1], [2.5], np.array([1.0, 2.5])),
        ([2.5], [1], np.array([2.5, 1.0])),
        ([True], [3], np.array([1, 3])),
        (["a"], [2], np.array(["a", "2"])),
        ([1.5], ["a"], np.array(["1.5", "a"])),
    ],
)
def test_a_field_of_several_types_has_the_widest(tmp_path, first, second, joined):
    G3File(tmp_path / "1.g3").block([1.0], x=first).block([2.0], x=second)
    np.testing.assert_array_equal(load(tmp_path)["x"].values, joined, strict=True)


def test_integers_that_need_more_or_fewer_bytes_from_frame_to_frame(tmp_path):
    file = G3File(tmp_path / "1.g3")
    values = [1, -1, 300, -70_000, 2**40, -(2**63), 5]
    for second, value in enumerate(values):
        file.block([second], x=[value], y=[second])
    data = load(tmp_path)

    assert data["x"].values.tolist() == values
    assert data["y"].values.tolist() == list(range(7))


@pytest.mark.parametrize("version", [0, 1])
def test_files_of_older_schemas_are_read(tmp_path, version):
    path = old_file(tmp_path / "1.g3", version)
    data = load(tmp_path)

    assert {name: data[name].values.tolist() for name in data} == {"o.a.feeds.b.x": [1.0, 2.0]}
    assert IndexedFile.open(path).damage is None
    assert load(tmp_path)["x"].times.tolist() == [10.0, 20.0]


def old_file(path, version):
    import so3g
    from so3g.hk import HKSessionHelper
    from spt3g import core

    session = HKSessionHelper(hkagg_version=version, session_id=5, start_time=1.0)
    provider = session.add_provider("o.a.feeds.b")
    frame = session.data_frame(provider, timestamp=1.0)
    frame["address"] = "o.a.feeds.b"
    if version:
        block = core.G3TimesampleMap()
        block.times = core.G3VectorTime([core.G3Time(int(t * 1e8)) for t in (10, 20)])
        block["x"] = core.G3VectorDouble([1.0, 2.0])
    else:
        block = so3g.IrregBlockDouble()
        block.t = [10.0, 20.0]
        block.data["x"] = [1.0, 2.0]
    frame["blocks"].append(block)
    with path.open("wb") as file:
        for one in (session.session_frame(), session.status_frame(timestamp=1.0), frame):
            file.write(one.__getstate__()[1])
    return path


def test_a_damaged_file_is_read_up_to_the_damage(archive):
    path = archive / "17900" / "0.g3"
    path.write_bytes(path.read_bytes()[:-20])

    assert len(load(archive, "level")["level"].times) == 15
    assert len(load(archive, "x")["x"].times) == 12


def test_an_index_that_lies_is_made_anew(archive):
    """The file was replaced by one that begins in the same way."""
    load(archive)
    path = archive / "17900" / "0.g3"
    other = G3File(archive / "other").block([START], x=[7.0], longer_name=[1.0])
    whole = path.read_bytes()
    size = len(whole)
    changed = whole[: size // 3]
    # Keep the beginning and the length, so that only the frames can tell.
    path.write_bytes(changed + other.path.read_bytes() + bytes(size))
    data = load(archive, "x")

    assert len(data["x"].times) < 12
    assert b"longer" not in index_path(path).read_bytes()


def test_progress_is_told_for_what_is_read(archive):
    load(archive)
    steps = []
    load(archive, "x", progress=lambda *step: steps.append(step))

    assert {what for what, _, _ in steps} == {"indexing", "reading"}
    assert steps[-1][1] == steps[-1][2] > 0
