"""Where files go, and which may be deleted."""

import json
import re
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.pysmurf_monitor.messages import parse
from ocs.agents.pysmurf_monitor.remote_path import create_remote_path, is_deletable
from ocs.errors import RefusedError

META = {
    "path": "/data/smurf_data/20261123/crate1slot2/1795392000/outputs/1795392001_noise.npy",
    "timestamp": 1795392002.5,
    "action": "take_noise",
    "action_ts": 1795392000,
    "plot": False,
    "pub_id": "crate1slot2",
}


def test_an_output_of_pysmurf():
    expected = "17953/crate1slot2/1795392000_take_noise/outputs/1795392001_noise.npy"
    assert create_remote_path(META, "smurf") == expected


def test_a_plot_of_pysmurf():
    assert create_remote_path({**META, "plot": True}, "smurf").split("/")[3] == "plots"


def test_the_digits_are_those_of_the_file_not_of_the_action():
    assert create_remote_path({**META, "action_ts": 1699999999}, "smurf").startswith("17953/crate1slot2/1699999999_")


@pytest.mark.parametrize("stamp", [1795392002, 1795392002.5, "1795392002", "1795392002.5"])
def test_times_may_be_texts(stamp):
    assert create_remote_path({**META, "timestamp": stamp}, "smurf").startswith("17953/")


@pytest.mark.parametrize(
    ("path", "remote"),
    [
        ("/data/so/timestreams/17953/crate1slot2/1795392000_000.g3", "17953/crate1slot2/1795392000_000.g3"),
        ("/data//17953//crate1slot2/x.g3", "17953/crate1slot2/x.g3"),
        ("/a/x.g3", "a/x.g3"),
        ("/x.g3", "x.g3"),
    ],
)
def test_a_timestream_keeps_the_last_three_parts_of_its_path(path, remote):
    assert create_remote_path({"path": path}, "timestreams") == remote


@pytest.mark.parametrize("archive_name", ["other", "", "Smurf", None, 3])
def test_another_archive_is_an_error(archive_name):
    with pytest.raises(ValueError, match="smurf and timestreams"):
        create_remote_path(META, archive_name)


@pytest.mark.parametrize("key", sorted(META))
def test_what_is_missing_is_told(key):
    with pytest.raises(KeyError, match=key):
        create_remote_path({name: value for name, value in META.items() if name != key}, "smurf")


# Whatever a publisher may say

names = st.text(st.sampled_from("abzAZ09._:+-/ ~$\nä"), max_size=12)
times = st.one_of(
    st.integers(-10, 10**12), st.floats(), st.sampled_from([1795392000, 1795392000.5, "1795392000", None])
)
files = st.lists(names, max_size=6).map(lambda parts: "/" + "/".join(parts))
metas = st.fixed_dictionaries(
    {
        "path": files,
        "timestamp": times,
        "action": names | st.none(),
        "action_ts": times,
        "plot": st.booleans(),
        "format": st.sampled_from(["npy", "txt"]),
        "archive_name": st.sampled_from(["smurf", "timestreams"]),
    }
)
SMURF = re.compile(r"\d{5}/[A-Za-z0-9_:+-][\w.:+-]*/[^/]+_[^/]+/(plots|outputs)/[^/]+", re.ASCII)


def announced(meta, pub_id):
    message = {"id": pub_id, "time": 1795392003.0, "type": "data_file", "payload": meta}
    try:
        return parse(json.dumps(message).encode())
    except RefusedError:
        return None


@given(metas, names)
def test_no_accepted_file_leaves_its_archive(meta, pub_id):
    if found := announced(meta, pub_id):
        parts = found.remote_path.split("/")
        assert not {"", ".", ".."} & set(parts)
        assert PurePosixPath("/archive", found.remote_path).is_relative_to("/archive")
        assert parts[-1] == found.path.rpartition("/")[2]


@given(st.fixed_dictionaries({"pub_id": st.from_regex(r"[a-z0-9:_-]{1,20}", fullmatch=True)}), metas)
def test_accepted_files_have_the_documented_form(ids, meta):
    good = {"timestamp": 1795392002.5, "action_ts": 1795392000, "path": f"/data{meta['path']}"}
    if found := announced({**meta, **good}, ids["pub_id"]):
        if found.archive_name == "smurf":
            assert SMURF.fullmatch(found.remote_path)
        else:
            assert f"/{found.path}".endswith(f"/{found.remote_path}")
            assert len(found.remote_path.split("/")) <= 3


@given(metas, names)
def test_the_same_file_always_goes_to_the_same_place(meta, pub_id):
    assert announced(meta, pub_id) == announced(dict(reversed(meta.items())), pub_id)


# Deleting


@pytest.mark.parametrize(
    ("path", "archive_name", "expected"),
    [
        ("/data/smurf_data/20261123/crate1slot2/1795392000/outputs/x.npy", "smurf", True),
        ("/data/smurf_data/20261123/x.npy", "smurf", True),
        ("/data/smurf_data/20261123", "smurf", False),
        ("/data/smurf_data/x.npy", "smurf", False),
        ("/data/smurf_data/calibration/20261123/x.npy", "smurf", False),
        ("/data/20261123/smurf_data/x.npy", "smurf", False),
        ("/data/smurf_data/20261123a/x.npy", "smurf", False),
        ("/data/smurf_data/٢٠٢٦/x.npy", "smurf", False),
        ("/x.npy", "smurf", False),
        ("", "smurf", False),
        ("/data/smurf_data/20261123/o/1795392000_iv_data.npy", "smurf", False),
        ("/data/smurf_data/20261123/tune/x.npy", "smurf", False),
        ("/data/smurf_data/20261123/o/channel_assignment_b0.txt", "smurf", False),
        ("/data/timestreams/17953/crate1slot2/x.g3", "timestreams", True),
        ("/data/timestreams/17953/iv/x.g3", "timestreams", False),
    ],
)
def test_what_may_be_deleted(path, archive_name, expected):
    assert is_deletable(path, archive_name) is expected
