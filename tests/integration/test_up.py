"""`ocs up` as a user runs it: a real router, real agents, and nothing left behind."""

import fcntl
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import yaml

from tests.harness.processes import living
from tests.harness.running_up import OCS, starting_up

pytestmark = pytest.mark.slow


@pytest.fixture
def up(tmp_path):
    yield from starting_up(tmp_path)


def ocs_up(tmp_path, *words, env=None, timeout=60.0):
    argv = [*OCS, "up", *words]
    return subprocess.run(
        argv,
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=tmp_path,
        env={**os.environ, **(env or {})},
        check=False,
    )


def write_site(tmp_path, port, *instances):
    hub = {
        "wamp_server": f"ws://127.0.0.1:{port}/ws",
        "wamp_http": f"http://127.0.0.1:{port}/call",
        "wamp_realm": "test_realm",
        "address_root": "observatory",
    }
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump({"hub": hub, "hosts": {"localhost": {"agent-instances": list(instances)}}}))
    return path


FAKE = {"agent-class": "FakeDataAgent", "instance-id": "fake-1", "arguments": ["--mode", "acq"]}


def test_the_demonstration_site_records_and_ends_by_itself(up):
    """The main job: everything comes up, data flow into a file, nothing is left."""
    running = up("--port", "auto", "--duration", "20")
    summary = running.until_all_up()
    rows = {row["name"]: row for row in summary["rows"]}
    assert set(rows) == {"router", "hm-localhost", "registry", "aggregator", "fake-1", "fake-2", "barebones-1"}
    assert (rows["router"]["role"], rows["hm-localhost"]["role"], summary["agents"]) == ("router", "manager", 5)
    family = running.family()
    recording = running.until(lambda event: event["event"] == "summary" and event["recording"]["size"] > 10_000)
    assert recording["samples_per_s"] > 30.0
    assert running.wait() == 0
    assert living(family) == []
    assert list((running.data_dir / "hk").glob("*/*.g3"))
    assert {path.name for path in (running.data_dir / "logs").iterdir()} >= {"fake-1.log", "router.log"}
    assert running.stderr() == ""


def test_the_commands_that_it_shows_work(up, tmp_path):
    """Pasted into another terminal, each does its work; the shell is given one line to run."""
    running = up("--port", "auto")
    running.until_all_up()
    running.until(lambda event: event["event"] == "summary" and event["recording"]["size"] > 10_000)
    commands = [hint for hint in running.events[0]["hints"] if hint.startswith("  ")]
    assert len(commands) == 4
    outputs = []
    for command in commands:
        typed = {"input": "print(client.count.status())\n"} if " shell " in command else {"stdin": subprocess.DEVNULL}
        done = subprocess.run(  # noqa: S602 - the commands of the page
            command, shell=True, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False, **typed
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert all("fake-1" in outputs[i] for i in (0, 1, 3))
    assert "OK" in outputs[2]


QUICK_START = Path(__file__).parents[2] / "docs" / "user" / "quick-start.md"


def test_the_examples_of_the_quick_start_run(up, tmp_path):
    pytest.importorskip("so3g")
    running = up("--port", "auto", data_dir=tmp_path / "ocs-data")
    running.until_all_up()
    running.until(lambda event: event["event"] == "summary" and event["recording"]["size"] > 10_000)
    blocks = re.findall(r"```python\n(.*?)```", QUICK_START.read_text(), re.DOTALL)
    assert len(blocks) == 2
    outputs = []
    for block in blocks:
        done = subprocess.run(
            [sys.executable, "-c", block], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert "delay_task" in outputs[0]
    assert "observatory.fake-1.feeds.false_temperatures.channel_00" in outputs[1]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything(up, signum):
    running = up("--port", "auto")
    running.until_all_up()
    family = running.family()
    assert len(family) >= 6
    running.process.send_signal(signum)
    assert running.wait(30.0) == 0
    assert living(family) == []


def test_a_signal_during_the_start_ends_everything(up):
    running = up("--port", "auto")
    running.until_change("router", "starting")
    family = running.family()
    running.process.send_signal(signal.SIGINT)
    assert running.wait(20.0) == 0
    assert living(family) == []


def test_a_killed_agent_is_started_again(up):
    running = up("--port", "auto")
    running.until_all_up()
    first = running.pids()["fake-1"]
    os.kill(first, signal.SIGKILL)
    waiting = running.until_change("fake-1", "waiting")
    assert waiting["last_exit"] == "killed by SIGKILL"
    again = running.until_change("fake-1", "up")
    assert (again["restarts"], again["pid"] != first) == (1, True)


def test_a_killed_router_is_started_again_and_the_agents_come_back(up):
    running = up("--port", "auto")
    running.until_all_up()
    os.kill(running.pids()["router"], signal.SIGKILL)
    running.until_change("router", "waiting")
    running.until_change("router", "up")
    running.until_all_up()


def agents_in(summary):
    return {row["name"]: (row["pid"], row["restarts"]) for row in summary["rows"] if row["role"] == "agent"}


def pids_in(summary):
    """Return their process ids; None for one of which its manager, just back, has not told yet."""
    return [pid for pid, _ in agents_in(summary).values()]


def test_a_killed_manager_is_started_again_and_takes_its_agents_over(up):
    running = up("--port", "auto")
    running.until_all_up()
    family, before = running.family(), running.pids()
    os.kill(before["hm-localhost"], signal.SIGKILL)
    gone = running.until_change("hm-localhost", "waiting")
    assert gone["last_exit"] == "killed by SIGKILL"
    back = running.until_change("hm-localhost", "up")
    assert back["restarts"] == 1
    kept = {name: (pid, 0) for name, pid in before.items() if name not in ("router", "hm-localhost")}
    assert agents_in(running.until(lambda event: event["event"] == "summary" and None not in pids_in(event))) == kept
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0
    assert living(family) == []


def test_agents_whose_manager_was_killed_are_ended_all_the_same(up):
    running = up("--port", "auto")
    running.until_all_up()
    family, manager = running.family(), running.pids()["hm-localhost"]
    running.process.send_signal(signal.SIGINT)
    os.kill(manager, signal.SIGKILL)
    assert running.wait(40.0) == 0
    assert living(family) == []


def test_more_ctrl_c_hurry_an_agent_that_does_not_end(up, tmp_path, router):
    running = up("--site-file", str(write_site(tmp_path, router.port, FAKE)))
    running.until_all_up()
    family = running.family()
    os.kill(running.pids()["fake-1"], signal.SIGSTOP)  # it hears no signal but SIGKILL
    running.process.send_signal(signal.SIGINT)
    running.until_change("fake-1", "stopping")
    began = time.monotonic()
    for _ in range(2):
        running.process.send_signal(signal.SIGINT)
        running.until(lambda event: event["event"] == "note" and "less patience" in event["text"])
        time.sleep(0.5)  # as a person would; two signals at once are one
    assert running.wait(40.0) == 0
    assert time.monotonic() - began < 9.0  # SIGINT alone would be given 10 s
    assert living(family) == []


@pytest.mark.parametrize("with_its_manager", [False, True])
def test_what_a_killed_run_left_is_ended_by_the_next(up, with_its_manager):
    first = up("--port", "auto")
    first.until_all_up()
    family, manager = first.family(), first.pids()["hm-localhost"]
    first.process.kill()
    if with_its_manager:
        os.kill(manager, signal.SIGKILL)
    first.process.wait()
    assert living(family)
    second = up("--port", "auto", "--duration", "1", data_dir=first.data_dir)
    assert second.wait(60.0) == 0
    assert living(family) == []
    assert "earlier run" in str(second.events[0]["hints"])


def test_a_site_whose_router_runs_uses_it(up, tmp_path, router):
    running = up("--site-file", str(write_site(tmp_path, router.port, FAKE)))
    summary = running.until_all_up()
    assert "router" not in {row["name"] for row in summary["rows"]}
    assert "using the router" in str(running.events[0]["hints"])
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0
    assert router.is_alive


def test_other_port_agents_and_clients_find_the_router(up, tmp_path, router):
    """The site's own port is taken: agents are told the other on the command line, clients by a file."""
    running = up("--site-file", str(write_site(tmp_path, router.port, FAKE)), "--port", "auto")
    running.until_all_up()
    told = yaml.safe_load(Path(running.events[0]["site_file"]).read_text())
    assert told["hub"]["wamp_server"] == running.events[0]["wamp_server"] != router.ws_url


def run_program(*words):
    done = subprocess.run(
        [sys.executable, "-m", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_operator_s_programs_work_on_its_site(up, tmp_path, router):
    spare = {**FAKE, "instance-id": "spare", "manage": "host/down"}
    running = up("--site-file", str(write_site(tmp_path, router.port, FAKE, spare)))
    running.until_all_up()
    site = ("--site-file", running.events[0]["site_file"])
    assert "spare" not in running.rows()

    run_program("ocs.ocsbow", "down", "fake-1", *site)
    running.until_change("fake-1", "down")
    run_program("ocs.ocsbow", "up", "spare", *site)
    running.until_change("spare", "up")
    run_program("ocs.ocsbow", "up", "fake-1", *site)
    again = running.until_change("fake-1", "up")
    run_program("ocs.cli.main", "restart", "fake-1", *site)
    running.until(lambda e: e["event"] == "summary" and again["pid"] not in [row["pid"] for row in e["rows"]])
    running.until_all_up()
    printed = run_program("ocs.cli.main", "logs", "fake-1", *site)
    assert printed.splitlines()[-1] in (running.data_dir / "logs" / "fake-1.log").read_text()


def test_a_change_of_the_site_file_is_told_and_followed_when_asked_for(up, tmp_path, router):
    path = write_site(tmp_path, router.port, FAKE)
    running = up("--site-file", str(path))
    running.until_all_up()
    good = path.read_text()
    path.write_text("hub: [\n")
    running.until(lambda event: event["event"] == "note" and "site.yaml:" in event["text"])
    path.write_text(good.replace("instance-id: fake-1", "instance-id: fake-2"))
    told = running.until(lambda event: event["event"] == "note" and "has changed" in event["text"])
    assert "ocsbow status --reload-config" in told["text"]
    again = [sys.executable, "-m", "ocs.ocsbow", "status", "-r", "--site-file", running.events[0]["site_file"]]
    subprocess.run(again, capture_output=True, timeout=60, check=False)  # 1: not all is as it should be, yet
    running.until(lambda e: e["event"] == "summary" and [r["name"] for r in e["rows"]] == ["hm-localhost", "fake-2"])
    running.until_all_up()


HM = {"agent-class": "HostManager", "instance-id": "my-manager"}


def test_the_host_manager_of_the_site_is_used(up, tmp_path, router):
    path = write_site(tmp_path, router.port, FAKE, HM)
    running = up("--site-file", str(path))
    rows = {row["name"]: row["role"] for row in running.until_all_up()["rows"]}
    assert rows == {"my-manager": "manager", "fake-1": "agent"}
    assert running.events[0]["site_file"] == str(path)


def test_a_host_has_one_manager_at_a_time(up, tmp_path, router):
    path = write_site(tmp_path, router.port, FAKE)
    up("--site-file", str(path)).until_all_up()
    second = ocs_up(tmp_path, "--site-file", str(path), "--data-dir", "other")
    assert second.returncode == 1
    assert "hm-localhost runs already" in second.stderr


def test_an_agent_that_fails_shows_its_last_words_and_the_rest_runs(up, tmp_path, router):
    bad = {**FAKE, "instance-id": "bad", "arguments": ["--no-such-option"]}
    running = up("--site-file", str(write_site(tmp_path, router.port, FAKE, bad)))
    waiting = running.until_change("bad", "waiting")
    assert "--no-such-option" in waiting["text"]
    running.until(lambda e: e["event"] == "summary" and {r["name"]: r["state"] for r in e["rows"]}["fake-1"] == "up")


class TestMistakes:
    """One line on standard error, an exit code, nothing left running."""

    def check(self, done, *words):
        assert done.returncode not in (0, None)
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done.stderr
        assert all(word in lines[0] for word in words), lines[0]
        assert "Traceback" not in done.stdout + done.stderr

    def test_unknown_site_file(self, tmp_path):
        self.check(ocs_up(tmp_path, "--site-file", "nowhere.yaml"), "nowhere.yaml")
        assert not (tmp_path / "ocs-data").exists()

    def test_broken_site_file(self, tmp_path):
        (tmp_path / "bad.yaml").write_text("hub: [\n")
        self.check(ocs_up(tmp_path, "--site-file", "bad.yaml"), "bad.yaml:")

    def test_unknown_host(self, tmp_path):
        path = write_site(tmp_path, 1, FAKE)
        path.write_text(path.read_text().replace("localhost", "elsewhere"))
        self.check(ocs_up(tmp_path, "--site-file", str(path), "--site-host", "here"), "here", "elsewhere")

    def test_busy_port(self, tmp_path):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            port = listener.getsockname()[1]
            self.check(ocs_up(tmp_path, "--site-file", str(write_site(tmp_path, port, FAKE))), str(port), "--port")

    def test_no_permission_on_the_data_folder(self, tmp_path):
        (tmp_path / "file").write_text("")
        self.check(ocs_up(tmp_path, "--data-dir", "file/data"), "file", "--data-dir")

    def test_a_folder_in_use(self, tmp_path, up, router):
        running = up("--site-file", str(write_site(tmp_path, router.port, FAKE)))
        running.until_all_up()
        again = ocs_up(tmp_path, "--data-dir", str(running.data_dir))
        self.check(again, f"pid {running.process.pid}", "--data-dir")

    def test_unknown_class(self, tmp_path, router):
        path = write_site(tmp_path, router.port, {"agent-class": "NoSuchAgent", "instance-id": "x"})
        self.check(ocs_up(tmp_path, "--site-file", str(path)), "NoSuchAgent", "x")

    def test_a_manager_that_does_not_start(self, tmp_path, router):
        path = write_site(tmp_path, router.port, FAKE, {**HM, "arguments": ["--no-such-option"]})
        self.check(ocs_up(tmp_path, "--site-file", str(path)), "my-manager", "--no-such-option", "my-manager.log")

    def test_no_router_where_none_is_to_be_started(self, tmp_path):
        self.check(ocs_up(tmp_path, "--no-router", "--site-file", str(write_site(tmp_path, 1, FAKE))), "--no-router")

    @pytest.mark.parametrize("words", [["--port", "70000"], ["--port", "x"], ["--duration", "-1"], ["--nonsense"]])
    def test_wrong_options(self, tmp_path, words):
        done = ocs_up(tmp_path, *words)
        self.check(done, words[0], "--help")
        assert done.returncode == 2

    def test_a_router_that_does_not_start(self, tmp_path):
        """Its program is there and fails."""
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "crossbar"
        program.write_text("#!/bin/sh\necho the licence has run out; exit 3\n")
        python = folder / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        for each in (program, python):
            each.chmod(0o755)
        script = f"""
import sys
sys.executable = {str(python)!r}
from tests.harness.processes import living
from tests.harness.running_up import OCS, starting_up
from ocs.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
        argv = [sys.executable, "-c", script, "up", "--port", "auto"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
        self.check(done, "exit code 3", "the licence has run out")


def test_nobody_reads_any_more(tmp_path, router):
    """As in `ocs up | head`: everything is ended."""
    argv = [*OCS, "up", "--site-file", str(write_site(tmp_path, router.port, FAKE)), "--interval", "0.5"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=tmp_path) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30.0) == 141


def read_terminal(fd, until, seconds=40.0):
    """Read from a terminal until ``until`` is in what was written."""
    text, deadline = "", time.monotonic() + seconds
    os.set_blocking(fd, False)
    while until not in text:
        assert time.monotonic() < deadline, text[-2000:]
        try:
            text += os.read(fd, 65536).decode(errors="replace")
        except BlockingIOError:
            time.sleep(0.05)
        except OSError:
            break  # the program has ended
    return text


def test_a_terminal_shows_a_live_table_and_ctrl_c_ends_it(tmp_path, router):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    argv = [*OCS, "up", "--site-file", str(write_site(tmp_path, router.port, FAKE))]
    env = {**os.environ, "TERM": "xterm-256color"}
    process = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path, env=env, process_group=0)
    os.close(theirs)
    try:
        text = read_terminal(ours, "1 of 1 agents up")
        for words in ("fake-1", "samples/s", "last message", "Ctrl-C ends all"):
            assert words in text
        process.send_signal(signal.SIGINT)
        text = read_terminal(ours, "\x1b[?25h")
        assert "down" in text
        assert process.wait(20.0) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
