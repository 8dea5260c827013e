"""Calls of programs, with a real reactor and real programs."""

import sys
from pathlib import Path

import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from ocs.agents.host_manager.docker.calls import Calls, CallTimeoutError, Patience
from ocs.errors import DockerError
from tests.harness.compose_site import until

LONG = Patience(30.0)


@pytest_twisted.async_yield_fixture
async def calls():
    made = Calls(reactor)
    yield made
    await made.stop()


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


@ensureDeferred
async def test_output_errors_and_exit_code_are_told(calls):
    answer = await calls.run(shell("echo out; echo err >&2; exit 3"), LONG)
    assert (answer.out, answer.err, answer.code, answer.reason) == ("out\n", "err\n", 3, "err")


@ensureDeferred
async def test_many_quick_calls_all_answer(calls):
    several = [Deferred.fromCoroutine(calls.run(shell(f"exit {number}"), LONG)) for number in range(40)]
    assert [(await each).code for each in several] == list(range(40))


@ensureDeferred
async def test_a_signal_is_a_negative_code(calls):
    assert (await calls.run(shell("kill -9 $$"), LONG)).code == -9


@ensureDeferred
async def test_a_program_that_is_not_there_fails(calls):
    answer = await calls.run(["/nowhere/docker", "ps"], LONG)
    assert answer.code == 127
    assert "/nowhere/docker" in answer.reason


@ensureDeferred
async def test_one_that_takes_too_long_is_killed_with_its_children(calls, tmp_path):
    pid_file = tmp_path / "pid"
    script = f"sleep 600 & echo $! >{pid_file}; wait"
    with pytest.raises(CallTimeoutError, match=r"sh gave no answer within 0.5 s, and was killed"):
        await calls.run(shell(script), Patience(0.5))
    await until(lambda: not is_running(int(pid_file.read_text())))


@ensureDeferred
async def test_patience_is_renewed_by_output(calls):
    answer = await calls.run(shell("for i in 1 2 3 4 5 6; do echo $i; sleep 0.3; done"), Patience(1.2, renewed=True))
    assert answer.out.split() == list("123456")
    with pytest.raises(CallTimeoutError, match="has said nothing for"):
        await calls.run(shell("echo 1; sleep 600"), Patience(0.3, renewed=True))


@ensureDeferred
async def test_what_a_program_leaves_running_neither_delays_it_nor_outlives_it(calls, tmp_path):
    pid_file = tmp_path / "pid"
    answer = await calls.run(shell(f"sleep 600 & echo $! >{pid_file}; echo done"), LONG)
    assert answer.out == "done\n"
    await until(lambda: not is_running(int(pid_file.read_text())))


@ensureDeferred
async def test_lines_are_passed_on_as_they_come(calls):
    lines: list[str] = []
    answer = await calls.run(shell("echo one; echo two >&2; exit 1"), LONG, on_line=lines.append)
    assert sorted(lines) == ["one", "two"]
    assert answer.reason == "two"


@ensureDeferred
async def test_endless_output_is_given_up_or_its_end_kept(calls):
    with pytest.raises(DockerError, match="printed more than 16 MiB"):
        await calls.run(["/bin/cat", "/dev/zero"], LONG)
    script = "import sys; [sys.stdout.write('x' * 1_000_000) for _ in range(20)]; print(); print('last')"
    answer = await calls.run([sys.executable, "-c", script], LONG, keep_last=True)
    assert answer.out.endswith("last\n")
    assert len(answer.out) < 18_000_000


@ensureDeferred
async def test_stopping_breaks_off_what_is_under_way(calls):
    running = Deferred.fromCoroutine(calls.run(shell("trap '' TERM; sleep 600"), None))
    await calls.stop()
    with pytest.raises(DockerError, match="was broken off"):
        await running


@ensureDeferred
async def test_a_folder_that_has_gone_is_no_reason_to_fail(calls, tmp_path):
    assert (await calls.run(shell("pwd"), LONG, cwd=tmp_path)).out.strip() == str(tmp_path)
    assert (await calls.run(shell("pwd"), LONG, cwd=tmp_path / "gone")).code == 0


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
