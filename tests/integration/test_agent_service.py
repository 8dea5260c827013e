"""The agent service as operators have it: real router, real SpawnAgents, real components."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from ocs.agent_service.client import AgentServiceClient
from ocs.errors import AgentServiceError
from ocs.router.server import free_port, stop_tree
from tests.harness import naughty_component
from tests.harness.agents import bridge_call
from tests.harness.examples import DOCS
from tests.harness.processes import runs
from tests.harness.serving import run_program, start_service
from tests.harness.spawning import spawning_machine
from tests.harness.waiting import wait_for

SPAWNED, KILLED = {"_type": "Spawned"}, {"_type": "Killed"}


@pytest.fixture
def environment(tmp_path):
    return naughty_component.install(tmp_path / "plugins")


@pytest.fixture
def start_machine(site, run_agent, environment):
    with ExitStack() as stack:
        yield lambda name="machine1", at=site: stack.enter_context(spawning_machine(at, run_agent, environment, name))


@pytest.fixture
def machine(start_machine):
    return start_machine()


@pytest.fixture
def service(site, run_agent, machine):
    made = start_service(run_agent, site)
    made.wait_for_machines("ESW.machine1")
    return made


def component(prefix, kind="SequenceComponent"):
    return {"prefix": prefix, "componentType": kind}


def events(service):
    return [json.loads(line) for line in service.audit().splitlines()]


class TestSpawnAndKill:
    def test_a_component_comes_to_life_and_ends(self, service, machine):
        assert service.client.spawn_sequence_component("ESW.machine1", "good") == SPAWNED
        assert service.where() == {"ESW.machine1": ["ESW.good"], "": []}
        again = service.client.spawn_sequence_component("ESW.machine1", "good")
        assert "registered already: on" in again["msg"]
        assert service.client.kill_component(component("ESW.good")) == KILLED
        assert service.where() == {"ESW.machine1": [], "": []}
        assert not any(runs(pid) for pid in machine.pids("good"))

    def test_every_change_is_in_the_audit_log(self, service):
        service.client.spawn_sequence_component("ESW.machine1", "good")
        service.client.kill_component(component("ESW.other"))
        noted = wait_for(lambda: events(service) if len(events(service)) == 4 else None)
        assert [(each["event"], each["number"]) for each in noted] == [
            ("request", 1), ("result", 1), ("request", 2), ("result", 2)
        ]  # fmt: skip
        assert {each["from"] for each in noted} == {"127.0.0.1"}
        assert noted[0]["request"]["componentName"] == "good"
        assert [each["answer"]["_type"] for each in noted if each["event"] == "result"] == ["Spawned", "Failed"]

    def test_of_two_machines_at_the_same_moment_exactly_one_spawns_it(self, service, start_machine, machine):
        start_machine("machine2")
        service.wait_for_machines("ESW.machine1", "ESW.machine2")
        ask = service.client.spawn_sequence_component
        with ThreadPoolExecutor(2) as threads:
            answers = list(threads.map(lambda name: ask(name, "good"), ["ESW.machine1", "ESW.machine2"]))
        assert sorted(answer["_type"] for answer in answers) == ["Failed", "Spawned"]
        assert sum(runs(pid) for pid in machine.pids("good")) == 1
        assert [name for names in service.where().values() for name in names] == ["ESW.good"]

    def test_one_that_does_not_come_to_life_is_told_with_its_last_words(self, service):
        answer = service.client.spawn_sequence_component("ESW.machine1", "exits")
        assert answer["_type"] == "Failed"
        assert "there is no filter wheel" in answer["msg"]

    def test_an_instance_of_the_site_file(self, service, site):
        site.add_instance("FakeDataAgent", "fake-spawned", ["--mode", "idle"])
        assert service.client.spawn_agent("ESW.machine1", "fake-spawned") == SPAWNED
        assert service.client.kill_component(component("OCS.fake-spawned", "Agent")) == KILLED

    def test_a_machine_that_is_not_there(self, service):
        answer = service.client.spawn_sequence_component("ESW.machine9", "good")
        assert answer["msg"] == "there is no SpawnAgent ESW.machine9; there are: ESW.machine1"

    def test_by_the_program(self, service, site):
        run_program(site, "spawn", "sequence-component", "ESW.machine1", "good", "--url", service.url)
        assert "ESW.good" in run_program(site, "status", "--url", service.url)
        assert run_program(site, "kill", "ESW.good", "--url", service.url) == "killed ESW.good"


class TestStatus:
    def test_a_component_that_dies_without_a_word_is_gone_within_2_s(self, service, machine):
        service.client.spawn_sequence_component("ESW.machine1", "good")
        subprocess.run(["kill", "-9", str(machine.pids("good")[0])], check=True)
        wait_for(lambda: service.where()["ESW.machine1"] == [], timeout=2)

    def test_one_that_was_started_by_hand_has_no_agent(self, service, site, run_agent, environment):
        site.add_instance(
            "NaughtyComponent", "byhand", ["--prefix", "ESW.good-byhand", "--working-dir", str(site.directory)]
        )
        run_agent("byhand", env=environment)
        wait_for(lambda: service.where() == {"ESW.machine1": [], "": ["ESW.good-byhand"]})
        assert service.client.kill_component(component("ESW.good-byhand")) == KILLED

    def test_a_machine_that_fails_takes_nothing_with_it_in_the_status(self, service, machine):
        service.client.spawn_sequence_component("ESW.machine1", "good")
        machine.agent.kill_alone()
        wait_for(lambda: service.where() == {"": ["ESW.good"]}, timeout=2)
        machine.start()
        wait_for(lambda: service.where() == {"ESW.machine1": ["ESW.good"], "": []})
        assert service.client.kill_component(component("ESW.good")) == KILLED


class TestSecurity:
    @pytest.mark.parametrize(("roles", "status"), [(("observer",), 403), (None, 401)])
    def test_without_the_role_nothing_is_started(self, service, machine, roles, status):
        client = service.client_with(*roles) if roles else AgentServiceClient(service.url)
        with pytest.raises(AgentServiceError, match=rf"refuses \({status}\)"):
            client.spawn_sequence_component("ESW.machine1", "good")
        assert machine.pids("good") == []
        refused = service.site.state_dir / "agent-service-audit-refused.jsonl"
        assert wait_for(refused.exists)

    def test_status_is_for_all(self, service):
        assert AgentServiceClient(service.url).agent_status()["_type"] == "Success"


class TestTrouble:
    def test_a_machine_that_vanishes_in_mid_spawn_fails_it_at_once(self, service, machine):
        with ThreadPoolExecutor(1) as thread:
            asking = thread.submit(service.client.spawn_sequence_component, "ESW.machine1", "silent")
            wait_for(lambda: machine.pids("silent"))
            before = time.monotonic()
            machine.agent.kill_alone()
            answer = asking.result(20)
        assert time.monotonic() - before < 5
        assert answer["_type"] == "Failed"
        assert "whether SequenceComponent ESW.silent has been spawned is not known" in answer["msg"]

    def test_who_hangs_up_gets_what_was_asked_for_and_the_audit_log_has_it(self, service, machine):
        body = json.dumps({"_type": "SpawnSequenceComponent", "agentPrefix": "ESW.machine1", "componentName": "slow"})
        host, port = service.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as link:
            head = f"Host: {host}\r\nAuthorization: Bearer {service.token('esw-user')}\r\nContent-Length: {len(body)}"
            link.sendall(f"POST /post-endpoint HTTP/1.1\r\n{head}\r\n\r\n{body}".encode())
            wait_for(lambda: machine.pids("slow"))
        wait_for(lambda: service.where()["ESW.machine1"] == ["ESW.slow"])
        assert wait_for(lambda: events(service)[-1]["event"] == "result" and events(service)[-1])["answer"] == SPAWNED

    def test_a_lost_router_is_a_503_until_it_is_back(self, own_router, make_site, start_machine, run_agent):
        at = make_site(own_router, "own")
        service = start_service(run_agent, at)
        start_machine("machine1", at)
        service.wait_for_machines("ESW.machine1")
        service.client.spawn_sequence_component("ESW.machine1", "good")
        own_router.stop()
        with pytest.raises(AgentServiceError, match=r"refuses \(503\): there is no connection to the router"):
            wait_for(lambda: service.status()["_type"] != "Success" or None)
        with pytest.raises(urllib.error.HTTPError) as health:
            urllib.request.urlopen(f"{service.url}/health", timeout=5)
        assert int(health.value.headers["Retry-After"]) > 0
        own_router.start()
        wait_for(lambda: _where_if_there(service) == {"ESW.machine1": ["ESW.good"], "": []}, timeout=40)
        assert service.client.kill_component(component("ESW.good")) == KILLED

    def test_it_starts_before_the_router(self, make_site, run_agent, own_router):
        own_router.stop()
        service = start_service(run_agent, make_site(own_router, "own"))
        with pytest.raises(AgentServiceError, match="503"):
            service.status()
        own_router.start()
        wait_for(lambda: _where_if_there(service) == {"": []}, timeout=30)


def _where_if_there(service):
    try:
        return service.where()
    except (AgentServiceError, AssertionError):
        return None


class TestTheProgram:
    def test_a_second_service_works_beside_the_first(self, service, site, run_agent):
        second = start_service(run_agent, site, instance_id="agent-service-2")
        second.wait_for_machines("ESW.machine1")
        assert second.client.spawn_sequence_component("ESW.machine1", "good") == SPAWNED
        assert service.where() == second.where() == {"ESW.machine1": ["ESW.good"], "": []}

    def test_the_second_is_the_one_that_is_found_once_the_first_has_ended(self, service, site, run_agent):
        second = start_service(run_agent, site, instance_id="agent-service-2")
        second.wait_for_machines("ESW.machine1")
        assert service.agent.stop(signal.SIGTERM, timeout=30) == 0
        uri = "observatory.components.Service.ESW.agent_service"
        wait_for(lambda: url_told_by(site, uri) == second.url)

    def test_a_service_whose_address_is_taken_works_too(self, service, site, run_agent):
        second = start_service(run_agent, site)
        second.wait_for_machines("ESW.machine1")
        assert second.client.spawn_sequence_component("ESW.machine1", "good") == SPAWNED

    def test_a_port_that_is_taken_is_one_line(self, service, site, run_agent):
        port = service.url.rpartition(":")[2]
        second = run_agent(
            "agent-service-2", "--port", port, program=("-m", "ocs.cli.agent_service", "start"), wait=False
        )
        assert second.process.wait(20) == 1
        assert second.output.count("\n") == 1
        assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in second.output

    def test_what_is_under_way_is_answered_before_it_ends(self, service, machine):
        with ThreadPoolExecutor(1) as thread:
            asking = thread.submit(service.client.spawn_sequence_component, "ESW.machine1", "slow")
            wait_for(lambda: machine.pids("slow"))
            assert service.agent.stop(signal.SIGTERM, timeout=30) == 0
            assert asking.result(20) == SPAWNED
        assert [each["event"] for each in events(service)] == ["request", "result"]

    def test_a_second_signal_does_not_wait(self, service, machine):
        with ThreadPoolExecutor(1) as thread:
            asking = thread.submit(service.client.spawn_sequence_component, "ESW.machine1", "silent")
            wait_for(lambda: machine.pids("silent"))
            service.agent.process.send_signal(signal.SIGINT)
            time.sleep(0.5)  # nothing tells that the first has been taken
            assert service.agent.stop(signal.SIGINT, timeout=8) == 0
            with pytest.raises(AgentServiceError):
                asking.result(20)


def url_told_by(site, uri):
    try:
        return bridge_call(site.http_url, uri)["metadata"]["url"]
    except LookupError:  # nobody has it at this moment
        return None


def talk(service, *pieces, wait=20):
    """Send pieces over a connection until it is closed, and return what came back."""
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=wait) as link:
        for piece in pieces:
            try:
                link.sendall(piece)
            except OSError:
                break
        came = b""
        try:
            while data := link.recv(65536):
                came += data
        except ConnectionResetError:
            pass
    return came


HEAD = b"POST /post-endpoint HTTP/1.1\r\nHost: localhost\r\n"


class TestHostileCallers:
    def test_a_body_that_never_ends_is_not_read_on(self, service):
        chunk = b"2000\r\n" + b" " * 0x2000 + b"\r\n"
        came = talk(service, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 12)
        assert came.startswith(b"HTTP/1.1 413 ")

    def test_a_body_that_is_announced_too_large_is_not_read(self, service):
        came = talk(service, HEAD + b"Content-Length: 99999999999\r\n\r\n")
        assert came.startswith(b"HTTP/1.1 413 ")

    @pytest.mark.slow
    @pytest.mark.parametrize("first", [b"", HEAD + b"Content-Length: 2\r\n\r\n{}"])
    def test_a_head_that_does_not_come_is_not_waited_for(self, service, first):
        came = talk(service, first, HEAD)
        assert came == b"" if not first else came.startswith(b"HTTP/1.1 400 ")

    @pytest.mark.slow
    def test_a_body_that_does_not_come_is_not_waited_for(self, service):
        came = talk(service, HEAD + b"Content-Length: 100\r\n\r\n{")
        assert came.startswith(b"HTTP/1.1 408 ")

    def test_what_is_no_http_does_not_disturb_it(self, service):
        talk(service, b"\x16\x03\x01\x02\x00" * 100)
        assert service.status()["_type"] == "Success"


CONTAINERS = """
containers:
  - {kind: SequenceComponent, componentName: good-a}
  - {kind: SequenceComponent, componentName: exits}
"""


def test_all_that_a_file_lists(service, site):
    path = site.directory / "machine1.yaml"
    path.write_text(CONTAINERS)
    answer = service.client.spawn_containers("ESW.machine1", str(path), True)
    assert {prefix: each["_type"] for prefix, each in answer["res"].items()} == {
        "ESW.good-a": "Spawned", "ESW.exits": "Failed"
    }  # fmt: skip
    assert service.where() == {"ESW.machine1": ["ESW.good-a"], "": []}
    wrong = service.client.spawn_containers("ESW.machine1", "/nowhere.yaml", True)
    assert "/nowhere.yaml" in wrong["msg"]


def test_https_with_a_certificate_of_ones_own(site, run_agent, tmp_path, monkeypatch):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    service = start_service(run_agent, site, "--tls-cert", str(cert), "--tls-key", str(key))
    assert service.url.startswith("https://127.0.0.1:")
    wait_for(lambda: _where_if_there(service) == {"": []})


def programs(folder, port):
    """Provide what the page calls by name; the tests' interpreter may not have its scripts on the path."""
    modules = {"ocs": "ocs.cli.main", "ocs-agent-cli": "ocs.agent_cli", "ocs-agent-service": "ocs.cli.agent_service"}
    folder.mkdir()
    for name, module in modules.items():
        run = f'exec {sys.executable} -m {module} "$@"'
        listen = f'[ "$1" = start ] && {run} --port {port}\n' if name == "ocs-agent-service" else ""
        (folder / name).write_text(f"#!/bin/sh\n{listen}{run}\n")
        (folder / name).chmod(0o755)


def the_story(router_port, port):
    """Return the page's story as one script."""
    page = (DOCS / "user" / "agent-service.md").read_text()
    told = page[page.index("## A machine fails") : page.index("## Requests")]
    told = told.replace("8001", str(router_port)).replace("8300", str(port))
    blocks = re.findall(r"^```(bash|python)\n(.*?)^```$", told, re.MULTILINE | re.DOTALL)
    steps = [code if kind == "bash" else f"{sys.executable} - <<'PYTHON'\n{code}PYTHON" for kind, code in blocks]
    return "\n".join(["set -e", "trap 'kill $(jobs -p); wait' EXIT", *steps])


@pytest.mark.slow
def test_the_story_of_the_page_happens_as_it_says(tmp_path):
    port = free_port()
    programs(tmp_path / "bin", port)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    clean = {key: value for key, value in os.environ.items() if not key.startswith("OCS_")}
    env = {**clean, "PATH": path, "PYTHONUNBUFFERED": "1", "OCS_AGENT_SERVICE_URL": f"http://127.0.0.1:{port}"}
    command = ["bash", "-c", the_story(free_port(), port)]
    with (tmp_path / "output").open("w") as output:
        script = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=output, stderr=subprocess.STDOUT)
        try:
            code = script.wait(100)
        finally:
            stop_tree(script.pid, how=signal.SIGKILL)
    told = (tmp_path / "output").read_text()
    print(told)  # pytest shows it if the test failed
    assert code == 0
    tables = re.findall(r"^(ESW\.machine\d) +(\S+) +(\S+)$", told, re.MULTILINE)
    gone = ("ESW.machine2", "-", "-")
    assert tables[-4:] == [("ESW.machine1", "ESW.primary", "ESW.dark"), gone, gone, gone]
    assert '{"_type":"Spawned"}' in told
    assert told.count("succeeded\n") >= 2
    assert "killed ESW.primary" in told
