"""The end of a process is seen, with and without pidfds, of our own children and of others'."""

import os
import signal
import subprocess

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.process import reapProcessHandlers
from twisted.internet.protocol import ProcessProtocol

from ocs.supervisor import watch as watch_module
from ocs.supervisor.states import Exit
from ocs.supervisor.watch import PidfdWatch, PollWatch, forget_reaped, watch


@pytest.fixture(params=["pidfd", "poll"])
def how(request, monkeypatch):
    if request.param == "poll":
        monkeypatch.delattr(os, "pidfd_open")
        monkeypatch.setattr(watch_module, "_LOOK_INTERVAL", 0.02)
    return {"pidfd": PidfdWatch, "poll": PollWatch}[request.param]


def spawn(*argv):
    """Start a child without a moment in which a signal to it would be one to us."""
    return os.posix_spawnp(argv[0], argv, os.environ)


@pytest.mark.parametrize("code", [0, 7])
@pytest_twisted.ensureDeferred
async def test_the_exit_code_of_our_own_child_is_known(how, code):
    ended = Deferred()
    watching = watch(reactor, spawn("sh", "-c", f"exit {code}"), ended.callback)
    assert isinstance(watching, how)
    assert await ended == Exit(code=code)


@pytest_twisted.ensureDeferred
async def test_a_signal_is_sent_and_seen(how):
    ended = Deferred()
    watching = watch(reactor, spawn("sleep", "1000"), ended.callback)
    watching.send(signal.SIGTERM)
    assert await ended == Exit(signum=signal.SIGTERM)
    watching.send(signal.SIGTERM)
    watching.stop()


def spawn_by_another():
    script = "sleep 1000 >/dev/null & echo $!"
    return int(subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, text=True, check=True).stdout)


@pytest_twisted.ensureDeferred
async def test_how_somebody_elses_child_ended_nobody_knows(how):
    ended, pid = Deferred(), spawn_by_another()
    watch(reactor, pid, ended.callback).send(signal.SIGKILL)
    assert await ended == Exit(unknown=True)


@pytest_twisted.ensureDeferred
async def test_a_process_that_is_gone_has_ended(how):
    ended = Deferred()
    pid = spawn("true")
    os.waitpid(pid, 0)  # noqa: ASYNC222 - an instant
    watch(reactor, pid, ended.callback)
    assert await ended == Exit(unknown=True)


@pytest_twisted.ensureDeferred
async def test_who_has_stopped_watching_hears_nothing(how):
    heard, ended = [], Deferred()
    pid = spawn("sleep", "1000")
    watch(reactor, pid, heard.append).stop()
    watch(reactor, pid, ended.callback).send(signal.SIGKILL)
    await ended
    assert heard == []


@pytest_twisted.ensureDeferred
async def test_what_twisted_has_spawned_and_another_reaped_keeps_no_id_from_being_used_again(monkeypatch):
    protocol, ended = ProcessProtocol(), Deferred()
    protocol.processEnded = ended.callback
    running = reactor.spawnProcess(protocol, "sleep", ["sleep", "1000"], os.environ, childFDs={}).pid
    reaped = spawn("true")
    os.waitpid(reaped, 0)  # noqa: ASYNC222 - an instant
    monkeypatch.setitem(reapProcessHandlers, reaped, object())
    forget_reaped()
    assert reaped not in reapProcessHandlers
    assert running in reapProcessHandlers
    os.kill(running, signal.SIGKILL)
    with pytest.raises(Exception, match="signal 9"):
        raise (await ended).value
