"""Crossbar's process and its node directory; a small script stands for crossbar."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from ocs.errors import RouterError
from ocs.router import process
from tests.harness.processes import runs


def lock(directory, pid):
    (directory / "node.pid").write_text(json.dumps({"pid": pid}))


def wait_for(path):
    deadline = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def crossbar_like():
    """A living process whose command line speaks of crossbar."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "crossbar"])
    yield child
    child.kill()
    child.wait()


def test_a_lock_of_a_living_router_is_respected(tmp_path, crossbar_like):
    lock(tmp_path, crossbar_like.pid)
    assert process.running_pid(tmp_path) == crossbar_like.pid
    with pytest.raises(RouterError, match=f"pid {crossbar_like.pid}"):
        process.clear_leftovers(tmp_path)


def test_a_lock_whose_number_went_to_a_younger_process_is_stale(tmp_path, crossbar_like):
    lock(tmp_path, crossbar_like.pid)
    long_ago = psutil.Process(crossbar_like.pid).create_time() - 100
    os.utime(tmp_path / "node.pid", (long_ago, long_ago))
    assert process.running_pid(tmp_path) is None


def test_a_lock_whose_number_went_to_another_program_is_stale(tmp_path):
    lock(tmp_path, 1)
    assert process.running_pid(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": null}', "not json"])
def test_a_broken_lock_is_stale(tmp_path, text):
    (tmp_path / "node.pid").write_text(text)
    process.clear_leftovers(tmp_path)
    assert not (tmp_path / "node.pid").exists()


def test_the_log_of_the_last_run_is_put_aside(tmp_path):
    (tmp_path / "crossbar.log").write_text("old")
    process.clear_leftovers(tmp_path)
    assert (tmp_path / "crossbar.log.1").read_text() == "old"
    assert not (tmp_path / "crossbar.log").exists()


def test_without_crossbar_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(RouterError, match=r"pip install 'ocs\[router\]'"):
        process.router_command(tmp_path)


def test_a_program_that_cannot_be_run_is_named(tmp_path):
    with pytest.raises(RouterError, match="/no/such/crossbar"):
        process.spawn(process.router_command(tmp_path, binary="/no/such/crossbar"))


REFUSED = """\
Traceback (most recent call last):
  File "checkconfig.py", line 2440, in check_listening_transport_web
    raise InvalidConfigException("...")
crossbar.common.checkconfig.InvalidConfigException: 'acess_log' unknown in Web transport 'options'

Invalid node configuration
'acess_log' unknown in Web transport 'options'
"""
BUSY = """\
  File "tcp.py", line 1438, in startListening
    raise CannotListenError(self.interface, self.port, le)
twisted.internet.error.CannotListenError: Couldn't listen on 127.0.0.1:18777: [Errno 98] Address already in use.

Could not start node: Traceback (most recent call last):
autobahn.wamp.exception.ApplicationError: ApplicationError(error=<crossbar.error.cannot_listen>, args=['Cannot listen'])
"""
GUARD = """\
Could not start node: Traceback (most recent call last):
autobahn.wamp.exception.ApplicationError: ApplicationError(error=<wamp.error.runtime_error>, args=["/k/site.json is \
no JSON: Expecting \\',\\' delimiter"], kwargs={}, enc_algo=None)
"""
NUMPY = """\
A module that was compiled using NumPy 1.x cannot be run in
NumPy 2.4.6 as it may crash.
Traceback (most recent call last):  File "<frozen runpy>", line 198, in _run_module_as_main
AttributeError: _ARRAY_API not found
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (REFUSED, "'acess_log' unknown in Web transport 'options'"),
        (BUSY, "Couldn't listen on 127.0.0.1:18777: [Errno 98] Address already in use."),
        (GUARD, "/k/site.json is no JSON: Expecting ',' delimiter"),
        (NUMPY, "nothing in its log"),
        (NUMPY + REFUSED, "'acess_log' unknown in Web transport 'options'"),
        ("", "nothing in its log"),
    ],
)
def test_the_log_is_condensed_to_the_cause(tmp_path, text, words):
    log = tmp_path / "crossbar.log"
    log.write_text(text)
    assert process.last_words(log) == words


def test_a_log_that_is_not_there_is_no_error(tmp_path):
    assert process.last_words(tmp_path / "none") == "no log"


def test_a_tree_that_ignores_the_polite_signal_is_killed_whole(tmp_path):
    ready = tmp_path / "ready"
    script = f"""
        import os, pathlib, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = os.fork()
        if child:
            pathlib.Path({str(ready)!r} + ".new").write_text(str(child))
            os.rename({str(ready)!r} + ".new", {str(ready)!r})
        time.sleep(60)
    """
    head = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])
    wait_for(ready)
    child = int(ready.read_text())
    process.stop_tree(head.pid, timeout=0.1)
    assert head.wait(5) == -signal.SIGKILL
    assert not runs(child)


def test_ending_what_has_ended_does_nothing():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    process.stop_tree(ended.pid)


def test_a_router_that_never_listens_is_given_up_and_killed(tmp_path, unused_url):
    silent = tmp_path / "crossbar"
    silent.write_text(f"#!{sys.executable}\nimport time\nprint('warming up', flush=True)\ntime.sleep(60)\n")
    silent.chmod(0o755)
    command = process.router_command(tmp_path, binary=str(silent))
    with pytest.raises(RouterError, match=r"not ready within 0\.5 s: warming up"):
        process.start_detached(command, unused_url, "realm", timeout=0.5)


def test_a_router_that_ends_at_once_is_told_with_its_last_words(tmp_path, unused_url):
    broken = tmp_path / "crossbar"
    broken.write_text("#!/bin/sh\necho no way\nexit 1\n")
    broken.chmod(0o755)
    command = process.router_command(tmp_path, binary=str(broken))
    with pytest.raises(RouterError, match="did not start: no way"):
        process.start_detached(command, unused_url, "realm", timeout=10)


@pytest.fixture
def unused_url():
    from ocs.router.ports import free_port

    return f"ws://127.0.0.1:{free_port()}/ws"
