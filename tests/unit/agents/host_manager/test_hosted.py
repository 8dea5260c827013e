"""The runner of a process: over a supervisor that the test plays."""

import pytest
from twisted.internet.defer import Deferred

from ocs.agents.host_manager.hosted import HostedRunner, exit_code
from ocs.supervisor import ChildState, Command, Event, Exit, Phase
from tests.harness.fakes import Log


class FakeChild:
    name = "a"
    pid = None
    state = ChildState()


class FakeSupervisor:
    def __init__(self):
        self.told, self.commands = [], []

    def tell(self, name, event):
        self.told.append((name, event))

    def replace_command(self, name, command):
        self.commands.append(command)


class Running:
    def __init__(self):
        self.supervisor, self.child, self.log = FakeSupervisor(), FakeChild(), Log()
        self.prepared = []
        self.runner = HostedRunner(self.supervisor, self.child, self.prepare, self.log)

    def prepare(self, name):
        self.prepared.append(Deferred())
        return self.prepared[-1]


COMMAND = Command("a", ("true",), {})


@pytest.fixture
def running():
    return Running()


def test_a_start_takes_the_command_as_it_is_then(running):
    running.runner.up()
    assert running.supervisor.told == []
    running.prepared[0].callback(COMMAND)
    assert running.supervisor.commands == [COMMAND]
    assert running.supervisor.told == [("a", Event.WISH_UP)]


def test_while_it_is_prepared_it_is_busy_and_does_not_run(running):
    running.runner.up()
    assert (running.runner.busy, running.runner.status) == (True, (False, None))
    running.prepared[0].callback(COMMAND)
    assert not running.runner.busy


def test_it_runs_when_there_is_a_process(running):
    running.child.state = ChildState(phase=Phase.UP)
    assert (running.runner.busy, running.runner.status) == (True, (False, None))
    running.child.pid = 7
    assert (running.runner.busy, running.runner.status) == (False, (True, None))


def test_a_second_up_starts_nothing(running):
    running.runner.up()
    running.runner.up()
    assert len(running.prepared) == 1


def test_an_end_while_it_is_prepared_starts_nothing(running):
    running.runner.up()
    running.runner.down()
    running.prepared[0].callback(COMMAND)
    assert running.supervisor.told == [("a", Event.WISH_DOWN)]
    assert not running.runner.busy


def test_up_down_up_starts_once(running):
    running.runner.up()
    running.runner.down()
    running.runner.up()
    for prepared in running.prepared:
        prepared.callback(COMMAND)
    assert [event for _name, event in running.supervisor.told] == [Event.WISH_DOWN, Event.WISH_UP]


def test_a_disk_that_refuses_has_it_started_as_the_last_time(running):
    running.runner.up()
    running.prepared[0].errback(OSError(28, "No space left on device"))
    assert (running.supervisor.commands, running.supervisor.told) == ([], [("a", Event.WISH_UP)])
    assert "No space left" in running.log.of("warn")[0]


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (None, None),
        (Exit(code=0), 0),
        (Exit(code=3), 3),
        (Exit(signum=9), 137),
        (Exit(error="no such file"), 127),
        (Exit(unknown=True), None),
    ],
)
def test_an_end_is_told_in_one_number(running, end, code):
    assert exit_code(end) == code
    running.child.state = ChildState(last_exit=end)
    assert running.runner.status == (False, code)
