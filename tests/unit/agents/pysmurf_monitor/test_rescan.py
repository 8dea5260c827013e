"""Finding files that were announced while nobody listened."""

import os
import time

import pytest

from ocs.agents.pysmurf_monitor.messages import parse
from ocs.agents.pysmurf_monitor.rescan import Found, Rescan, datagram_for, is_being_written, remote_of, walk
from tests.harness.pysmurf import make_file

NOW = 1_790_000_000.0
OUTPUT = "/data/smurf_data/20260102/crate1slot2/1790000000/outputs/1790000005_iv.npy"


def announced(path, changed=NOW, action="rescan"):
    import json

    return parse(json.dumps(datagram_for(Found(path, changed), action)).encode())


def test_an_output_file_is_announced_as_pysmurf_does():
    found = announced(OUTPUT)
    assert (found.pub_id, found.archive_name, found.path) == ("crate1slot2", "smurf", OUTPUT)
    assert found.remote_path == "17900/crate1slot2/1790000000_rescan/outputs/1790000005_iv.npy"
    assert not found.deletable


def test_a_plot_goes_to_the_plots_of_the_given_action():
    found = announced(OUTPUT.replace("outputs", "plots").replace(".npy", ".png"), action="take_iv")
    assert found.remote_path == "17900/crate1slot2/1790000000_take_iv/plots/1790000005_iv.png"


def test_a_timestream_is_announced_by_its_path():
    found = announced("/data/timestreams/17900/crate1slot2/1790000000_000.g3")
    assert (found.archive_name, found.pub_id) == ("timestreams", "crate1slot2")
    assert found.remote_path == "17900/crate1slot2/1790000000_000.g3"


@pytest.mark.parametrize(
    "path",
    [
        "/data/smurf_data/tune/1790000000_tune.npy",
        "/data/smurf_data/crate1slot2/1790000000/other/x.npy",
        "/data/smurf_data/crate1slot2/latest/outputs/x.npy",
        "/data/notes.txt",
        "/x",
    ],
)
def test_what_no_publisher_announces_is_nothing(path):
    assert datagram_for(Found(path, NOW), "rescan") is None


FOLDERS = ["17900/p/1790000000_take_iv/outputs", "17900/p/1790000100_take_noise/outputs"]


@pytest.mark.parametrize(
    ("name", "changed", "folder"),
    [
        ("1790000050_x.npy", 0.0, FOLDERS[0]),
        ("1790000100_x.npy", 0.0, FOLDERS[1]),
        ("1780000000_x.npy", 0.0, FOLDERS[0]),
        ("x.npy", NOW + 500, FOLDERS[1]),
        ("x.npy", NOW + 50, FOLDERS[0]),
    ],
)
def test_a_file_goes_with_the_last_action_that_had_begun(name, changed, folder):
    assert remote_of(Found(f"/data/{name}", changed), reversed(FOLDERS)) == f"{folder}/{name}"


def test_without_other_files_there_is_no_folder_to_go_by():
    assert remote_of(Found("/data/x.npy", NOW), []) is None


def test_a_file_is_being_written_while_somebody_has_it_open_to_write(tmp_path):
    path = make_file(tmp_path / "a.g3")
    now = time.time()
    with path.open("ab"):
        assert is_being_written(str(path), now, now)
        assert not is_being_written(str(path), now - 3600, now)
    assert not is_being_written(str(path), now, now)
    with path.open("rb"):
        assert not is_being_written(str(path), now, now)
    assert not is_being_written(str(tmp_path / "gone"), now, now)


def test_the_walk_follows_no_link_and_leaves_out_what_is_no_file(tmp_path):
    make_file(tmp_path / "b" / "2.npy")
    make_file(tmp_path / "a" / "1.npy")
    make_file(tmp_path / "a" / ".hidden")
    (tmp_path / "a" / "link.npy").symlink_to(tmp_path / "a" / "1.npy")
    (tmp_path / "c").symlink_to("/etc")
    os.mkfifo(tmp_path / "a" / "pipe")
    found = [file.path for _, files in walk(str(tmp_path)) for file in files]
    assert found == [str(tmp_path / "a" / "1.npy"), str(tmp_path / "b" / "2.npy")]


class Sink:
    """Takes what is found."""

    idle = True

    def __init__(self):
        self.taken, self.room = [], True

    def wait_for_room(self, timeout, wanted):
        return self.room

    def put(self, announcements):
        self.taken += announcements


class Bench:
    def __init__(self, folder):
        self.folder, self.sink, self.rows, self.told, self.stopped = folder, Sink(), {}, [], False
        self.progress = None
        self.now = 0.0

    def tick(self):
        self.now += 1.0
        return self.now

    def search(self, since=0.0):
        return Rescan(
            str(self.folder),
            since,
            "rescan",
            rows=lambda paths: {path: self.rows[path] for path in paths if path in self.rows},
            sink=self.sink,
            stopped=lambda: self.stopped,
            tell=self.told.append,
            on_progress=lambda progress: setattr(self, "progress", progress),
            steady=self.tick,
        )

    def output(self, name, kind="outputs"):
        return make_file(self.folder / "crate1slot2" / "1790000000" / kind / name)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_what_is_known_is_left_out_and_shows_where_the_others_go(bench):
    known, new = bench.output("1790000010_a.npy"), bench.output("1790000020_b.npy")
    plot = bench.output("1790000021_b.png", "plots")
    bench.rows = {str(known): "17900/crate1slot2/1790000007_take_iv/outputs/1790000010_a.npy"}
    assert bench.search().run()
    assert {found.path: found.remote_path for found in bench.sink.taken} == {
        str(new): f"17900/crate1slot2/1790000007_take_iv/outputs/{new.name}",
        str(plot): f"17900/crate1slot2/1790000007_take_iv/plots/{plot.name}",
    }
    assert (bench.progress["found"], bench.progress["known"], bench.progress["announced"]) == (3, 1, 2)


def test_what_cannot_be_announced_is_counted_with_examples(bench):
    make_file(bench.folder / "notes.txt")
    make_file(bench.folder / "bad id" / "1790000000" / "outputs" / "x.npy")
    assert bench.search().run()
    assert bench.sink.taken == []
    assert (bench.progress["skipped"], bench.progress["refused"], len(bench.progress["examples"])) == (1, 1, 1)


def test_it_waits_for_room_and_can_be_broken_off(bench):
    bench.output("1790000010_a.npy")
    bench.sink.room = False
    search = bench.search()
    calls = iter([False, False, True])
    search._stopped = lambda: next(calls)
    assert not search.run()
    assert bench.sink.taken == []


def test_progress_is_told_every_few_seconds(bench):
    for number in range(20):
        make_file(bench.folder / str(number) / "crate1slot2" / "1790000000" / "outputs" / "x.npy")
    assert bench.search().run()
    assert bench.told
    assert all("\n" not in line for line in bench.told)


def test_older_files_are_left_out(bench):
    old, new = bench.output("1790000010_a.npy"), bench.output("1790000020_b.npy")
    os.utime(old, (1000, 1000))
    bench.search(since=2000).run()
    assert [found.path for found in bench.sink.taken] == [str(new)]
