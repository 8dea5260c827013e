"""The supervisor against real children that behave badly."""

import os
import signal
import sys
import time

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred

from ocs.supervisor import Command, Event, Phase, Policy, Supervisor
from tests.harness.supervised import SLEEPER, STUBBORN, Watcher, gone


@pytest.fixture
def watcher(tmp_path):
    watcher = Watcher(tmp_path)
    yield watcher
    pytest_twisted.blockon(ensureDeferred(watcher.end()))


@pytest_twisted.ensureDeferred
async def test_a_child_leads_a_session_of_its_own(watcher):
    child = watcher.start(SLEEPER)
    await watcher.prints(child, "ready")
    assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid


@pytest_twisted.ensureDeferred
async def test_stopping_leaves_no_process(watcher):
    child = watcher.start(SLEEPER)
    await watcher.prints(child, "ready")
    pid = child.pid
    await watcher.supervisor.stop()
    assert gone(pid)
    assert child.state.phase is Phase.DOWN
    assert child.state.last_exit.signum == signal.SIGINT or child.state.last_exit.code != 0


@pytest_twisted.ensureDeferred
async def test_a_child_that_ignores_sigint_and_sigterm_is_killed(watcher):
    child = watcher.start("""
        import signal, time
        signal.signal(signal.SIGINT, lambda *_: print("got INT"))
        signal.signal(signal.SIGTERM, lambda *_: print("got TERM"))
        print("ready")
        while True:
            time.sleep(1)
    """)
    await watcher.prints(child, "ready")
    await watcher.supervisor.stop()
    assert child.output.tail.lines() == ["ready", "got INT", "got TERM"]
    assert child.state.last_exit.signum == signal.SIGKILL


DEAF = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(1000)
"""

FAMILY = f"""
    import subprocess, sys, time
    kids = [subprocess.Popen([sys.executable, "-c", {DEAF!r}]) for _ in range(2)]
    print("kids", *(kid.pid for kid in kids))
    time.sleep(1000)
"""


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest_twisted.ensureDeferred
async def test_grandchildren_go_with_the_child(watcher, how):
    child = watcher.start(FAMILY)
    # Both write to one pipe, and may do so between each other's text and end of line.
    await watcher.until(lambda: "".join(child.output.tail.lines()).count("up") == 2)
    kids = [int(pid) for line in child.output.tail.lines() if line.startswith("kids") for pid in line.split()[1:]]
    assert len(kids) == 2
    if how == "kill":
        os.kill(child.pid, signal.SIGKILL)
        await watcher.is_in(child, Phase.WAITING)
    else:
        await watcher.supervisor.stop()
    assert all(gone(pid) for pid in kids)


@pytest_twisted.ensureDeferred
async def test_a_second_copy_starts_only_after_the_first_and_its_children_are_gone(watcher):
    watcher.path.joinpath("alive").mkdir()
    child = watcher.start("""
        import os, subprocess, sys, time
        for name in os.listdir("alive"):
            try:
                os.kill(int(name), 0)
            except ProcessLookupError:
                continue
            if "Z" not in open(f"/proc/{name}/stat").read().rpartition(")")[2].split()[0]:
                print("ANOTHER COPY RUNS", name)
        kid = subprocess.Popen(["sleep", "1000"])
        for pid in (os.getpid(), kid.pid):
            open(f"alive/{pid}", "w").close()
        print("ready", os.getpid())
        time.sleep(0.2)
        sys.exit(1)
    """)
    await watcher.until(lambda: child.state.starts >= 5)
    await watcher.supervisor.stop()
    assert not [line for line in child.output.tail.lines() if "ANOTHER" in line]


@pytest_twisted.ensureDeferred
async def test_a_killed_child_is_started_again(watcher):
    child = watcher.start(SLEEPER)
    await watcher.prints(child, "ready")
    first = child.pid
    os.kill(first, signal.SIGKILL)
    await watcher.until(lambda: child.state.starts == 2 and child.pid)
    assert child.pid != first
    assert watcher.phases == [Phase.UP, Phase.WAITING, Phase.UP]
    assert str(child.state.last_exit) == "killed by SIGKILL"


@pytest_twisted.ensureDeferred
async def test_restart_ends_the_old_and_starts_the_new_at_once(watcher):
    child = watcher.start(SLEEPER)
    await watcher.prints(child, "ready")
    first = child.pid
    watcher.supervisor.tell("child", Event.RESTART)
    await watcher.until(lambda: child.state.starts == 2 and child.pid)
    assert gone(first)
    assert child.state.failures == 0


@pytest_twisted.ensureDeferred
async def test_a_hurried_stop_takes_no_time(tmp_path):
    """With the patience of real life."""
    watcher = Watcher(tmp_path, Policy())
    child = watcher.start(STUBBORN)
    await watcher.prints(child, "ready")
    done = watcher.supervisor.stop()
    began = time.monotonic()
    watcher.supervisor.hurry()
    watcher.supervisor.hurry()
    await done
    assert time.monotonic() - began < 3.0


@pytest_twisted.ensureDeferred
async def test_a_program_that_does_not_exist_is_a_failure_like_any_other(watcher):
    child = watcher.supervisor.add(Command("nobody", ("/no/such/program",)))
    watcher.supervisor.tell("nobody", Event.WISH_UP)
    await watcher.is_in(child, Phase.WAITING)
    assert child.state.failures == 1
    assert str(child.state.last_exit) == "could not be started: /no/such/program: No such file or directory"


@pytest_twisted.ensureDeferred
async def test_a_hundred_megabytes_at_once_do_not_hurt(watcher):
    child = watcher.start("""
        import os, time
        line = b"0123456789abcde\\n" * 4096
        for _ in range(1600):
            os.write(1, line)
        print("the end", flush=True)
        time.sleep(1000)
    """)
    began = time.monotonic()
    await watcher.until(lambda: child.output.tail.lines()[-1:] == ["the end"], seconds=60.0)
    assert time.monotonic() - began < 30.0
    assert child.output.tail.lines()[-2] == "0123456789abcde"
    await watcher.supervisor.stop()
    sizes = [path.stat().st_size for path in watcher.path.glob("child.log*")]
    assert max(sizes) <= 12_000_000
    assert child.output.lost_bytes == 0
    assert sum(sizes) > 30_000_000


@pytest_twisted.ensureDeferred
async def test_the_log_holds_all_that_was_printed(watcher):
    child = watcher.start("""
        import sys
        sys.stdout.buffer.write(b"caf\\xc3")
        sys.stdout.buffer.flush()
        sys.stdout.buffer.write(b"\\xa9 \\xff\\xfe binary\\n")
        sys.stdout.buffer.write(b"last words without end of line")
    """)
    await watcher.is_in(child, Phase.WAITING)
    await watcher.supervisor.stop()
    log = (watcher.path / "child.log").read_bytes()
    assert b"caf\xc3\xa9 \xff\xfe binary\nlast words without end of line" in log
    assert child.output.tail.lines()[0] == "café \ufffd\ufffd binary"


@pytest_twisted.ensureDeferred
async def test_a_log_that_cannot_be_written_stops_nothing(watcher):
    (watcher.path / "child.log").mkdir()
    child = watcher.start(SLEEPER)
    await watcher.prints(child, "ready")
    await child.output.drained()
    assert "directory" in child.output.trouble
    assert child.output.lost_bytes > 0
    assert child.state.phase is Phase.UP


@pytest_twisted.ensureDeferred
async def test_a_child_may_have_a_patience_of_its_own(watcher):
    command = Command("eager", (sys.executable, "-c", "pass"))
    child = watcher.supervisor.add(command, Policy(first_delay=50.0, longest_delay=50.0))
    watcher.supervisor.tell("eager", Event.WISH_UP)
    await watcher.is_in(child, Phase.WAITING)
    assert child.state.due - reactor.seconds() > 45.0


@pytest_twisted.ensureDeferred
async def test_stopping_nothing_is_done_at_once():
    await Supervisor(reactor).stop()


def test_a_name_is_taken_once(watcher):
    watcher.supervisor.add(Command("a", ("true",)))
    with pytest.raises(ValueError, match="a is supervised already"):
        watcher.supervisor.add(Command("a", ("true",)))
