"""Children that outlive their supervisor, with and without a launcher; what is remembered of them."""

import os
import signal
import sys
from dataclasses import replace
from errno import EMFILE

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred

from ocs.errors import SupervisorInUseError
from ocs.supervisor import Command, Event, Exit, Phase, Supervisor, Target
from ocs.supervisor import process as process_module
from ocs.supervisor.pipe import Pipe
from tests.harness.supervised import QUICK, SLEEPER, STUBBORN, Forker, Watcher, gone, reap_no_more

COUNTER = """
    import signal, sys, time
    signal.signal(signal.SIGINT, lambda *_: sys.exit(7))
    print("ready")
    n = 0
    while True:
        n += 1
        sys.stdout.write(f"line {n}\\n")  # whole, so that no note comes between
        time.sleep(0.005)
"""


@pytest.fixture
def make_watcher(tmp_path):
    made = []

    def make(state=True, **keywords):
        made.append(Watcher(tmp_path, state_dir=tmp_path / "state" if state else None, **keywords))
        return made[-1]

    yield make
    for watcher in made:
        pytest_twisted.blockon(ensureDeferred(watcher.end()))
    reap_no_more()


@pytest.fixture(params=["plain", "launched"])
def launcher(request):
    return Forker() if request.param == "launched" else None


async def succeed(make_watcher, watcher, **keywords):
    """Let go of all children; return the next supervisor, with the same children, none adopted."""
    await watcher.supervisor.release()
    following = make_watcher(**keywords)
    for child in watcher.supervisor.children.values():
        following.supervisor.add(child.command)
    return following


@pytest_twisted.ensureDeferred
async def test_what_has_been_let_go_of_runs_on_and_is_taken_over(make_watcher, launcher):
    first = make_watcher(launcher=launcher)
    child = first.start(COUNTER)
    await first.prints(child, "line 3")
    pid, started = child.pid, child.started
    second = await succeed(make_watcher, first)
    assert {name: entry.pid for name, entry in second.supervisor.leftovers().items()} == {"child": pid}
    assert second.supervisor.adopt("child")
    heir = second.supervisor.children["child"]
    assert (heir.pid, heir.adopted, heir.state.phase, heir.state.target) == (pid, True, Phase.UP, Target.UP)
    assert abs(heir.started - started) < 1.0
    assert second.supervisor.leftovers() == {}
    await second.prints(heir, "line 100")
    log = (second.path / "child.log").read_text().rpartition("\n")[0]  # the last line may not be whole yet
    numbers = [int(line.split()[1]) for line in log.splitlines() if line.startswith("line")]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest_twisted.ensureDeferred
async def test_a_child_that_has_been_taken_over_is_ended_as_any_other(make_watcher, launcher):
    first = make_watcher(launcher=launcher)
    child = first.start(STUBBORN)
    await first.prints(child, "ready")
    pid = child.pid
    second = await succeed(make_watcher, first)
    assert second.supervisor.adopt("child")
    await second.supervisor.stop()
    assert gone(pid)
    heir = second.supervisor.children["child"]
    assert (heir.state.phase, heir.pid, heir.started) == (Phase.DOWN, None, None)


@pytest_twisted.ensureDeferred
async def test_a_child_that_has_been_taken_over_is_started_again_when_it_dies(make_watcher):
    first = make_watcher()
    child = first.start(SLEEPER)
    await first.prints(child, "ready")
    pid = child.pid
    second = await succeed(make_watcher, first)
    second.supervisor.adopt("child")
    os.kill(pid, signal.SIGKILL)
    heir = second.supervisor.children["child"]
    await second.until(lambda: heir.state.starts == 2 and heir.pid)
    assert heir.pid != pid
    assert not heir.adopted


@pytest_twisted.ensureDeferred
async def test_the_last_lines_of_before_are_there_after_a_change_of_supervisor(make_watcher):
    first = make_watcher()
    child = first.start(SLEEPER)
    await first.prints(child, "ready")
    second = await succeed(make_watcher, first)
    second.supervisor.adopt("child")
    await second.prints(second.supervisor.children["child"], "ready")


@pytest_twisted.ensureDeferred
async def test_what_was_printed_while_no_supervisor_was_there_is_not_lost(make_watcher):
    first = make_watcher()
    child = first.start("""
        import os, time
        print("ready")
        while not os.path.exists("go"):
            time.sleep(0.01)
        for n in range(20000):
            print("alone", n)
        open("done", "w").close()
        time.sleep(1000)
    """)
    await first.prints(child, "ready")
    await first.supervisor.release()
    (first.path / "go").touch()
    await first.until((first.path / "done").exists)
    second = make_watcher()
    heir = second.supervisor.add(child.command)
    second.supervisor.adopt("child")
    await second.prints(heir, "alone 19999")
    await second.supervisor.stop()
    log = (second.path / "child.log").read_text()
    assert [f"alone {n}" for n in range(20000)] == [line for line in log.splitlines() if line.startswith("alone")]


@pytest_twisted.ensureDeferred
async def test_what_ended_meanwhile_is_in_the_history(make_watcher):
    first = make_watcher()
    child = first.start(SLEEPER)
    await first.prints(child, "ready")
    await first.supervisor.release()
    os.kill(child.pid, signal.SIGKILL)
    await first.until(lambda: gone(child.pid))
    second = make_watcher()
    heir = second.supervisor.add(child.command)
    assert second.supervisor.leftovers() == {}
    assert not second.supervisor.adopt("child")
    assert [run.end for run in heir.history] == [Exit(unknown=True)]
    assert heir.state.phase is Phase.DOWN


@pytest_twisted.ensureDeferred
async def test_what_ends_between_being_found_and_being_adopted_is_in_the_history(make_watcher):
    first = make_watcher()
    child = first.start(SLEEPER)
    await first.prints(child, "ready")
    second = await succeed(make_watcher, first)
    os.kill(child.pid, signal.SIGKILL)
    await first.until(lambda: gone(child.pid))
    assert not second.supervisor.adopt("child")
    assert [run.end for run in second.supervisor.children["child"].history] == [Exit(unknown=True)]


@pytest_twisted.ensureDeferred
async def test_one_that_nobody_has_adopted_is_not_started_a_second_time(make_watcher):
    first = make_watcher()
    child = first.start(SLEEPER)
    await first.prints(child, "ready")
    pid = child.pid
    second = await succeed(make_watcher, first)
    second.supervisor.tell("child", Event.WISH_UP)
    heir = second.supervisor.children["child"]
    assert (heir.pid, heir.adopted) == (pid, True)
    with pytest.raises(ValueError, match="child is up"):
        second.supervisor.adopt("child")


@pytest_twisted.ensureDeferred
async def test_one_that_cannot_be_taken_over_now_is_not_started_a_second_time_but_tried_again(
    make_watcher, monkeypatch
):
    first = make_watcher()
    child = first.start(SLEEPER)
    await first.prints(child, "ready")
    pid = child.pid
    second = await succeed(make_watcher, first)
    heir = second.supervisor.children["child"]

    def no_room(_self, _pid):
        raise OSError(EMFILE, os.strerror(EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(Pipe, "take_over", no_room)
        with pytest.raises(OSError, match="Too many open files"):
            second.supervisor.adopt("child")
        second.supervisor.tell("child", Event.WISH_UP)
        await second.is_in(heir, Phase.WAITING)
    assert str(heir.state.last_exit) == "could not be started: Too many open files"
    await second.is_in(heir, Phase.UP)
    assert (heir.pid, heir.adopted) == (pid, True)


@pytest_twisted.ensureDeferred
async def test_what_is_not_adopted_is_found_again_by_the_next(make_watcher):
    first = make_watcher()
    child = first.start(SLEEPER)
    await first.prints(child, "ready")
    await first.supervisor.release()
    second = make_watcher()
    other = second.start(SLEEPER, name="other")
    await second.prints(other, "ready")
    await second.supervisor.release()
    third = make_watcher()
    assert set(third.supervisor.leftovers()) == {"child", "other"}
    for name in ("child", "other"):
        third.supervisor.add(second.command(SLEEPER, name))
        assert third.supervisor.adopt(name)


@pytest_twisted.ensureDeferred
async def test_without_a_ledger_children_are_known_by_their_pipes(make_watcher, launcher):
    first = make_watcher(launcher=launcher)
    child = first.start(SLEEPER, name="fake/1 é")
    await first.prints(child, "ready")
    pid = child.pid
    await first.supervisor.release()
    (first.path / "state" / "processes.json").unlink()
    second = make_watcher()
    second.supervisor.add(child.command)
    assert second.supervisor.adopt("fake/1 é")
    assert second.supervisor.children["fake/1 é"].pid == pid


@pytest_twisted.ensureDeferred
async def test_a_pipe_that_was_removed_is_found_by_the_one_who_holds_it(make_watcher):
    first = make_watcher()
    child = first.start(COUNTER)
    await first.prints(child, "line 3")
    await first.supervisor.release()
    (first.path / "state" / "pipes" / "child").unlink()
    second = make_watcher()
    heir = second.supervisor.add(child.command)
    assert second.supervisor.adopt("child")
    await second.prints(heir, "line 100")


@pytest_twisted.ensureDeferred
async def test_what_a_dead_child_has_left_in_its_group_is_ended(make_watcher):
    first = make_watcher()
    child = first.start("""
        import subprocess, time
        kid = subprocess.Popen(["sleep", "1000"])
        print("kid", kid.pid)
        time.sleep(1000)
    """)
    await first.prints(child, "kid")
    kid = int(child.output.tail.last_line().split()[1])
    await first.supervisor.release()
    os.kill(child.pid, signal.SIGKILL)
    await first.until(lambda: gone(child.pid))
    first.supervisor = make_watcher().supervisor
    await first.until(lambda: gone(kid))


@pytest_twisted.ensureDeferred
async def test_a_second_supervisor_is_refused(make_watcher, tmp_path):
    make_watcher()
    with pytest.raises(SupervisorInUseError, match=rf"another process \({os.getpid()}\) looks after .*state: end it"):
        Supervisor(reactor, state_dir=tmp_path / "state")


@pytest_twisted.ensureDeferred
async def test_a_launched_child_ends_with_its_exit_code(make_watcher):
    watcher = make_watcher(launcher=Forker())
    child = watcher.start("raise SystemExit(7)", policy=replace(QUICK, restarts=False))
    await watcher.is_in(child, Phase.DOWN)
    assert child.state.last_exit == Exit(code=7)


@pytest_twisted.ensureDeferred
async def test_what_a_launcher_cannot_start_is_started_plainly(make_watcher):
    forker = Forker()
    watcher = make_watcher(launcher=forker)
    child = watcher.start(SLEEPER, name="unlaunchable")
    await watcher.prints(child, "ready")
    assert forker.pids == []
    assert os.getsid(child.pid) == child.pid


@pytest_twisted.ensureDeferred
async def test_a_launcher_that_breaks_costs_nobody_its_start(make_watcher):
    async def broken(_command, _output, _gate):
        raise RuntimeError("a bug")

    watcher = make_watcher(launcher=broken)
    await watcher.prints(watcher.start(SLEEPER), "ready")


@pytest_twisted.ensureDeferred
async def test_a_launcher_that_hangs_costs_nobody_its_start_nor_starts_a_second_copy(make_watcher, monkeypatch):
    monkeypatch.setattr(process_module, "_LAUNCH_PATIENCE", 0.1)
    wake, forker = Deferred(), Forker()

    async def hangs(command, output, gate):
        await wake
        return await forker(command, output, gate)

    watcher = make_watcher(launcher=hangs)
    child = watcher.start(SLEEPER)
    await watcher.prints(child, "ready")
    pid = child.pid
    wake.callback(None)
    await watcher.until(lambda: forker.pids and gone(forker.pids[0]))
    assert (child.pid, child.state.phase) == (pid, Phase.UP)
    assert child.output.tail.lines() == ["ready"]


@pytest_twisted.ensureDeferred
async def test_a_stop_while_a_launch_is_under_way_is_obeyed_at_once(make_watcher):
    wake, forker = Deferred(), Forker()

    async def slow(command, output, gate):
        await wake
        return await forker(command, output, gate)

    watcher = make_watcher(launcher=slow)
    child = watcher.start(SLEEPER)
    await watcher.supervisor.stop()
    assert (child.state.phase, child.state.last_exit) == (Phase.DOWN, Exit(signum=signal.SIGINT))
    wake.callback(None)
    await watcher.until(lambda: forker.pids and gone(forker.pids[0]))
    assert child.output.tail.lines() == []


@pytest_twisted.ensureDeferred
async def test_a_restart_while_a_launch_is_under_way_starts_one_copy(make_watcher):
    wakes, forker = [], Forker()

    async def slow(command, output, gate):
        wakes.append(Deferred())
        await wakes[-1]
        return await forker(command, output, gate)

    watcher = make_watcher(launcher=slow)
    child = watcher.start(SLEEPER)
    watcher.supervisor.tell("child", Event.RESTART)
    await watcher.until(lambda: len(wakes) == 2)
    for wake in wakes:
        wake.callback(None)
    await watcher.prints(child, "ready")
    await watcher.until(lambda: len([pid for pid in forker.pids if not gone(pid)]) == 1)
    assert child.output.tail.lines() == ["ready"]


@pytest_twisted.ensureDeferred
async def test_a_stop_at_the_gate_begins_nothing(make_watcher):
    watcher = make_watcher()
    child = watcher.start(SLEEPER)
    # The ledger's write has not even begun.
    pid = child.pid
    await watcher.supervisor.stop()
    assert gone(pid)
    assert child.state.last_exit == Exit(signum=signal.SIGINT)
    assert child.output.tail.lines() == []


@pytest_twisted.ensureDeferred
async def test_letting_go_waits_for_those_that_are_being_started(make_watcher, launcher):
    first = make_watcher(launcher=launcher)
    for n in range(3):
        first.start(SLEEPER, name=f"child-{n}")
    second = await succeed(make_watcher, first)
    for n in range(3):
        assert second.supervisor.adopt(f"child-{n}")
        await second.prints(second.supervisor.children[f"child-{n}"], "ready")


@pytest_twisted.ensureDeferred
async def test_nothing_is_started_once_all_have_been_let_go_of(make_watcher):
    watcher = make_watcher()
    child = watcher.supervisor.add(watcher.command(SLEEPER))
    await watcher.supervisor.release()
    watcher.supervisor.tell("child", Event.WISH_UP)
    assert (child.state.phase, child.pid) == (Phase.DOWN, None)


@pytest_twisted.ensureDeferred
async def test_the_history_tells_of_the_last_ten_runs(make_watcher):
    watcher = make_watcher(state=False)
    child = watcher.start(
        "import os; print('run of', os.getpid()); print('bye', end=''); raise SystemExit(3)",
        policy=replace(QUICK, first_delay=0.01, longest_delay=0.01),
    )
    await watcher.until(lambda: child.state.starts > 12)
    await watcher.supervisor.stop()
    assert len(child.history) == 10
    first = child.history[0]
    assert first.end == Exit(code=3)
    assert first.last_lines[0].startswith("run of")
    assert first.last_lines[1:] == ("bye",)
    assert first.started <= first.ended <= child.history[1].started


@pytest_twisted.ensureDeferred
async def test_without_restarts_an_end_nobody_asked_for_is_the_end(make_watcher):
    watcher = make_watcher()
    child = watcher.start("raise SystemExit(3)", policy=replace(QUICK, restarts=False))
    await watcher.is_in(child, Phase.DOWN)
    assert (child.state.target, child.state.last_exit, child.state.due) == (Target.DOWN, Exit(code=3), None)


@pytest_twisted.ensureDeferred
async def test_only_what_is_down_can_be_removed(make_watcher):
    watcher = make_watcher()
    child = watcher.start(SLEEPER)
    await watcher.prints(child, "ready")
    pipe = watcher.path / "state" / "pipes" / "child"
    assert pipe.is_fifo()
    with pytest.raises(ValueError, match="child is up"):
        watcher.supervisor.remove("child")
    await watcher.supervisor.stop()
    watcher.supervisor.remove("child")
    assert not pipe.exists()
    assert watcher.supervisor.children == {}


@pytest_twisted.ensureDeferred
async def test_a_new_command_counts_from_the_next_start(make_watcher):
    watcher = make_watcher()
    child = watcher.start(SLEEPER)
    await watcher.prints(child, "ready")
    log = watcher.path / "other.log"
    command = Command("child", (sys.executable, "-c", "print('changed'); input()"), log_file=log)
    watcher.supervisor.replace_command("child", command)
    assert child.state.phase is Phase.UP
    watcher.supervisor.tell("child", Event.RESTART)
    await watcher.prints(child, "changed")
    await child.output.drained()
    assert "changed" in log.read_text()
    with pytest.raises(ValueError, match="called other"):
        watcher.supervisor.replace_command("child", Command("other", ("true",)))


@pytest_twisted.ensureDeferred
async def test_a_change_that_others_cannot_stand_hurts_no_child(tmp_path):
    def broken(_child):
        raise RuntimeError("a bug of somebody else's")

    watcher = Watcher(tmp_path)
    watcher.supervisor._on_change = broken
    child = watcher.start(SLEEPER)
    await watcher.prints(child, "ready")
    await watcher.end()
    assert child.state.phase is Phase.DOWN
