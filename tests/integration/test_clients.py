"""Clients of every kind against a real router and a real agent."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import ocs
from ocs.ocs_client import (
    ControlClientError,
    OCSClient,
    OperationFailedError,
    OperationTimeoutError,
    RequestFailedError,
)

FAKE = ("FakeDataAgent", "fake-1", [["--sample-rate", 20], ["--mode", "idle"]])


@pytest.fixture
def client(site, run_agent):
    site.add_instance(*FAKE)
    return run_agent("fake-1").client


def until(condition, seconds=20.0):
    """Wait until a condition holds; fail after some time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it has not come to pass"
        time.sleep(0.05)
    return value


# OCSClient


def test_a_task_from_start_to_end(client):
    assert client.delay_task.status().session == {}
    assert client.delay_task.start(delay=0.2).status == ocs.OK
    assert client.delay_task.wait(timeout=0.01).status == ocs.TIMEOUT
    reply = client.delay_task.wait()
    assert (reply.status, reply.session["success"]) == (ocs.OK, True)
    assert "delay_task, session" in repr(reply)


def test_a_process_from_start_to_end(client):
    assert client.acq.start().status == ocs.OK
    assert "already in progress" in client.acq.start().msg
    until(lambda: client.acq().session["data"])
    assert client.acq.stop().status == ocs.OK
    assert client.acq.wait(timeout=10).session["success"] is True


def test_a_task_is_aborted(client):
    client.delay_task.start(delay=60)
    assert client.delay_task.abort().status == ocs.OK
    assert client.delay_task.wait(timeout=10).session["success"] is False


def test_check_raises_typed_errors(client):
    with pytest.raises(OperationFailedError, match="fake-1: delay_task failed"):
        client.delay_task(delay=0.01, succeed=False, check=True)
    with pytest.raises(RequestFailedError, match=r"fake-1: cannot start delay_task: .*delay"):
        client.delay_task.start(delay="long", check=True)
    client.delay_task.start(delay=60)
    with pytest.raises(OperationTimeoutError):
        client.delay_task.wait(timeout=0.01, check=True)
    client.delay_task.abort()


def test_declared_parameters_document_start(client):
    import inspect

    assert "delay: float = 5.0" in str(inspect.signature(client.delay_task.start))


def test_one_client_serves_many_threads(client):
    client.delay_task.start(delay=30)
    with ThreadPoolExecutor(9) as pool:
        waiting = pool.submit(client.delay_task.wait)
        replies = list(pool.map(lambda _: client.delay_task.status().session["status"], range(200)))
        client.delay_task.abort()
        assert waiting.result(timeout=10).session["status"] == "done"
    assert set(replies) == {"running"}


def test_an_agent_that_is_away_is_told_by_name(site):
    with pytest.raises(ControlClientError, match=r"observatory\.nobody"):
        OCSClient("nobody", args=site.args)


def test_a_wait_outlasts_a_restart_of_the_router(own_router, make_site, run_agent):
    site = make_site(own_router).add_instance(*FAKE)
    client = run_agent("fake-1", "--crossbar-timeout", "0", site=site).client
    client.delay_task.start(delay=8)
    replies = []
    waiter = threading.Thread(target=lambda: replies.append(client.delay_task.wait()))
    waiter.start()
    until(lambda: client.delay_task.status().session["status"] == "running")
    own_router.kill()
    own_router.start()
    waiter.join(60)
    assert replies[0].session["success"] is True
    assert client.delay_task.status().status == ocs.OK, "the client goes on, with a new connection"


def test_a_wait_tells_when_its_agent_was_restarted(site, run_agent):
    site.add_instance(*FAKE)
    agent = run_agent("fake-1")
    client = agent.client
    client.delay_task.start(delay=600)
    replies = []

    def wait():
        # Long enough for one slice to be cut off by the end of the agent.
        replies.append(client._client.request("wait", "delay_task"))

    import ocs.clients.patience

    before, ocs.clients.patience.SLICE = ocs.clients.patience.SLICE, 0.2
    try:
        waiter = threading.Thread(target=wait)
        waiter.start()
        time.sleep(0.5)  # until the first slice has passed
        agent.kill()
        run_agent("fake-1")
        waiter.join(30)
    finally:
        ocs.clients.patience.SLICE = before
    assert replies[0][0] == ocs.ERROR
    assert "restarted" in replies[0][1]


# Control scripts

SCRIPT = """
import sys
from ocs import client_t

{script}

client_t.run_control_script(script)
"""


def run_script(site, tmp_path, text, *arguments, **kwargs):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.format(script=text))
    command = [sys.executable, str(path), *site.args, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=40, check=False, cwd=tmp_path, **kwargs)


GENERATOR = """
def script(app, args):
    task = client_t.TaskClient(app, f"{args.address_root}.fake-1", "delay_task")
    yield task.start({"delay": 0.1})
    code, message, session = yield task.wait(timeout=10)
    print(code, session["success"])
"""

COROUTINE = """
async def script(app, args):
    fake = await client_t.AsyncOCSClient.connect(app, f"{args.address_root}.fake-1")
    heard = []
    stop = await fake.subscribe("heartbeat", lambda event: heard.append(event[0]["delay_task"]))
    reply = await fake.delay_task(delay=2.5)
    await stop()
    print(reply.session["success"], 3 in heard)
    await fake.delay_task(delay=0.1, succeed=False, check=True)
"""


def test_a_generator_script_runs_and_ends_the_reactor(site, client, tmp_path):
    done = run_script(site, tmp_path, GENERATOR)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 True\n", "")


def test_a_coroutine_script_uses_the_asynchronous_client(site, client, tmp_path):
    done = run_script(site, tmp_path, COROUTINE)
    assert done.stdout == "True True\n"
    assert done.returncode == 1
    assert done.stderr.startswith("fake-1: delay_task failed: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--site-realm", "other"], "has no realm 'other'"),
        (["--site-hub", "ws://127.0.0.1:1/ws"], "No router at ws://127.0.0.1:1/ws"),
        (["--site-file", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_a_script_without_its_router_ends_with_one_line(site, tmp_path, arguments, message):
    done = run_script(site, tmp_path, "async def script(app, args): print('never')", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_mistake_in_a_script_ends_it_with_a_traceback(site, tmp_path):
    done = run_script(site, tmp_path, "def script(app, args):\n    yield app.call(1 / 0)")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


RESTART = """
import os, signal
from twisted.internet import reactor
from twisted.internet.defer import Deferred

async def script(app, args):
    fake = await client_t.AsyncOCSClient.connect(app, f"{args.address_root}.fake-1")
    heard = []
    await fake.subscribe("heartbeat", heard.append)

    async def beat():
        count = len(heard)
        while len(heard) == count:
            pause = Deferred()
            reactor.callLater(0.1, pause.callback, None)
            await pause

    started = await fake.delay_task.start(delay=8)
    waiting = fake.delay_task.wait()
    await beat()  # by then the wait has begun: it is for one that has that an outage is no end
    print("started", started.status, flush=True)
    reply = await waiting
    await beat()
    print(reply.session["success"], flush=True)
"""


def test_waiting_and_listening_scripts_outlast_a_restart_of_the_router(own_router, make_site, run_agent, tmp_path):
    site = make_site(own_router).add_instance(*FAKE)
    run_agent("fake-1", "--crossbar-timeout", "0", site=site)
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.format(script=RESTART))
    command = [sys.executable, str(path), *site.args, "--crossbar-timeout", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "started 0\n"
        own_router.kill()
        own_router.start()
        output, errors = process.communicate(timeout=60)
    assert (output, errors) == ("True\n", "")


# ocs-client-cli


def run_cli(site, *arguments, **kwargs):
    command = [sys.executable, "-m", "ocs.client_cli", *site.args, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=40, check=False, **kwargs)


def test_scan_finds_the_agent_by_its_heartbeats(site, client):
    done = run_cli(site, "scan", "--details")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "Agents heard within 2 s: 1"
    assert "delay_task          : NONE" in done.stdout


def test_scan_asks_the_registry(site, client, run_agent):
    site.add_instance("RegistryAgent", "reg")
    run_agent("reg")
    done = until(lambda: "fake-1" in (scan := run_cli(site, "scan", "--use-registry", "reg", "--json")).stdout and scan)
    agents = {agent["instance_id"]: agent for agent in json.loads(done.stdout)}
    assert agents["fake-1"]["operations"]["delay_task"] == "NONE"


@pytest.mark.parametrize("topic", ["fake-1", "fake-1.feeds.heartbeat", "observatory..feeds.heartbeat"])
def test_listen_prints_events_until_ctrl_c(site, client, topic):
    command = [sys.executable, "-m", "ocs.client_cli", *site.args, "listen", "--json", topic]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        event = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert event["topic"] == "observatory.fake-1.feeds.heartbeat"
    assert event["message"][0]["delay_task"] == 1
    assert (process.returncode, errors) == (0, "")


def test_listen_ends_when_its_reader_goes(site, client):
    command = [sys.executable, "-m", "ocs.client_cli", *site.args, "listen", "fake-1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("Listening to observatory.fake-1.feeds.")
        process.stdout.close()
        assert process.wait(20) == 141


@pytest.mark.parametrize("command", ["scan", "listen"])
def test_no_router_is_one_line(site, command):
    topic = ["x"] if command == "listen" else []
    done = run_cli(site, "--site-hub", "ws://127.0.0.1:1/ws", command, *topic)
    assert done.returncode == 1
    assert "No router at ws://127.0.0.1:1/ws" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_forbidden_topic_is_one_line(site):
    done = run_cli(site, "listen", "elsewhere.x.feeds.y")
    assert done.returncode == 1
    assert "gives no access to elsewhere.x.feeds.y" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_plain_shell_has_the_clients(site, client):
    words = "print(client is clients[0], clients[0].delay_task.status().status)\n"
    done = run_cli(site, "shell", "--simple", "fake-1", input=words)
    assert "True 0" in done.stdout
    assert done.returncode == 0


def test_ipython_has_the_clients(site, client, tmp_path):
    pytest.importorskip("IPython")
    words = "print(client is clients[0], client.delay_task.status().status)\nexit\n"
    done = run_cli(site, "shell", "fake-1", input=words, env={**os.environ, "IPYTHONDIR": str(tmp_path)})
    assert "True 0" in done.stdout
    assert done.returncode == 0


# The guide

GUIDE = Path(__file__).parents[2] / "docs" / "user" / "clients.md"


def guide_examples():
    """Return the guide's examples: those of OCSClient, which build on each other, and each control script."""
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    scripts = [block for block in blocks if "run_control_script" in block]
    return ["".join(block for block in blocks if block not in scripts), *scripts]


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "fake-1: delay_task failed"), (1, "'delay_task': 3"), (2, "SUCCEEDED")]
)
def test_the_examples_of_the_guide_run(site, client, tmp_path, number, shown):
    environment = {**os.environ, "OCS_CONFIG_DIR": str(site.directory)}
    command = [sys.executable, "-c", guide_examples()[number], "--site-host", "localhost"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=40, check=False, env=environment, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert shown in done.stdout
