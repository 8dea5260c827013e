"""The client of the agent service: what it sends, and what it makes of the answers."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ocs.agent_service.client import AgentServiceClient
from ocs.agent_service.models import EXAMPLES, request_of
from ocs.components.names import ComponentId, Prefix
from ocs.errors import AgentServiceError


@contextmanager
def service(status=200, body=b'{"_type": "Spawned"}', hold=None):
    """A server that answers all alike; provides its address and what it was sent: path, headers, body."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            sent = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.path, self.headers, sent))
            if hold is not None:
                hold.wait(10)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        if hold is not None:
            hold.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("ask", "kind"),
    [
        (lambda c: c.spawn_sequence_component("ESW.machine1", "primary"), "SpawnSequenceComponent"),
        (lambda c: c.spawn_sequence_manager("ESW.machine1", "/site/obs-modes.yaml", True), "SpawnSequenceManager"),
        (lambda c: c.spawn_agent("ESW.machine1", "thermometer-1"), "SpawnAgent"),
        (lambda c: c.spawn_containers("ESW.machine1", "/site/machine1.yaml", True), "SpawnContainers"),
        (
            lambda c: c.kill_component({"prefix": "ESW.primary", "componentType": "SequenceComponent"}),
            "KillComponent",
        ),
        (lambda c: c.kill_component(ComponentId(Prefix("ESW", "primary"), "SequenceComponent")), "KillComponent"),
        (lambda c: c.agent_status(), "GetAgentStatus"),
    ],
)
def test_each_request_is_as_the_service_reads_it(ask, kind):
    with service() as (url, asked):
        assert ask(AgentServiceClient(url, "a.b.c")) == {"_type": "Spawned"}
    path, headers, body = asked[0]
    assert (path, headers["Authorization"]) == ("/post-endpoint", "Bearer a.b.c")
    assert json.loads(body) == EXAMPLES[kind]


def test_a_version_is_sent_if_there_is_one():
    with service() as (url, asked):
        AgentServiceClient(url).spawn_sequence_component("ESW.machine1", "primary", version="0.13")
        AgentServiceClient(url).spawn_sequence_manager("ESW.machine1", "m.yaml", False, version="0.13")
    assert [request_of(body).version for _, _, body in asked] == ["0.13", "0.13"]
    assert asked[0][1]["Authorization"] is None


def test_what_could_not_be_done_is_an_answer():
    failed = {"_type": "Failed", "msg": "registered already"}
    with service(body=json.dumps(failed).encode()) as (url, _):
        assert AgentServiceClient(url).spawn_agent("ESW.a", "b") == failed


def test_a_path_before_it():
    with service() as (url, asked):
        AgentServiceClient(f"{url}/agents/").agent_status()
    assert asked[0][0] == "/agents/post-endpoint"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (403, b'{"_type": "Forbidden", "msg": "ana lacks\\nthe role"}', "refuses (403): ana lacks the role"),
        (503, b'{"_type": "ServiceUnavailable"}', "refuses (503): ServiceUnavailable"),
        (200, b"<html>", "has answered with status 200 and what is none of its answers: <html>"),
        (200, b"[" * 100_000, "what is none of its answers"),
        (502, b"\xff\n", "has answered with status 502 and what is none of its answers: \\xff\\n"),
        (200, b'{"msg": 1}', "none of its answers"),
    ],
)
def test_refusals_and_strangers(status, body, said):
    with service(status, body) as (url, _), pytest.raises(AgentServiceError) as raised:
        AgentServiceClient(url).agent_status()
    assert str(raised.value).startswith(f"the agent service at {url} ")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.status == status


def test_nobody_is_there():
    with service() as (url, _):
        pass
    with pytest.raises(AgentServiceError, match=r"cannot be asked: Connection refused$"):
        AgentServiceClient(url).agent_status()


def test_one_that_does_not_answer_is_not_waited_for_for_ever():
    with (
        service(hold=threading.Event()) as (url, _),
        pytest.raises(AgentServiceError, match=r"has not answered within 0.1 s$"),
    ):
        AgentServiceClient(url, timeout=0.1).agent_status()


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8300", "ftp://a", "http://", "http://a:b", "http://a b", "http://ä", "http://["]
)
def test_what_is_no_address(url):
    with pytest.raises(AgentServiceError, match="is no address of an agent service"):
        AgentServiceClient(url)


@pytest.mark.parametrize("token", ["a\nb", "ä", "a\r\nHost: x"])
def test_what_is_no_token(token):
    with pytest.raises(AgentServiceError, match="is not asked: the token is none"):
        AgentServiceClient("http://127.0.0.1:9", token).agent_status()


def test_what_json_cannot_have():
    with pytest.raises(AgentServiceError, match="is not asked: Object of type object"):
        AgentServiceClient("http://127.0.0.1:9").spawn_agent("ESW.a", object())
