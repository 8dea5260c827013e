"""What a killed manager leaves to the next: targets, on a disk that may refuse."""

import pytest

from ocs.agents.host_manager.memory import Targets, load_targets
from tests.harness.fakes import Log
from tests.harness.reactor import SteppedReactor


@pytest.fixture
def reactor():
    from twisted.python.threadpool import ThreadPool

    pool = ThreadPool(0, 2)
    pool.start()
    stepped = SteppedReactor()
    stepped.getThreadPool = lambda: pool
    yield stepped
    pool.stop()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "targets.json"


def written(reactor, targets):
    done = []
    targets.written().addCallback(done.append)
    reactor.pump_until(lambda: bool(done))


def test_what_is_remembered_is_loaded_by_the_next(reactor, path):
    targets = Targets(reactor, path, Log())
    targets.remember({"a": "down"})
    targets.remember({"a": "down", "b": "up"})
    written(reactor, targets)
    assert load_targets(path) == {"a": "down", "b": "up"}


def test_nothing_to_remember_leaves_no_file(reactor, path):
    targets = Targets(reactor, path, Log())
    targets.remember({"a": "down"})
    targets.remember({})
    written(reactor, targets)
    assert not path.exists()


def test_what_is_on_the_disk_is_not_written_again(reactor, path):
    targets = Targets(reactor, path, Log())
    targets.remember({"a": "down"})
    written(reactor, targets)
    path.unlink()
    targets.remember({"a": "down"})
    written(reactor, targets)
    assert not path.exists()


def test_a_disk_that_refuses_is_told_and_no_error(reactor, tmp_path):
    (tmp_path / "file").write_text("")
    log = Log()
    targets = Targets(reactor, tmp_path / "file" / "targets.json", log)
    targets.remember({"a": "down"})
    written(reactor, targets)
    assert "cannot be remembered" in log.of("warn")[0]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": "sideways"}', '{"a": ["up"]}', "\xff"])
def test_a_damaged_file_means_nothing_was_set(path, text):
    path.parent.mkdir()
    path.write_text(text, encoding="latin-1")
    assert load_targets(path) == {}


def test_without_a_folder_nothing_is_remembered(reactor):
    targets = Targets(reactor, None, Log())
    targets.remember({"a": "down"})
    written(reactor, targets)
    assert load_targets(None) == {}
