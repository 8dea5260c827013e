"""`ocs data`, from the command line to what is printed or drawn."""

import csv
import io
import json
import subprocess
import sys

import numpy as np
import pytest

from ocs.cli import main as program
from ocs.cli.data_rows import Rows, short_names
from ocs.hk import FieldData
from ocs.hk.index import index_path
from tests.harness.g3_files import START, G3File

FAKE = "observatory.fake-1.feeds.temps"
FRIDGE = "observatory.fridge.feeds.state"


@pytest.fixture
def archive(tmp_path):
    """A folder with a file: 20 samples of two fields with a gap that is noted as lost, and 3 of a text."""
    file = G3File(tmp_path / "hk" / "17900" / "1790000000.g3")
    times = START + np.array([*range(10), *range(50, 60)], float)
    file.block(times, "temps", FAKE, channel_00=times / 7, channel_01=np.arange(20) % 2 == 1)
    file.block([START, START + 5, START + 5], "state", FRIDGE, mode=["idle", "a,b\x1b[31m", "[/red]"])
    note = {"since": [START + 10], "until": [START + 49], "samples": [40]}
    note |= {"kind": ["lost"], "subject": [FAKE], "detail": ["disk full"]}
    file.block([START + 50], "notes", "observatory.aggregator.feeds.notes", **note)
    return tmp_path / "hk"


@pytest.fixture
def data(capsys, archive):
    """Run `ocs data` on the archive; returns the exit code, what it printed, and what it complained of."""

    def run(command, *words, folder=archive):
        code = program.main(["data", command, *map(str, words), "-d", str(folder)])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


@pytest.fixture
def refused(data):
    """Run `ocs data` with something that is wrong; returns the one line that is said."""

    def run(*words, **more):
        code, out, error = data(*words, **more)
        assert (code, out, error.count("\n")) == (1, "", 1)
        return error

    return run


def test_list_shows_every_field_with_type_samples_and_span(data):
    code, out, _ = data("list")
    lines = [line.split("  ") for line in out.splitlines()]

    assert code == 0
    assert lines[0][0].strip() == "field"
    row = next(line.split() for line in out.splitlines() if "channel_00" in line)
    assert row == [f"{FAKE}.channel_00", "float", "20", "2026-09-21", "14:13:20", "2026-09-21", "14:14:19"]
    assert out.splitlines()[-1] == "9 fields of 3 feeds in 1 file"


def test_list_may_be_of_a_span(data):
    _, out, _ = data("list", "--start", START + 3.5, "--stop", START + 6)

    assert next(line.split()[2] for line in out.splitlines() if "channel_00" in line) == "2"
    assert next(line.split()[2] for line in out.splitlines() if "mode" in line) == "2"
    assert "notes" not in out


def test_list_as_json(data):
    code, out, _ = data("list", "--json")
    told = json.loads(out)

    assert (code, told["files"], told["damaged"]) == (0, 1, [])
    fake = next(feed for feed in told["feeds"] if feed["feed"] == FAKE)
    assert fake["fields"]["channel_01"] == {"type": "bool", "samples": 20, "oldest": START, "newest": START + 59}


def test_a_damaged_file_is_named_and_the_rest_listed(data, archive):
    (path,) = archive.rglob("*.g3")
    path.write_bytes(path.read_bytes()[:-3])
    code, out, error = data("list")

    assert code == 0
    assert "channel_00" in out
    assert "is damaged after" in error


def test_gaps_says_what_is_missing_and_why(data):
    code, out, _ = data("gaps")
    (row,) = [line for line in out.splitlines() if FAKE in line]

    assert code == 0
    assert "2026-09-21 14:13:30.0" in row
    assert row.split()[-5:] == ["s", "lost", "40", "disk", "full"]
    assert out.splitlines()[-1] == "1 gap, 40 samples lost"


def test_gaps_of_a_feed_longer_than_a_time(data):
    assert json.loads(data("gaps", "fridge", "--json")[1]) == []
    told = json.loads(data("gaps", "fake-1", "--longer-than", "1h", "--json", "--stop", START + 8000)[1])
    assert [(gap["kind"], gap["samples"]) for gap in told] == [("lost", 40), ("no data", 0)]


def test_print_shows_fields_side_by_side(data):
    code, out, _ = data("print", "channel_01", "mode", "--stop", START + 6)
    lines = out.splitlines()

    assert code == 0
    assert lines[0].split() == ["time", "(UTC)", "channel_01", "mode"]
    assert lines[1].split() == ["2026-09-21", "14:13:20.000", "False", "idle"]
    assert lines[2].split() == ["2026-09-21", "14:13:21.000", "True"]
    assert lines[6].split() == ["2026-09-21", "14:13:25.000", "True", "a,b\\x1b[31m"]
    assert lines[7].split() == ["2026-09-21", "14:13:25.000", "[/red]"]


def test_print_shows_the_newest_rows_and_says_how_many_it_leaves_out(data):
    _, out, error = data("print", "channel_00", "-n", 3)
    assert (len(out.splitlines()), "17 earlier rows left out" in error) == (4, True)
    assert len(data("print", "channel_00", "-n", 0)[1].splitlines()) == 21


def test_print_as_json(data):
    _, out, _ = data("print", "mode", "--json")
    assert json.loads(out) == {
        f"{FRIDGE}.mode": {"times": [START, START + 5, START + 5], "values": ["idle", "a,b\x1b[31m", "[/red]"]}
    }


def test_a_span_without_samples_is_said(data):
    code, _, error = data("print", "mode", "--stop", 5)
    assert (code, "no samples in that span" in error) == (1, True)


def test_csv_keeps_every_value_as_it_is(data):
    code, out, _ = data("csv", "channel_00", "mode")
    header, *rows = csv.reader(io.StringIO(out))

    assert code == 0
    assert header == ["time", f"{FAKE}.channel_00", f"{FRIDGE}.mode"]
    assert len(rows) == 21
    assert [float(rows[1][0]), float(rows[1][1])] == [START + 1, (START + 1) / 7]
    assert [row[2] for row in rows if row[2]] == ["idle", "a,b\x1b[31m", "[/red]"]


def test_csv_to_a_file_with_times_as_text(data, tmp_path):
    assert data("csv", "mode", "-o", tmp_path / "mode.csv", "--utc") == (0, "", "")
    assert (tmp_path / "mode.csv").read_text().splitlines()[1] == "2026-09-21 14:13:20.000000,idle"


def test_a_place_that_cannot_be_written_to_is_named(refused, tmp_path):
    assert "no/such/file.csv cannot be written" in refused("csv", "mode", "-o", tmp_path / "no/such/file.csv")
    assert "no/x.png cannot be written" in refused("plot", "channel_00", "-o", tmp_path / "no/x.png")


@pytest.mark.parametrize("name", ["x.png", "x.svg", "x.pdf"])
def test_plot_draws_a_picture(data, tmp_path, name):
    code, out, _ = data("plot", "channel_*", "-o", tmp_path / name, "--title", "a $ and _")
    assert (code, out) == (0, f"{tmp_path / name}: 2 fields, 40 samples\n")
    assert (tmp_path / name).stat().st_size > 5000


def test_a_picture_has_lines_gaps_and_names(data, tmp_path):
    data("plot", "channel_*", "-o", tmp_path / "x.svg")
    text = (tmp_path / "x.svg").read_text()

    assert [word for word in ("channel_00", "channel_01", "lost", "UTC") if f"<!-- {word} -->" not in text] == []


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["plot", "mode", "-o", "x.png"], "text cannot be drawn"),
        (["plot", "channel_00", "--stop", "5", "-o", "x.png"], "no samples"),
        (["plot", "channel_00", "-o", "x.txt"], "'txt' is not supported"),
        (["print", "chanel_00"], "did you mean"),
        (["csv", "channel_00", "--start", "yesterday"], "is no time"),
        (["csv", "channel_00", "--start", "5", "--last", "1h"], "do not go together"),
        (["csv", "channel_00", "--last", "1"], "is no time span"),
        (["gaps", "--longer-than", "long"], "is no time span"),
        (["gaps", "--start", "now", "--stop=-1h"], "before the beginning"),
        (["print", "x", "/tmp/x/"], "name one folder"),
    ],
)
def test_what_makes_no_sense_is_one_line(refused, words, reason, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert reason in refused(*words)


def test_a_missing_archive_is_one_line(refused, tmp_path):
    assert "no file or folder" in refused("list", folder=tmp_path / "gone")
    (tmp_path / "nothing").mkdir()
    assert "no .g3 file in" in refused("gaps", folder=tmp_path / "nothing")


def test_an_archive_without_samples_is_said(data, tmp_path):
    G3File(tmp_path / "empty" / "1.g3")
    code, out, _ = data("list", folder=tmp_path / "empty")
    assert (code, out.splitlines()[-1]) == (1, "0 fields of 0 feeds in 1 file")
    assert data("gaps", folder=tmp_path / "empty")[0] == 0
    assert data("print", "x", folder=tmp_path / "empty")[0] == 1


def test_matplotlib_missing_is_one_line_that_names_the_extra(archive, tmp_path):
    script = "import sys; sys.modules['matplotlib'] = None; from ocs.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = ["data", "plot", "channel_00", f"{archive}/", "-o", str(tmp_path / "x.png")]
    ended = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "pip install 'ocs[plot]'" in ended.stderr


@pytest.mark.parametrize("words", [["data", "list"], ["data", "print", "x"]])
def test_numpy_missing_is_one_line_that_names_the_extra(archive, words):
    script = "import sys; sys.modules['numpy'] = None; from ocs.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", script, *words, "-d", str(archive)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "pip install 'ocs[hk]'" in ended.stderr


def test_index_makes_what_is_missing_and_checks_everything_when_asked(data, archive):
    (path,) = archive.rglob("*.g3")
    assert data("index")[1] == "1 file with 7 frames; indexes made: 1\n"
    assert index_path(path).exists()
    assert data("index")[1].endswith("made: 0\n")

    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)
    assert data("index")[0] == 0
    code, out, error = data("index", "--rebuild")
    assert (code, out) == (1, "1 file with 6 frames; indexes made: 1\n")
    assert "CRC" in error


def test_an_index_that_cannot_be_written_is_said(data, archive):
    (archive / ".index").write_text("in the way")
    code, _, error = data("index")
    assert (code, "no index could be written" in error) == (1, True)
    assert json.loads(data("index", "--json")[1]) == {
        "files": 1,
        "frames": 7,
        "made": 0,
        "damaged": [],
        "unwritten": 1,
    }


def test_the_folder_may_be_named_among_the_fields(capsys, archive):
    assert program.main(["data", "print", "mode", f"{archive}/"]) == 0
    assert program.main(["data", "list", str(archive)]) == 0
    assert program.main(["data", "print", str(archive)]) == 1
    assert "which fields?" in capsys.readouterr().err


def test_without_a_folder_it_is_the_one_of_ocs_up(capsys, archive, monkeypatch, tmp_path):
    monkeypatch.delenv("OCS_CONFIG_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    assert program.main(["data", "list"]) == 1
    assert "which folder?" in capsys.readouterr().err
    (tmp_path / "ocs-data").mkdir()
    archive.rename(tmp_path / "ocs-data" / "hk")
    assert program.main(["data", "list"]) == 0


SITE = """\
hub: {wamp_server: "ws://127.0.0.1:1/ws", wamp_http: "http://127.0.0.1:1/call", wamp_realm: r, address_root: o}
hosts:
  localhost:
    agent-instances:
      - {agent-class: RegistryAgent, instance-id: registry}
"""
AGGREGATOR = "      - {{agent-class: AggregatorAgent, instance-id: {0}, arguments: [--data-dir, {1}]}}\n"


def test_without_a_folder_it_is_the_one_of_the_sites_aggregator(capsys, archive, tmp_path, monkeypatch):
    site = tmp_path / "default.yaml"
    site.write_text(SITE + AGGREGATOR.format("agg", archive))
    assert program.main(["data", "list", "--site-file", str(site)]) == 0
    monkeypatch.setenv("OCS_CONFIG_DIR", str(tmp_path))
    assert program.main(["data", "gaps"]) == 0
    capsys.readouterr()

    site.write_text(SITE)
    assert program.main(["data", "list"]) == 1
    assert "has no aggregator" in capsys.readouterr().err
    site.write_text(SITE + AGGREGATOR.format("one", archive) + AGGREGATOR.format("two", "/elsewhere"))
    assert program.main(["data", "list"]) == 1
    assert "/elsewhere (two)" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["list", "gaps", "print", "csv", "plot", "index"])
def test_each_command_has_help_with_an_example(capsys, command):
    with pytest.raises(SystemExit) as ended:
        program.main(["data", command, "--help"])
    assert ended.value.code == 0
    assert "example: ocs data" in capsys.readouterr().out


def test_help_loads_no_numpy():
    script = (
        "import sys\nfrom ocs.cli.main import main\n"
        "try: main(['data', '--help'])\nexcept SystemExit: sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0


def test_rows_have_every_sample_once():
    same = np.array([1.0, 2.0, 2.0, 3.0])
    fields = {
        "a": FieldData(same, np.array([10, 20, 21, 30])),
        "b": FieldData(same, np.array(["p", "q", "r", "s"])),
        "c": FieldData(np.array([0.5, 2.0]), np.array([0.1, 0.2])),
    }
    assert list(Rows(fields).rows()) == [
        (0.5, [None, None, 0.1]),
        (1.0, [10, "p", None]),
        (2.0, [20, "q", 0.2]),
        (2.0, [21, "r", None]),
        (3.0, [30, "s", None]),
    ]
    assert list(Rows({}).rows()) == []


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["o.a.feeds.b.x", "o.a.feeds.b.y"], ["x", "y"]),
        (["o.a.feeds.b.x", "o.c.feeds.d.x"], ["b.x", "d.x"]),
        (["o.a.feeds.b.x"], ["x"]),
        (["a.x", "x"], ["a.x", "x"]),
        ([], []),
    ],
)
def test_names_are_as_short_as_they_can_be(names, short):
    assert short_names(names) == short
