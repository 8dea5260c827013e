import json

import pytest

from ocs.agents.aggregator.drivers import Aggregator
from ocs.agents.aggregator.inbox import Inbox
from ocs.cli import checkdata
from tests.harness.archive import Clock, Lines, event
from tests.harness.g3_files import G3File

NOW = 1_790_000_000.0


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A folder with one file: 100 samples of two fields, the newest 90 s old."""
    inbox = Inbox()
    inbox.open()
    aggregator = Aggregator(inbox, 3600, tmp_path, clock=Clock(NOW), log=Lines())
    inbox.put(event([NOW - 189 + i for i in range(100)], a=list(range(100)), b=[float("nan")] * 100))
    inbox.put(event([NOW - 200], "observatory.faker.feeds.temps", name=["x" * 500]))
    aggregator.close()
    monkeypatch.setattr(checkdata.run, "__kwdefaults__", {"now": lambda: NOW})
    return tmp_path


def test_it_shows_age_and_number_of_samples_per_feed(archive, capsys):
    assert checkdata.main([str(archive)]) == 0
    header, first, second, _, total = capsys.readouterr().out.splitlines()

    assert header.split() == ["instance", "feed", "age", "newest", "(UTC)", "samples", "fields", "span"]
    assert first.split() == ["a", "b", "1.5", "min", "2026-09-21", "14:11:50", "100", "2", "1.6", "min"]
    assert second.split()[:4] == ["faker", "temps", "3.3", "min"]
    assert total == "201 values of 2 feeds in 1 file"


def test_verbose_shows_every_field_with_its_newest_value(archive, capsys):
    checkdata.main(["-v", str(archive)])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]

    assert ["a", "b", "a", "1.5", "min", "99"] in lines
    assert ["faker", "temps", "name", "3.3", "min", "x" * 40 + "…"] in lines


def test_json_says_the_same_to_a_machine(archive, capsys):
    assert checkdata.main(["--json", str(archive)]) == 0
    report = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))

    assert report["files"] == 1
    assert report["damaged"] == []
    feed = report["feeds"][0]
    assert (feed["instance"], feed["feed"], feed["samples"], feed["values"]) == ("a", "b", 100, 200)
    assert feed["age"] == 90
    assert feed["fields"]["a"] == {"age": 90, "newest": NOW - 90, "value": 99}
    assert feed["fields"]["b"]["value"] is None


def test_a_torn_file_is_named_and_the_rest_still_shown(archive, capsys):
    (whole,) = archive.rglob("*.g3")
    (archive / "torn.g3").write_bytes(whole.read_bytes()[:-10])

    assert checkdata.main([str(archive)]) == 0
    shown = capsys.readouterr()
    assert "torn.g3 is damaged after" in shown.err
    assert "values of 2 feeds in 2 files" in shown.out


def test_a_missing_folder_is_one_line_and_an_exit_code(tmp_path, capsys):
    assert checkdata.main([str(tmp_path / "gone")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_an_archive_without_samples_is_a_failure(archive, capsys):
    (path,) = archive.rglob("*.g3")
    path.write_bytes(b"")

    assert checkdata.main([str(archive)]) == 1


def test_names_and_values_are_no_commands_to_the_terminal(tmp_path, capsys):
    G3File(tmp_path / "1.g3").block([NOW], address="o.a\x1b[2J.feeds.b", x=["\x1b]0;\a\n"])
    checkdata.main(["-v", str(tmp_path)])
    shown = capsys.readouterr().out

    assert "\x1b" not in shown
    assert "a\\x1b[2J" in shown
