"""The blocking HTTP client: what it sends, what it makes of answers, when it may send again."""

import math
import ssl
import subprocess
import threading
import time
from enum import IntEnum

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocs.client_http import ControlClient, ControlClientError
from ocs.clients.call_errors import CONNECTION_ERROR, REQUEST_ERROR
from tests.harness.bridge import FakeBridge, http_answer, result, session

ADDRESS = "observatory.fake-1"


@pytest.fixture
def echo():
    """A bridge whose procedures return their arguments."""
    with FakeBridge(lambda request: result([request["args"], request["kwargs"]])) as bridge:
        yield bridge


def client_of(bridge, **kwargs):
    return ControlClient(ADDRESS, url=bridge.url, realm="test_realm", **kwargs)


# What is sent


def test_a_call_posts_procedure_and_arguments(echo):
    assert client_of(echo).call("observatory.x", 1, "a", b=[2.5, None]) == [[1, "a"], {"b": [2.5, None]}]
    assert echo.requests == [{"procedure": "observatory.x", "args": [1, "a"], "kwargs": {"b": [2.5, None]}}]


def test_a_request_goes_to_the_agents_operations(echo):
    client_of(echo).request("start", "acq", {"rate": 2}, password="secret")
    assert echo.requests[0] == {
        "procedure": f"{ADDRESS}.ops",
        "args": ["start", "acq", {"rate": 2}],
        "kwargs": {"password": "secret"},
    }


def test_a_request_without_parameters_sends_an_empty_map(echo):
    client_of(echo).request("start", "acq")
    assert echo.requests[0]["args"] == ["start", "acq", {}]


def test_special_calls_below_the_agents_address(echo):
    client_of(echo).special("agent_poll", "a", b=1)
    assert echo.requests[0]["procedure"] == f"{ADDRESS}.agent_poll"


@pytest.mark.parametrize("question", ["get_tasks", "get_processes", "get_feeds", "get_api"])
def test_questions_ask_the_agents_address(question):
    with FakeBridge(lambda _: result({})) as bridge:
        assert getattr(client_of(bridge), question)() == {}
        assert bridge.requests[0] == {"procedure": ADDRESS, "args": [question], "kwargs": {}}


def test_simple_api_has_names_only():
    api = {
        "agent_class": "A",
        "feeds": [["heartbeat", {}]],
        "tasks": [["t", {}, {}]],
        "processes": [],
        "access_control": {"version": 1},
    }
    with FakeBridge(lambda _: result(api)) as bridge:
        assert client_of(bridge).get_api(simple=True) == {
            **api,
            "feeds": ["heartbeat"],
            "tasks": ["t"],
            "processes": [],
        }


def test_any_text_survives_the_way(echo):
    text = "Ångström µK \0 \U0001f52d \u2028 'quoted\" \\"
    assert client_of(echo).call("p", text)[0] == [text]


class Level(IntEnum):
    TWO = 2


class NumpyLike:
    """What NumPy's scalars and arrays offer; the client must not import NumPy to know them."""

    def __init__(self, value):
        self.value = value

    def tolist(self):
        return self.value


def test_numbers_of_other_kinds_are_sent_as_numbers(echo):
    assert client_of(echo).call("p", Level.TWO, NumpyLike(3), NumpyLike([1.5, 2.5]), (1, 2)) == [
        [2, 3, [1.5, 2.5], [1, 2]],
        {},
    ]


@pytest.mark.parametrize(
    ("value", "place", "reason"),
    [
        (math.nan, "['rate']", "nan"),
        ([1.0, -math.inf], "['rate'][1]", "-inf"),
        (b"raw", "['rate']", "bytes"),
        ({"deep": {1, 2}}, "['rate']['deep']", "type set"),
        (NumpyLike([math.nan]), "['rate'][0]", "nan"),
    ],
)
def test_what_json_cannot_carry_is_refused_by_name(echo, value, place, reason):
    with pytest.raises(ControlClientError) as caught:
        client_of(echo).request("start", "acq", {"rate": value})
    assert caught.value.args[0][4] == REQUEST_ERROR
    assert place in str(caught.value)
    assert reason in str(caught.value)
    assert not echo.requests


def test_a_parameter_that_holds_itself_is_refused(echo):
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(ControlClientError, match="cannot be sent"):
        client_of(echo).call("p", endless)


# What comes back


def test_an_error_of_the_router_names_the_agent_and_what_to_do():
    answer = {"error": "wamp.error.no_such_procedure", "args": ["no callee registered"], "kwargs": {"a": 1}}
    with FakeBridge(lambda _: answer) as bridge, pytest.raises(ControlClientError) as caught:
        client_of(bridge).get_api()
    assert caught.value.args[0][4:7] == ["wamp.error.no_such_procedure", ["no callee registered"], {"a": 1}]
    assert "observatory.fake-1" in str(caught.value)
    assert "not running" in str(caught.value)


def test_an_error_raised_by_the_procedure_is_told_in_one_line():
    answer = {"error": "wamp.error.runtime_error", "args": ["it\nbroke", 3], "kwargs": {}}
    with FakeBridge(lambda _: answer) as bridge, pytest.raises(RuntimeError, match=r"p: .*runtime_error: it broke 3$"):
        client_of(bridge).call("p")


def test_several_results_come_as_a_list_and_none_as_none():
    answers = iter([{"args": [1, 2]}, {"args": []}, {}])
    with FakeBridge(lambda _: next(answers)) as bridge:
        client = client_of(bridge)
        assert [client.call("p"), client.call("p"), client.call("p")] == [[1, 2], None, None]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (http_answer(b'{"error":"x"}', "405 Method Not Allowed"), "not a router's HTTP bridge .HTTP 405: x"),
        (http_answer(b"<html>"), "not a router's HTTP bridge"),
        (http_answer(b"[1]"), "not a router's HTTP bridge"),
        (http_answer(b'{"error":"too long"}', "413 Payload Too Large"), "refused the request .HTTP 413: too long"),
    ],
)
def test_answers_of_others_are_request_errors(answer, message):
    with FakeBridge(lambda _: answer) as bridge, pytest.raises(ControlClientError, match=message) as caught:
        client_of(bridge).call("p")
    assert caught.value.args[0][4] == REQUEST_ERROR


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000,
    ],
)
def test_what_is_no_http_is_a_connection_error(answer):
    with FakeBridge(lambda _: iter([answer])) as bridge, pytest.raises(ControlClientError) as caught:
        client_of(bridge, timeout=5).call("p")
    assert caught.value.args[0][4] == CONNECTION_ERROR
    assert "\n" not in str(caught.value)


def chunked(body, sizes):
    parts, rest = [], body
    for size in sizes:
        part, rest = rest[:size], rest[size:]
        if part:
            parts.append(b"%x;ext=1\r\n%b\r\n" % (len(part), part))
    last = b"%x\r\n%b\r\n" % (len(rest), rest) if rest else b""
    head = b"HTTP/1.1 200 OK\r\nX-Y: z\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(parts) + last + b"0\r\nTrailer: t\r\n\r\n"


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(max_size=200),
    sizes=st.lists(st.integers(1, 40), max_size=8),
    cuts=st.lists(st.integers(1, 60), max_size=12),
)
def test_an_answer_is_read_however_it_is_cut_up(text, sizes, cuts):
    import json

    whole = chunked(json.dumps(result(text)).encode(), sizes)
    pieces, rest = [], whole
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    with FakeBridge(lambda _: iter([*filter(None, pieces), rest])) as bridge:
        client = client_of(bridge)
        assert client.call("p") == text
        assert client.call("p") == text, "what is left of the first answer must not spoil the second"
        assert bridge.connections == 1
        client.stop()


def test_an_answer_without_length_ends_with_the_connection():
    def answer(_):
        bridge_answers.append(1)
        yield b'HTTP/1.1 200 OK\r\n\r\n{"args": [5]}'
        threading.Timer(0.05, bridge.close_connections).start()

    bridge_answers: list[int] = []
    with FakeBridge(answer) as bridge:
        assert client_of(bridge).call("p") == 5


def test_a_server_that_closes_after_each_answer_is_obeyed():
    answer = b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 13\r\n\r\n{"args": [5]}'
    with FakeBridge(lambda _: answer) as bridge:
        client = client_of(bridge)
        assert [client.call("p"), client.call("p")] == [5, 5]
        assert bridge.connections == 2


# The kept connection


def test_calls_share_one_connection(echo):
    client = client_of(echo)
    for i in range(5):
        client.call("p", i)
    assert echo.connections == 1


def test_a_connection_closed_while_idle_is_replaced_also_for_start(echo):
    client = client_of(echo)
    client.call("p")
    echo.close_connections()
    client.request("start", "acq")
    assert [request["args"][:1] for request in echo.requests] == [[], ["start"]]
    assert echo.connections == 2


def failing_second(value):
    """Answer the first request, close the connection upon the second, answer the rest."""
    answers = iter([result(value), None])
    return lambda _: next(answers, result(value))


def test_a_reading_call_is_repeated_when_the_kept_connection_closes_without_answer():
    with FakeBridge(failing_second([0, "", {}])) as bridge:
        client = client_of(bridge)
        client.request("status", "acq")
        assert client.request("status", "acq") == [0, "", {}]
        assert len(bridge.requests) == 3


@pytest.mark.parametrize("action", ["start", "stop", "abort"])
def test_a_changing_call_is_never_sent_twice(action):
    with FakeBridge(failing_second([0, "", {}])) as bridge:
        client = client_of(bridge)
        client.request("status", "acq")
        with pytest.raises(ControlClientError, match="may have been carried out") as caught:
            client.request(action, "acq")
        assert caught.value.args[0][4] == CONNECTION_ERROR
        assert [request["args"][0] for request in bridge.requests] == ["status", action]


def test_a_call_of_an_unknown_procedure_is_never_sent_twice():
    with FakeBridge(failing_second(1)) as bridge:
        client = client_of(bridge)
        client.call("p", "status_of_things")
        with pytest.raises(ControlClientError):
            client.call("p", "change_things")
        assert len(bridge.requests) == 2


def test_an_answer_cut_in_the_middle_is_not_taken_for_an_answer():
    with FakeBridge(lambda _: iter([b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"args"'])) as bridge:
        timer = threading.Timer(0.1, bridge.close_connections)
        timer.start()
        with pytest.raises(ControlClientError, match="middle"):
            client_of(bridge).call("p")
        timer.join()


def test_a_connection_of_the_parent_is_not_used_after_a_fork(echo, monkeypatch):
    client = client_of(echo)
    client.call("p")
    monkeypatch.setattr("ocs.client_http.os.getpid", lambda: -1)
    client.call("p")
    assert echo.connections == 2


def test_threads_get_each_their_own_answer(echo):
    client, wrong = client_of(echo), []

    def work(number):
        wrong.extend(i for i in range(25) if client.call("p", number, i)[0] != [number, i])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert echo.connections <= 8


def test_stop_closes_and_a_later_call_opens_again(echo):
    client = client_of(echo)
    client.start()
    client.call("p")
    client.stop()
    assert client.call("p") == [[], {}]
    assert echo.connections == 2


# Deadlines


def test_the_deadline_holds_for_the_whole_call_not_for_each_byte():
    stop = threading.Event()

    def dripping(_):
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
        while not stop.wait(0.02):
            yield b" "

    with FakeBridge(dripping) as bridge:
        began = time.monotonic()
        with pytest.raises(ControlClientError, match="did not answer in time") as caught:
            client_of(bridge, timeout=0.2).call("p")
        stop.set()
    assert time.monotonic() - began < 5
    assert caught.value.args[0][4] == CONNECTION_ERROR


def test_the_deadline_grows_with_the_timeout_of_a_wait():
    def slow(request):
        time.sleep(max(0, request["kwargs"]["timeout"]))  # the agent's waiting is what is tested
        return result([1, "wait timed out", session()])

    with FakeBridge(slow) as bridge:
        assert client_of(bridge, timeout=0.2).request("wait", "count", timeout=0.5)[0] == 1


def test_no_router_says_so_with_its_address():
    with FakeBridge(lambda _: None) as bridge:
        url = bridge.url
    with pytest.raises(ControlClientError, match=f"No router at {url}.*start the router") as caught:
        ControlClient(ADDRESS, url=url).call("p")
    assert caught.value.args[0][4] == CONNECTION_ERROR


@pytest.mark.parametrize("url", ["127.0.0.1:8001/call", "ws://127.0.0.1:8001/ws", "http://", ""])
def test_a_url_that_is_none_is_refused_at_once(url):
    with pytest.raises(ControlClientError, match="no address of an HTTP bridge"):
        ControlClient(ADDRESS, url=url)


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that signs itself, and its key, in one file."""
    file, key = tmp_path_factory.mktemp("tls") / "certificate.pem", tmp_path_factory.mktemp("tls") / "key.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*command, *subject, "-keyout", key, "-out", file], check=True, capture_output=True)
    file.write_text(file.read_text() + key.read_text())
    return file


@pytest.fixture
def secure(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with FakeBridge(lambda request: result(request["args"]), tls=context) as bridge:
        yield bridge


def test_a_trusted_server_is_called_over_tls(secure, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    client = client_of(secure)
    assert [client.call("p", i) for i in range(3)] == [[0], [1], [2]]
    client.stop()


def test_an_untrusted_server_is_refused(secure):
    with pytest.raises(ControlClientError, match=r"(?i)certificate") as caught:
        client_of(secure).call("p")
    assert caught.value.args[0][4] == CONNECTION_ERROR
    assert not secure.requests


# Waiting over outages


def test_a_long_wait_goes_on_over_lost_connections():
    done = session(status="done", success=True, end_time=2000.0)
    answers = iter([result([1, "wait timed out", session()]), None, None, result([0, "SUCCEEDED", done])])
    with FakeBridge(lambda _: next(answers)) as bridge:
        assert client_of(bridge).request("wait", "count") == [0, "SUCCEEDED", done]
        first, *others = (request["kwargs"]["timeout"] for request in bridge.requests)
    assert first < 0
    assert all(0 < timeout <= 60 for timeout in others)


def test_a_wait_that_has_not_begun_fails_at_once():
    with FakeBridge(lambda _: None) as bridge, pytest.raises(ControlClientError):
        client_of(bridge).request("wait", "count")


def test_a_wait_passes_on_the_error_of_an_agent():
    with FakeBridge(lambda _: result([-1, 'No task or process called "x"', {}])) as bridge:
        assert client_of(bridge).request("wait", "x")[0] == -1
        assert len(bridge.requests) == 1


def test_the_error_can_be_pickled_with_its_text():
    import pickle

    error = ControlClientError([0, 0, 0, 0, "a.b", ["c"], {}], "what to do")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - its own
    assert (str(copy), copy.args, copy.name) == ("what to do", error.args, "a.b")
