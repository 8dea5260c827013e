"""The Prometheus exporter on a real router, asked as Prometheus asks."""

import gzip
import socket
import threading
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import pytest_twisted
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.threads import deferToThread

from ocs.router.server import free_port
from tests.harness.waiting import wait_for
from tests.harness.wamp import wamp_session

pytestmark = pytest.mark.slow


class Exporter:
    """A running exporter, and what it tells."""

    def __init__(self, agent, port):
        self.agent, self.port = agent, port
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path="/metrics", **headers):
        with urlopen(Request(self.url + path, headers=headers), timeout=20) as answer:
            return answer.headers, answer.read()

    def serves(self):
        """Return whether it answers; for a moment after many have asked at once it may have others come again."""
        try:
            return ("ocs_router_connected",) in self.told()
        except HTTPError as error:
            if error.code != 503:
                raise
            return False

    def told(self):
        """Return what it tells, by name and labels."""
        body = self.get()[1].decode()
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(body)
            for sample in family.samples
        }


def add_exporter(site, *arguments):
    port = free_port()
    words = ["--port", str(port), "--interval", "0.5", *arguments]
    site.add_instance("PrometheusExporter", "exporter", words)
    return port


@pytest.fixture
def exporter(site, run_agent):
    port = add_exporter(site)
    agent = run_agent("exporter")
    found = Exporter(agent, port)
    wait_for(lambda: agent.client.main.status().session["data"].get("url") == f"{found.url}/metrics")
    return found


def test_an_agent_that_is_killed_is_down_within_seconds(exporter, site, run_agent):
    site.add_instance("FakeDataAgent", "fake-1", ["--mode", "acq"])
    fake = run_agent("fake-1")
    up, acq = ("ocs_agent_up", "fake-1", "FakeDataAgent"), ("ocs_operation_code", "fake-1", "FakeDataAgent", "acq")
    wait_for(lambda: (told := exporter.told()).get(up) == 1 and told.get(acq) == 3, 30)
    wait_for(lambda: exporter.told().get(("ocs_agent_messages_total", "fake-1"), 0) > 3, 30)
    fake.kill()
    found = wait_for(lambda: (told := exporter.told())[up] == 0 and told, 30)
    assert found[acq] == 7
    assert found["ocs_agents", "expired"] == 1
    assert found["ocs_agent_heartbeat_age_seconds", "fake-1", "FakeDataAgent"] > 5


def test_it_tells_of_itself(exporter):
    found = wait_for(lambda: ("ocs_agents", "alive") in (told := exporter.told()) and told, 30)
    assert found["ocs_agent_up", "exporter", "PrometheusExporter"] == 1
    assert found["ocs_operation_code", "exporter", "PrometheusExporter", "main"] == 3
    assert found["ocs_router_connected",] == 1


def test_what_a_recorder_tells_is_told_on_while_it_answers(exporter, site, run_agent, tmp_path):
    site.add_instance("AggregatorAgent", "hk", ["--initial-state", "record", "--data-dir", str(tmp_path / "hk")])
    recorder = run_agent("hk")
    free = ("ocs_recorder_disk_free_bytes", "hk")
    wait_for(lambda: exporter.told().get(free, 0) > 0, 30)
    recorder.kill()
    wait_for(lambda: free not in exporter.told(), 30)


def test_while_the_router_is_away_it_says_so_and_nothing_of_agents(own_router, make_site, run_agent):
    site = make_site(own_router)
    port = add_exporter(site)
    exporter = Exporter(run_agent("exporter", site=site), port)
    wait_for(lambda: exporter.told().get(("ocs_agents", "alive")) == 1, 30)
    own_router.kill()
    found = wait_for(lambda: (told := exporter.told())["ocs_router_connected",] == 0 and told, 30)
    assert ("ocs_agents", "alive") not in found
    assert not any(name == "ocs_agent_up" for name, *_ in found)
    own_router.start()
    wait_for(lambda: exporter.told().get(("ocs_agents", "alive")) == 1, 60)


def test_gzip_openmetrics_and_the_other_pages(exporter):
    headers, body = exporter.get(**{"Accept-Encoding": "gzip", "Accept": "application/openmetrics-text"})
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert gzip.decompress(body).endswith(b"# EOF\n")
    assert b'href="metrics"' in exporter.get("/")[1]
    assert exporter.get("/-/healthy")[1] == b"ok\n"


@pytest.mark.parametrize(("path", "body", "code"), [("/nothing", None, 404), ("/metrics", b"x", 405)])
def test_other_requests_are_refused(exporter, path, body, code):
    with pytest.raises(HTTPError) as refused:
        urlopen(Request(exporter.url + path, body), timeout=10)
    assert refused.value.code == code
    assert b"Traceback" not in refused.value.read()


def test_many_at_once_are_all_answered_or_told_to_come_again(exporter):
    codes = []

    def ask():
        try:
            with urlopen(f"{exporter.url}/metrics", timeout=20) as answer:
                codes.append(answer.status if b"ocs_router_connected" in answer.read() else "nothing in it")
        except HTTPError as error:
            codes.append(error.code)

    threads = [threading.Thread(target=ask) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(codes) == 40
    assert {*codes} <= {200, 503}
    assert 200 in codes


def test_hangs_up_in_mid_answer_cost_nothing(exporter):
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", exporter.port), timeout=10) as hasty:
            hasty.sendall(b"GET /metrics HTTP/1.1\r\nHost: it\r\n\r\n")
    wait_for(exporter.serves)


def test_a_port_that_is_taken_is_told_and_had_once_it_is_free(site, run_agent):
    port = add_exporter(site)
    with socket.create_server(("127.0.0.1", port)):
        agent = run_agent("exporter")
        session = wait_for(lambda: (s := agent.client.main.status().session)["degraded"] and s)
        assert session["data"]["trouble"] == (
            f"cannot listen at port {port} of 127.0.0.1: Address already in use; give another --port or --host"
        )
    wait_for(lambda: not agent.client.main.status().session["degraded"], 30)
    assert ("ocs_router_connected",) in Exporter(agent, port).told()


@pytest_twisted.ensureDeferred
async def test_rubbish_on_a_heartbeat_topic_is_counted(router, exporter):
    async with wamp_session(router) as session:
        for rubbish in ("x", [1, 2], [{"acq": "a lot"}, {"agent_address": "observatory.x"}]):
            session.publish("observatory.x.feeds.heartbeat", rubbish)
        count = ("ocs_exporter_malformed_heartbeats_total",)
        await deferToThread(wait_for, lambda: exporter.told()[count] == 3)


def test_it_ends_and_starts_again(exporter):
    main = exporter.agent.client.main
    assert main.stop()[0] == 0
    main.wait(timeout=20)
    with pytest.raises(OSError, match="refused"):
        exporter.get()
    assert main.start()[0] == 0
    wait_for(lambda: main.status().session["data"].get("url"))
    assert ("ocs_router_connected",) in exporter.told()
