"""The helper for those who keep a single process by themselves."""

import sys

from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater

from ocs.agents.host_manager.drivers import AgentProcessHelper

READY = "import time; print('ready', flush=True); time.sleep(100)"


def helper(code):
    return AgentProcessHelper("a", [sys.executable, "-c", code])


async def until(condition):
    while not condition():
        await deferLater(reactor, 0.02)


@ensureDeferred
async def test_it_starts_and_ends_a_process():
    made = helper(READY)
    assert isinstance(made, ProcessProtocol)
    assert (made.instance_id, made.status) == ("a", (False, None))
    made.up()
    assert made.status == (True, None)
    await until(lambda: made.output.last_line() == "ready")
    made.down()
    await until(lambda: not made.status[0])
    assert made.status == (False, 130)  # as a shell tells SIGINT


@ensureDeferred
async def test_an_exit_code_is_had_and_it_can_be_started_again():
    made = helper("import time; time.sleep(0.5); raise SystemExit(3)")
    made.up()
    await until(lambda: not made.status[0])
    assert made.status == (False, 3)
    made.up()
    assert made.status == (True, None)
    await until(lambda: not made.status[0])


def test_an_end_of_what_does_not_run_does_nothing():
    helper(READY).down()
