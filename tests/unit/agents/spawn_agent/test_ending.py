"""Ending families of real processes: told, given time, killed."""

import os
import signal
import subprocess
import sys

import pytest
import pytest_twisted
from twisted.internet import reactor

from ocs.agents.spawn_agent import ending
from ocs.agents.spawn_agent.ending import Ender
from ocs.agents.spawn_agent.family import Member
from ocs.supervisor.proc import stamp

_STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
_OBEDIENT = "import time; print('up', flush=True); time.sleep(600)"


@pytest.fixture
def start():
    started = []

    def run(code=_OBEDIENT):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout.readline() == b"up\n"
        return process, Member(process.pid, stamp(process.pid))

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(ending, "PATIENCE", 0.3)
    monkeypatch.setattr(ending, "HEAD_START", 0.3)


def family_of(*members):
    return Ender(reactor, lambda _root, _mark: list(members))


@pytest_twisted.ensureDeferred
async def test_what_obeys_is_told_and_not_killed(start):
    process, member = start()
    assert await family_of(member).end(member, "", 5.0) == []
    assert process.wait() == -signal.SIGTERM


@pytest_twisted.ensureDeferred
async def test_what_does_not_obey_is_killed(start):
    process, member = start(_STUBBORN)
    assert await family_of(member).end(member, "", 5.0) == []
    assert process.wait() == -signal.SIGKILL


@pytest_twisted.ensureDeferred
async def test_those_below_are_told_first_and_have_ended_when_the_root_is_told(start):
    sent = []
    root, child = start()[1], start()[1]

    def send(members, signum):
        sent.extend((member, signum, stamp(child.pid) == child.stamp) for member in members)
        for member in members:
            os.kill(member.pid, signum)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ending, "send", send)
        await family_of(child, root).end(root, "", 5.0)
    assert sent == [(child, signal.SIGTERM, True), (root, signal.SIGTERM, False)]


@pytest_twisted.ensureDeferred
async def test_what_is_started_while_the_family_ends_is_ended_too(start):
    process, member = start()
    late = []

    def find(_root, _mark):
        if not late:
            late.append(start(_STUBBORN))
            return [member]
        return [late[0][1]]

    assert await Ender(reactor, find).end(member, "", 5.0) == []
    assert (process.wait(), late[0][0].wait()) == (-signal.SIGTERM, -signal.SIGKILL)


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_ended_is_told_of_in_time():
    """One that waits for a disk that hangs, for example: it is there whatever it is sent."""
    here = Member(os.getpid(), stamp(os.getpid()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ending, "send", lambda _members, _signum: None)
        before = reactor.seconds()
        assert await family_of(here).kill(here, "", 0.5) == [here]
        assert reactor.seconds() - before < 5


@pytest_twisted.ensureDeferred
async def test_a_family_that_has_gone_needs_nothing():
    nobody = Member(2**22 + 1, "gone")
    assert await family_of().end(nobody, "", 1.0) == []
