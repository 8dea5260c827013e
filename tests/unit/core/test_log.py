"""Where an agent's log goes."""

import os
from datetime import UTC, datetime

import pytest
from twisted.logger import globalLogPublisher

from ocs.core.log import LogFileError, log_formatter, log_level, start_log_file
from ocs.errors import OCSError


@pytest.fixture(autouse=True)
def observers():
    """Take away the observers that a test adds."""
    before = list(globalLogPublisher._observers)
    yield
    for observer in set(globalLogPublisher._observers) - set(before):
        globalLogPublisher.removeObserver(observer)
        observer._outFile.close()


def test_a_line_is_the_time_and_the_text():
    moment = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
    event = {"log_time": moment.timestamp(), "log_format": "volts: {volts}", "volts": 3}
    assert log_formatter(event) == "2026-01-02T03-04-05.678900 volts: 3\n"


def test_an_event_that_cannot_be_formatted_is_a_line_all_the_same():
    line = log_formatter({"log_time": 0.0, "log_format": "{missing.attribute}"})
    assert line.endswith("\n")
    assert line.count("\n") == 1 or "missing" in line


@pytest.mark.parametrize(
    ("wanted", "level"), [(None, "info"), ("debug", "debug"), ("WARN", "warn"), ("nonsense", "info"), ("", "info")]
)
def test_the_environment_sets_the_level(monkeypatch, wanted, level):
    monkeypatch.delenv("LOGLEVEL", raising=False) if wanted is None else monkeypatch.setenv("LOGLEVEL", wanted)
    assert log_level() == level


def test_what_is_logged_goes_to_the_agents_file(tmp_path):
    from txaio import make_logger, use_twisted

    path = start_log_file("logs", str(tmp_path), "observatory.test-1")
    assert path == tmp_path / "logs" / "observatory.test-1.log"
    use_twisted()
    globalLogPublisher({"log_time": 0.0, "log_format": "hello {name}", "name": "there", "log_level": None})
    make_logger().info("from a logger")
    assert "hello there\n" in path.read_text()


def test_a_path_of_its_own_needs_no_working_dir(tmp_path):
    assert start_log_file(str(tmp_path / "a" / "b"), None, "x.y").parent == tmp_path / "a" / "b"


def test_an_older_log_is_kept(tmp_path):
    (tmp_path / "x.y.log").write_text("old\n")
    assert start_log_file(str(tmp_path), None, "x.y").read_text().startswith("old\n")


def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LogFileError, match="--log-dir") as caught:
        start_log_file(str(tmp_path / "file" / "logs"), None, "x.y")
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, OCSError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_told(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(LogFileError, match="Permission denied"):
        start_log_file(str(tmp_path / "closed"), None, "x.y")
