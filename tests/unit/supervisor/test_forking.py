"""The manager's side of the template: what is forked, what is not, and what becomes of a template that fails."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater

from ocs.supervisor import Command, LaunchError, forking
from ocs.supervisor.proc import read_stat
from tests.harness.forked import starting
from tests.harness.supervised import gone
from tests.harness.waiting import wait_for

SAYS = "def main(args): print('it runs')"
IT = ("--instance-id", "it")


@pytest.fixture
def make_starter(tmp_path):
    made = []

    def make(**keywords):
        made.append(starting(tmp_path, **keywords))
        return next(made[-1])

    yield make
    for starter in made:
        next(starter, None)


@pytest.fixture
def starter(make_starter):
    return make_starter()


class Asked:
    """One request to a template, with a pipe for its output and one as its gate."""

    def __init__(self, starter, *words, **keywords):
        self.command = starter.command("--agent", starter.script(SAYS), *IT, *words, **keywords)
        self.output, self.output_inner = os.pipe()
        self.gate_inner, self.gate = os.pipe()
        self.template = starter.template

    async def launch(self, command=None):
        """Launch; the process id."""
        try:
            return await self.template.launch(command or self.command, self.output_inner, self.gate_inner)
        finally:
            os.close(self.output_inner)
            os.close(self.gate_inner)

    def finish(self, pid, open_gate=True):
        """Let it in, or turn it back; what it has printed, and how it has ended."""
        if open_gate:
            os.write(self.gate, b"\n")
        os.close(self.gate)
        with os.fdopen(self.output, "rb") as output:
            text = output.read()
        return text, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def close(self):
        os.close(self.gate)
        os.close(self.output)


async def refused(starter, *words, command=None, **keywords):
    """Return why a request is refused."""
    asked = Asked(starter, *words, **keywords)
    with pytest.raises(LaunchError) as caught:
        await asked.launch(command)
    asked.close()
    return str(caught.value)


async def runs(starter, **keywords):
    """Whether an agent can be forked; returns the template's process id."""
    asked = Asked(starter, **keywords)
    pid = await asked.launch()
    assert asked.finish(pid) == (b"it runs\n", 0)
    return starter.template.pid


# What is forked.


@pytest_twisted.ensureDeferred
async def test_an_agent_is_our_own_child_in_a_session_of_its_own_and_waits_at_its_gate(starter):
    asked = Asked(starter)
    pid = await asked.launch()
    await starter.until(lambda: read_stat(pid).session == pid)
    assert psutil.Process(pid).ppid() == os.getpid()
    os.set_blocking(asked.output, False)
    with pytest.raises(BlockingIOError):
        os.read(asked.output, 1)
    os.set_blocking(asked.output, True)
    assert asked.finish(pid) == (b"it runs\n", 0)


@pytest_twisted.ensureDeferred
async def test_an_agent_that_is_not_let_in_ends_without_a_word(starter):
    asked = Asked(starter)
    assert asked.finish(await asked.launch(), open_gate=False) == (b"", 0)


@pytest_twisted.ensureDeferred
async def test_requests_are_answered_each_with_its_own_process(starter):
    asked = [Asked(starter, f"word-{number}") for number in range(20)]
    launches = [ensureDeferred(one.launch()) for one in asked]
    pids = [await launch for launch in launches]
    assert len(set(pids)) == 20
    assert [one.finish(pid)[1] for one, pid in zip(asked, pids, strict=True)] == [0] * 20


@pytest_twisted.ensureDeferred
async def test_a_template_can_be_warm_before_it_is_asked(starter):
    starter.template.start()
    pid = starter.template.pid
    assert pid
    assert await runs(starter, env={**os.environ, "PYTHONUNBUFFERED": "1"}) == pid


@pytest_twisted.ensureDeferred
async def test_variables_that_nobody_reads_may_be_different(starter):
    first = await runs(starter)
    assert await runs(starter, env=starter.env(SOMETHING="else", OCS_CONFIG_DIR="/elsewhere")) == first


# What is not.


@pytest.mark.parametrize(
    "argv",
    [
        (sys.executable, "-m", "ocs.client_cli"),
        (sys.executable, "-u", "agent.py"),
        ("/usr/bin/python3", "-m", "ocs.agent_cli"),
        ("sleep", "10"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_no_agent_of_this_interpreter_is_refused(starter, argv):
    assert "not an agent of this interpreter" in await refused(starter, command=Command("it", argv))
    assert starter.template.pid is None


@pytest.mark.parametrize(
    "name", ["PYTHONPATH", "PYTHONHASHSEED", "LD_PRELOAD", "LC_ALL", "VIRTUAL_ENV", "MSGPACK_PUREPYTHON", "PURE_PYTHON"]
)
@pytest_twisted.ensureDeferred
async def test_an_environment_that_changes_what_is_loaded_is_refused(starter, name):
    first = await runs(starter)
    assert await refused(starter, env=starter.env(**{name: "1"})) == f"{name} is another"
    assert await runs(starter) == first


@pytest_twisted.ensureDeferred
async def test_buffering_is_not_changed_by_a_fork(starter):
    await runs(starter)
    env = {name: value for name, value in starter.env().items() if name != "PYTHONUNBUFFERED"}
    assert await refused(starter, env=env) == "PYTHONUNBUFFERED is another"


@pytest.mark.parametrize("name", ["yaml.py", "ocs/__init__.py", "json/__init__.py"])
@pytest_twisted.ensureDeferred
async def test_a_module_in_the_agents_folder_that_hides_another_is_honoured(starter, tmp_path, name):
    path = tmp_path / "work" / name
    path.parent.mkdir(parents=True)
    first = await runs(starter, cwd=tmp_path / "work")
    path.touch()
    assert await refused(starter, cwd=tmp_path / "work") == f"{path} is in the way of what has been loaded"
    assert await runs(starter) == first


@pytest_twisted.ensureDeferred
async def test_a_folder_that_only_looks_like_a_module_hides_none(starter, tmp_path):
    (tmp_path / "work" / "yaml").mkdir(parents=True)
    assert await runs(starter, cwd=tmp_path / "work")


@pytest_twisted.ensureDeferred
async def test_a_request_that_is_too_long_is_refused_and_the_next_is_not(starter):
    assert "could not be asked" in await refused(starter, "x" * (1 << 22))
    assert await runs(starter)


# A template that is out of date.


@pytest.fixture
def lib(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "preloaded.py").write_text("VALUE = 'old'\n")
    return tmp_path / "lib"


def reads(starter, lib):
    """Run an agent that prints what a module has."""
    words = ("--agent", starter.script("import preloaded\ndef main(args): print(preloaded.VALUE)"), *IT)
    return starter.run(*words, forked=True, env=starter.env(PYTHONPATH=str(lib)))


@pytest_twisted.ensureDeferred
async def test_an_agent_never_runs_what_is_no_longer_on_the_disk(make_starter, lib):
    starter = make_starter(modules=["preloaded"])
    assert (await reads(starter, lib)).text == "old\n"
    first = starter.template.pid
    (lib / "preloaded.py").write_text("VALUE = 'newer'\n")
    assert (await reads(starter, lib)).text == "newer\n"
    second = starter.template.pid
    assert (await reads(starter, lib)).text == "newer\n"
    assert first != second == starter.template.pid
    assert not starter.template.trouble


@pytest.mark.parametrize(
    ("name", "anew"), [("new_module.py", True), ("new_package", True), ("some.dist-info", True), ("x.log", False)]
)
@pytest_twisted.ensureDeferred
async def test_what_comes_to_a_folder_that_is_searched_counts_if_it_can_be_imported(make_starter, lib, name, anew):
    starter = make_starter(modules=["preloaded"])
    await reads(starter, lib)
    first = starter.template.pid
    (lib / name).mkdir() if "." not in name else (lib / name).touch()
    await reads(starter, lib)
    assert (starter.template.pid != first) is anew


@pytest_twisted.ensureDeferred
async def test_new_code_that_is_broken_is_for_the_plain_start_to_tell_of(make_starter, lib):
    starter = make_starter(modules=["preloaded"])
    await reads(starter, lib)
    (lib / "preloaded.py").write_text("VALUE = \n")
    ended = await reads(starter, lib)
    assert "SyntaxError" in ended.text
    assert ended.code == 1
    assert starter.log.lines[-1].startswith("preloaded is not loaded ahead for agents: SyntaxError")


# Modules that cannot be loaded ahead.

UNFIT = {
    "import threading as t, time\nt.Thread(target=time.sleep, args=[1000], daemon=True).start()": "it has 2 threads",
    "from twisted.internet import reactor": "it has a reactor",
    "1 / 0": "ZeroDivisionError: division by zero",
    "raise SystemExit(3)": "SystemExit: 3",
}


@pytest.mark.parametrize("code", UNFIT)
@pytest_twisted.ensureDeferred
async def test_a_module_that_cannot_be_loaded_ahead_is_left_out(make_starter, lib, code):
    (lib / "unfit.py").write_text(code)
    starter = make_starter(modules=["unfit", "preloaded"])
    assert (await reads(starter, lib)).text == "old\n"
    assert starter.log.lines == [f"unfit is not loaded ahead for agents: {UNFIT[code]}"]


@pytest_twisted.ensureDeferred
async def test_what_modules_print_when_they_are_loaded_is_logged_up_to_a_point(make_starter, lib):
    (lib / "loud.py").write_text("for i in range(100): print('line', i)\n")
    starter = make_starter(modules=["loud", "preloaded"])
    await reads(starter, lib)
    while len(starter.log.lines) < 20:
        await deferLater(reactor, 0.01)
    assert starter.log.lines[:2] == ["template for agents: line 0", "template for agents: line 1"]
    assert len(starter.log.lines) == 20


# A template that fails.


@pytest_twisted.ensureDeferred
async def test_a_template_does_not_end_before_its_manager_does(starter):
    first = await runs(starter)
    os.kill(first, signal.SIGTERM)
    os.kill(first, signal.SIGINT)
    assert await runs(starter) == first


@pytest_twisted.ensureDeferred
async def test_a_template_that_is_killed_is_there_again_soon_and_this_is_logged_once(starter, monkeypatch):
    monkeypatch.setattr(forking, "_FIRST_PAUSE", 0.2)
    first = await runs(starter)
    os.kill(first, signal.SIGKILL)
    await starter.until(lambda: starter.template.trouble)
    assert await refused(starter) == "the template has failed: it has ended, with signal 9"
    await starter.until(lambda: not starter.template.trouble)
    assert await runs(starter) != first
    assert starter.log.lines == [
        "agents are started one by one, the template for them has failed: it has ended, with signal 9",
        "agents are forked from a template again",
    ]


@pytest_twisted.ensureDeferred
async def test_a_template_that_dies_while_it_is_asked_makes_for_plain_starts(starter):
    os.kill(await runs(starter), signal.SIGSTOP)
    asked = Asked(starter)
    launch = ensureDeferred(asked.launch())
    os.kill(starter.template.pid, signal.SIGKILL)
    with pytest.raises(LaunchError, match="signal 9"):
        await launch
    asked.close()


@pytest_twisted.ensureDeferred
async def test_a_template_that_hangs_is_replaced(starter, monkeypatch):
    monkeypatch.setattr(forking, "_ANSWER_PATIENCE", 0.3)
    first = await runs(starter)
    os.kill(first, signal.SIGSTOP)
    assert await refused(starter) == "the template has failed: it has not answered for 0.3 s"
    await starter.until(lambda: gone(first))
    monkeypatch.setattr(forking, "_ANSWER_PATIENCE", 20.0)
    await starter.until(lambda: not starter.template.trouble)
    assert await runs(starter) != first


@pytest_twisted.ensureDeferred
async def test_one_that_is_slow_to_come_up_is_not_waited_for_but_used_when_it_is_there(starter, monkeypatch):
    monkeypatch.setattr(forking, "_START_PATIENCE", 0.01)
    assert await refused(starter) == "the template is not ready after 0.01 s"
    pid = starter.template.pid
    monkeypatch.setattr(forking, "_START_PATIENCE", 20.0)
    assert await runs(starter) == pid
    assert starter.log.lines == []


@pytest_twisted.ensureDeferred
async def test_a_template_that_cannot_come_up_is_tried_at_growing_intervals(make_starter, tmp_path, monkeypatch):
    monkeypatch.setattr(forking, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(forking, "_LONGEST_PAUSE", 0.05)
    (tmp_path / "lib" / "yaml").mkdir(parents=True)
    (tmp_path / "lib" / "yaml" / "__init__.py").write_text("raise ImportError('broken')")
    starter = make_starter()
    assert "ImportError: broken" in await refused(starter, env=starter.env(PYTHONPATH=str(tmp_path / "lib")))
    await starter.until(lambda: starter.template._pause == 0.04)
    await starter.until(lambda: starter.template._pause == 0.05)
    assert len(starter.log.lines) == 1


@pytest_twisted.ensureDeferred
async def test_a_system_that_starts_no_process_makes_for_plain_starts(starter, monkeypatch):
    def none_left(*_args, **_keywords):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("socket.socketpair", none_left)
    assert await refused(starter) == "the template has failed: it cannot be started: Too many open files"


# The end.


@pytest_twisted.ensureDeferred
async def test_stopping_ends_the_template_and_no_agent(starter):
    asked = Asked(starter)
    agent = await asked.launch()
    pid = starter.template.pid
    await starter.template.stop()
    assert gone(pid)
    assert not gone(agent)
    assert asked.finish(agent) == (b"it runs\n", 0)
    assert "stopped" in await refused(starter)


@pytest_twisted.ensureDeferred
async def test_stopping_turns_away_who_waits(starter):
    asked = Asked(starter)
    launch = ensureDeferred(asked.launch())
    await starter.template.stop()
    with pytest.raises(LaunchError, match="stopped"):
        await launch
    asked.close()


@pytest_twisted.ensureDeferred
async def test_stopping_ends_a_template_that_hangs(starter, monkeypatch):
    monkeypatch.setattr(forking, "_STOP_PATIENCE", 0.1)
    pid = await runs(starter)
    os.kill(pid, signal.SIGSTOP)
    await starter.template.stop()
    assert gone(pid)


MANAGER = """
from twisted.internet import reactor
from ocs.supervisor.forking import Template
template = Template(reactor)
template.start()
template._is_ready = lambda: print(template.pid, flush=True)
reactor.run()
"""


def test_a_template_ends_with_its_manager():
    with subprocess.Popen([sys.executable, "-c", MANAGER], stdout=subprocess.PIPE, text=True) as manager:
        pid = int(manager.stdout.readline())
        assert not gone(pid)
        manager.kill()
    wait_for(lambda: gone(pid))


def test_the_program_explains_itself():
    command = [sys.executable, "-m", "ocs.supervisor.template", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "the host manager starts this" in done.stdout
