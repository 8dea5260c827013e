"""g32influx with recorded files and a real InfluxDB 1."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from ocs.cli.g32influx import _Lines
from ocs.influx.points import message_lines
from tests.harness.g3_files import ADDRESS, START, G3File
from tests.harness.influx import Influxd
from tests.harness.publishing import envelope
from tests.harness.waiting import wait_for

AGENT = ADDRESS.partition(".feeds.")[0]
COLUMNS = {"f": [1.5, 2.5, 3.5], "i": [1, 2, 2**62], "b": [True, False, True], "s": ["a", 'say "x", y\n', "ö"]}
TIMES = [START + 0.1, START + 0.123456789, START + 0.3]


@pytest.fixture
def database():
    return f"db-{uuid4()}"


@pytest.fixture
def load(influxd, database, tmp_path):
    """Run the program; returns what it did."""

    def run(target, *options, server=influxd, code=0, **keywords):
        place = [str(target), database, server.host, str(server.port)]
        command = [sys.executable, "-m", "ocs.cli.g32influx", *place, "--notes", str(tmp_path / "notes"), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **keywords)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "hk" / "17900"
    G3File(folder / "1790000000.g3").block(TIMES, **COLUMNS)
    G3File(folder / "1790003600.g3", START + 3600).block([START + 3600, START + 3601], f=[4.5, 5.5])
    return tmp_path / "hk"


def without_time(rows):
    return [{name: value for name, value in row.items() if name != "time"} for row in rows]


def test_everything_recorded_is_loaded_as_it_was_published(influxd, load, archive, database):
    done = load(archive)
    assert done.stdout == "5 points of 2 files loaded\n"
    rows = influxd.rows(database, AGENT)
    assert [row["time"] for row in rows[:3]] == [int(t * 1e9) for t in TIMES]
    wanted = [dict(zip(COLUMNS, values, strict=True)) for values in zip(*COLUMNS.values(), strict=True)]
    assert without_time(rows) == [{"feed": "b", **row} for row in [*wanted, {"f": 4.5}, {"f": 5.5}]]
    assert influxd.types(database, AGENT) == {"f": "float", "i": "integer", "b": "boolean", "s": "string"}


def test_what_the_publisher_wrote_is_replaced_and_not_doubled(influxd, load, archive, database):
    influxd.query(f'CREATE DATABASE "{database}"')
    live = {"block": {"block_name": "block", "timestamps": TIMES, "data": COLUMNS}}
    assert influxd.write(database, *message_lines(live, envelope("b", AGENT)).rows)[0] == 204
    load(archive)
    assert len(influxd.rows(database, AGENT)) == 5


def test_a_second_run_loads_only_what_is_new(influxd, load, archive, database):
    load(archive)
    assert load(archive).stdout == "0 points of 0 files loaded, 2 files known\n"
    G3File(archive / "17900" / "1790007200.g3").block([START + 7200], f=[6.5])
    assert load(archive).stdout == "1 point of 1 file loaded, 2 files known\n"
    assert load(archive, "--again").stdout == "6 points of 3 files loaded\n"
    assert len(influxd.rows(database, AGENT)) == 6


def test_a_file_that_has_changed_is_loaded_again(influxd, load, archive, database):
    load(archive)
    file = archive / "17900" / "1790000000.g3"
    G3File(file).block([START, START + 0.5], f=[7.5, 8.5])
    assert load(archive).stdout == "2 points of 1 file loaded, 1 file known\n"


def test_start_and_end_cut_and_what_was_cut_is_not_noted(influxd, load, archive, database):
    load(archive, "--start", str(START + 0.2), "--end", str(START + 3601))
    assert [row["f"] for row in influxd.rows(database, AGENT)] == [3.5, 4.5]
    assert load(archive).stdout == "5 points of 2 files loaded\n"


def test_a_damaged_file_is_loaded_up_to_the_damage_and_told(influxd, load, archive, database):
    file = archive / "17900" / "1790003600.g3"
    file.write_bytes(file.read_bytes()[:-7])
    done = load(archive, code=1)
    assert "3 points of 2 files loaded" in done.stdout
    assert f"{file} is damaged after" in done.stderr
    assert "1 file known" in load(archive, code=1).stdout


def test_what_cannot_be_read_is_a_line_each_and_the_others_are_loaded(load, archive):
    folder = archive / "17900"
    (folder / "1789999999.g3").symlink_to("/proc/nowhere")
    (folder / "1790000001.g3").write_bytes(b"no housekeeping file" * 50)
    done = load(archive, code=1)
    assert "5 points of 3 files loaded" in done.stdout
    assert f"{folder}/1789999999.g3 cannot be read: No such file" in done.stderr
    assert f"{folder}/1790000001.g3 is damaged after 0 frames" in done.stderr
    assert sum("1790000001.g3" in line for line in done.stderr.splitlines()) == 1


def test_what_was_done_can_be_had_as_json(load, archive):
    (archive / "17900" / "1789999999.g3").symlink_to("/proc/nowhere")
    done = json.loads(load(archive, "--json", code=1).stdout)
    assert list(done.pop("damaged_files")) == [str(archive / "17900" / "1789999999.g3")]
    assert done == {"points": 5, "files": 2, "known_files": 0, "left_out_values": 0, "dropped_points": {}}


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_broken_off_in_a_file_it_goes_on_with_that_file(own_influxd, load, archive, database, tmp_path, how, code):
    """The first file is in, and the database hangs with the second: that one is loaded again, and nothing is twice."""
    first = archive / "17900" / "1790000000.g3"
    load(first, server=own_influxd)
    own_influxd.freeze()
    place = [str(archive), database, own_influxd.host, str(own_influxd.port)]
    log = tmp_path / "errors"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "ocs.cli.g32influx", *place, "--notes", str(tmp_path / "notes")], stderr=errors
        )
    try:
        wait_for(lambda: connections(process.pid, own_influxd.port), 20)
        process.send_signal(how)
        assert process.wait(10) == code
    finally:
        process.kill()
        process.wait()
        own_influxd.thaw()
    assert "Traceback" not in log.read_text()
    assert load(archive, server=own_influxd).stdout == "2 points of 1 file loaded, 1 file known\n"
    assert len(own_influxd.rows(database, AGENT)) == 5


def connections(pid, port):
    """The connections of a process to a port."""
    return [one for one in psutil.Process(pid).net_connections() if one.raddr and one.raddr.port == port]


def test_without_a_terminal_there_is_a_line_now_and_then(capsys):
    now = [0.0]
    lines = _Lines(lambda: now[0])
    for second in range(25):
        now[0] = float(second)
        lines("loading", second << 20, 25 << 20)
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2] for line in told] == ["loading: 10 of 25 MiB", "loading: 20 of 25 MiB"]


def test_broken_off_it_goes_on(tmp_path, load, archive, database):
    """The database goes away for good in between: what is in is noted, the next run does the rest."""
    server = Influxd(tmp_path / "influxd", most=0).start()
    try:
        load(archive / "17900" / "1790000000.g3", server=server)
        server.kill()
        done = load(archive, "--patience", "0", server=server, code=1)
        assert "cannot be reached" in done.stderr
        assert "run the command again" in done.stderr
        server.start()
        assert load(archive, server=server).stdout == "2 points of 1 file loaded, 1 file known\n"
    finally:
        server.stop()


def test_it_waits_for_a_database_that_is_away(tmp_path, archive, database):
    server = Influxd(tmp_path / "influxd")
    notes = ["--notes", str(tmp_path / "notes")]
    command = [sys.executable, "-m", "ocs.cli.g32influx", str(archive), database, server.host, str(server.port), *notes]
    errors = tmp_path / "errors"
    with errors.open("wb") as out:
        process = subprocess.Popen(command, stderr=out, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: "trying again" in errors.read_text(), 30)
        server.start()
        assert process.wait(30) == 0
        assert len(server.rows(database, AGENT)) == 5
    finally:
        process.kill()
        process.wait()
        server.stop()


def test_a_note_that_was_not_written_whole_counts_for_nothing(influxd, load, archive, tmp_path):
    load(archive)
    notes = tmp_path / "notes"
    lines = notes.read_text().splitlines()
    notes.write_text(lines[0] + "\n" + lines[1][:20])
    assert "1 file loaded, 1 file known" in load(archive).stdout
    assert json.loads(notes.read_text().splitlines()[-1])["size"] > 0


def test_the_log_file_has_a_line_for_each_file(load, archive, tmp_path):
    log = tmp_path / "log"
    load(archive, "--logfile", str(log))
    assert log.read_text().count(" loaded\n") == 2


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--start", "soon"], "'soon' is no time"),
        (["--start", "10", "--end", "5"], "before the beginning"),
    ],
)
def test_mistakes_are_told_in_one_line(load, archive, options, text):
    done = load(archive, *options, code=1)
    assert text in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_without_files_is_told(load, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "There is no .g3 file" in load(tmp_path / "empty", code=1).stderr


def test_the_example_of_the_docs_says_what_they_say(influxd, load, archive, database):
    page = Path(__file__).parents[2] / "docs" / "user" / "g32influx.md"
    example, said = re.search(r"^    \$ (g32influx .+)\n    (.+)$", page.read_text(), re.MULTILINE).groups()
    place = {"/data/hk": str(archive), "ocs_feeds": database, "localhost": influxd.host, "8086": str(influxd.port)}
    program, target, *others = example.split()
    assert set(others) <= set(place)
    assert program == "g32influx"
    assert re.sub(r"\d+", "N", load(place[target]).stdout.strip()) == re.sub(r"\d+", "N", said)


def test_the_program_is_installed():
    program = Path(sys.executable).parent / "g32influx"
    done = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=30, check=True)
    assert "TARGET DATABASE HOST PORT" in done.stdout
