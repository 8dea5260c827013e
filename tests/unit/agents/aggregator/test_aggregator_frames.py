import os
import zlib

import numpy as np
import pytest
from spt3g import core

from ocs.agents.aggregator import frames
from ocs.agents.aggregator.blocks import FinishedBlock
from ocs.agents.aggregator.drivers import g3_cast, generate_id


def test_an_encoded_frame_is_what_spt3g_writes_into_a_file(tmp_path):
    frame = frames.new_session(1e9).session_frame()
    writer = core.G3Writer(str(tmp_path / "x.g3"))
    writer(frame)
    del writer

    assert (tmp_path / "x.g3").read_bytes() == frames.encode(frame)


def test_a_session_id_packs_time_process_and_description():
    hksess = frames.new_session(1_790_000_000.7)
    expected = (1_790_000_000 << 28) | ((os.getpid() % 2**14) << 14) | (zlib.crc32(b"HK data") % 2**14)

    assert generate_id(hksess) == hksess.session_id == expected


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, "G3Int"),
        (1.5, "G3Double"),
        ("a", "G3String"),
        (True, "G3Bool"),
        ([1, 2], "G3VectorInt"),
        ([1.5], "G3VectorDouble"),
        (["a"], "G3VectorString"),
        ([True], "G3VectorBool"),
        ([1, True], "G3VectorInt"),
    ],
)
def test_a_plain_value_gets_its_g3_type(value, kind):
    assert type(g3_cast(value)).__name__ == kind


@pytest.mark.parametrize("value", [None, [None], [1, "a"], [1, 1.5], [], {}, b"x"])
def test_a_value_without_g3_type_is_refused(value):
    with pytest.raises(TypeError):
        g3_cast(value)


def test_times_become_g3_times():
    assert g3_cast(1.5, time=True).time == 150_000_000
    assert [t.time for t in g3_cast([1, 2.5], time=True)] == [100_000_000, 250_000_000]


@pytest.mark.parametrize("value", [float("nan"), [1.0, float("inf")], 1e30])
def test_a_number_that_is_no_time_is_refused(value):
    with pytest.raises(ValueError, match="not a unix timestamp"):
        g3_cast(value, time=True)


def test_a_block_that_the_library_refuses_costs_only_itself():
    faults = []
    frame = frames.data_frame(None, 0, 1.0)
    bad = FinishedBlock("bad", np.array([1, 2]), {"x": np.array([1])})
    good = FinishedBlock("good", np.array([1]), {"x": np.array([7])})

    frames.fill(frame, "a.feeds.b", "1.0", [bad, good], faults.append)

    assert list(frame["block_names"]) == ["good"]
    assert list(frame["blocks"][0]["x"]) == [7]
    assert [fault.cause for fault in faults] == ["values"]


def test_all_types_come_back_as_they_went_in():
    columns = {
        "f": np.array([0.5, float("nan")]),
        "i": np.array([2**63 - 1, -(2**63)]),
        "b": np.array([True, False]),
        "s": ["ä\0", ""],
    }
    frame = frames.data_frame(None, 0, 1.0)
    frames.fill(
        frame,
        "a.feeds.b",
        "1.0",
        [FinishedBlock("t", np.array([1, 2]), columns)],
        lambda fault: pytest.fail(fault.detail),
    )
    block = frame["blocks"][0]

    np.testing.assert_array_equal(np.asarray(block["f"]), columns["f"])
    assert list(block["i"]) == columns["i"].tolist()
    assert [bool(value) for value in block["b"]] == [True, False]
    assert list(block["s"]) == columns["s"]
    assert frames.value_count(frame) == 8
