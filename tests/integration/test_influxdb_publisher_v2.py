"""The publisher for InfluxDB 2: its requests are those of the official client, and a real server takes them.

No InfluxDB 2 can be installed here. What the official client library sends is recorded and compared with what ours
sends; VictoriaMetrics, a real server with the same write API, takes the points of a real publisher.
"""

import json
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import psutil
import pytest
from influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from pytest_twisted import ensureDeferred
from twisted.internet.threads import deferToThread

from ocs.influx.delivery import Delivery
from ocs.influx.link import Link
from ocs.influx.options import v2_from_environment
from tests.harness.publishing import AGENT, Publishing
from tests.harness.recording_server import RecordingServer
from tests.harness.victoria import Victoria
from tests.harness.waiting import wait_for
from tests.harness.wamp import wamp_session

START = 1_790_000_000.0
LINES = ['m,feed=f x=1.5,s="a b" 1790000000000000000', "m,feed=f x=2.5 1790000001000000000"]
JSON = {"Content-Type": "application/json"}
MISSING = json.dumps({"code": "not found", "message": "failed to initialize execute state: bucket not found"}).encode()


def environment(url, **more):
    return {"INFLUXDB_V2_URL": url, "INFLUXDB_V2_TOKEN": "my token", "INFLUXDB_V2_ORG": "so & co", **more}


def ours(server, bucket="ocs feeds", compress=False):
    place = v2_from_environment(environment(server.url), bucket)
    return Delivery(place, Link(place), compress=compress)


def official(server, compress=False):
    return InfluxDBClient(url=server.url, token="my token", org="so & co", enable_gzip=compress)


def telling(request):
    """What of a request a server looks at."""
    parts = urlsplit(request.path)
    names = ("authorization", "content-encoding")
    kind = request.headers.get("content-type", "").partition(";")[0] if request.body else ""
    return request.method, parts.path, parse_qs(parts.query), {n: request.headers.get(n) for n in names}, kind


def no_content(request):
    return 204, {}, b""


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
def test_a_write_is_that_of_the_official_client(compress):
    with RecordingServer(no_content) as server:
        with official(server, compress) as client:
            client.write_api(write_options=SYNCHRONOUS).write("ocs feeds", record=LINES)
        assert ours(server, compress=compress).deliver("\n".join(LINES).encode(), 2).done
    theirs, mine = server.asked
    assert telling(mine) == telling(theirs)
    if not compress:
        assert mine.body == theirs.body


def made(request):
    """Answer as a server that has no bucket until one is made."""
    if request.path.startswith("/api/v2/orgs"):
        return 200, JSON, json.dumps({"orgs": [{"id": "00a1", "name": "so & co"}]}).encode()
    if request.path == "/api/v2/buckets":
        body = json.loads(request.body)
        return 201, JSON, json.dumps({"id": "00b2", "retentionRules": [], **body}).encode()
    return 404, JSON, MISSING


def test_a_bucket_is_made_as_the_official_client_makes_it():
    with RecordingServer(made) as server:
        with official(server) as client:
            client.buckets_api().create_bucket(bucket_name="ocs feeds", org="so & co")
        theirs = list(server.asked)
        server.asked.clear()
        ours(server).deliver(LINES[0].encode(), 1)
    mine = [request for request in server.asked if "write" not in request.path]
    assert [telling(request) for request in mine] == [telling(request) for request in theirs]
    wanted = json.loads(theirs[-1].body)
    assert json.loads(mine[-1].body) == {key: wanted[key] for key in ("orgID", "name", "retentionRules")}


def test_a_token_that_may_not_make_buckets_is_told_and_not_asked_again():
    def forbidding(request):
        if request.path == "/api/v2/buckets":
            return 403, JSON, b'{"code":"forbidden","message":"insufficient permissions"}'
        return made(request)

    with RecordingServer(forbidding) as server:
        delivery = ours(server)
        for _ in range(3):
            outcome = delivery.deliver(LINES[0].encode(), 1)
            assert not outcome.done
            assert "bucket not found" in outcome.trouble
    assert sum(request.path == "/api/v2/buckets" for request in server.asked) == 1


@pytest.fixture
def victoria(tmp_path):
    server = Victoria(tmp_path / "victoria").start()
    yield server
    server.stop()


@pytest.fixture
def start(site, run_agent):
    def begin(url, *options, **keywords):
        site.add_instance("InfluxDBAgentv2", "influx-2", list(options))
        return run_agent("influx-2", env=environment(url), **keywords)

    return begin


def data_of(publisher):
    return publisher.call(".ops", "status", "record")[2].get("data") or {}


@ensureDeferred
async def test_a_real_server_takes_the_points_also_those_of_an_outage(router, victoria, start):
    publisher = await deferToThread(start, victoria.url, "--gzip", "True")
    await deferToThread(wait_for, lambda: data_of(publisher).get("connected"))
    agent = f"{AGENT}-{uuid4().hex}"
    async with wamp_session(router) as session:
        publish = Publishing(session, agent)
        publish([START, START + 1], x=[1.5, 2.5], n=[1, 2], ok=[True, False])
        await deferToThread(wait_for, lambda: data_of(publisher)["points"] == 2)
        victoria.stop()
        publish([START + 2], x=[3.5], n=[3], ok=[True])
        await deferToThread(wait_for, lambda: not data_of(publisher)["connected"])
        await deferToThread(victoria.start)
        await deferToThread(wait_for, lambda: data_of(publisher)["points"] == 3, 30)
        times = [int((START + n) * 1000) for n in range(3)]
        found = await deferToThread(
            wait_for,
            lambda: (f := victoria.samples('{feed="temps"}')) and len(f.get(f"{agent}_n", ())) == 3 and f,
        )
        assert found == {
            f"{agent}_x": list(zip(times, [1.5, 2.5, 3.5], strict=True)),
            f"{agent}_n": list(zip(times, [1, 2, 3], strict=True)),
            f"{agent}_ok": list(zip(times, [1, 0, 1], strict=True)),
        }
    shown = (
        publisher.output
        + str(publisher.call(".ops", "status", "record"))
        + str(psutil.Process(publisher.process.pid).cmdline())
    )
    assert "my token" not in shown


@pytest.mark.parametrize(
    ("env", "text"),
    [
        ({}, "set INFLUXDB_V2_URL, INFLUXDB_V2_TOKEN, INFLUXDB_V2_ORG in the environment"),
        ({**environment("influxdb:8086")}, "which is no URL such as http://influxdb:8086"),
        ({**environment("http://a"), "INFLUXDB_V2_TOKEN": "", "INFLUXDB_V2_TOKEN_FILE": "/nowhere"}, "cannot be read"),
    ],
)
def test_what_is_missing_is_told_in_one_line(site, run_agent, env, text):
    site.add_instance("InfluxDBAgentv2", "influx-2")
    agent = run_agent("influx-2", env=env, wait=False)
    assert agent.process.wait(20) == 1
    assert text in agent.output
    assert "Traceback" not in agent.output


def test_paths_and_schemes_of_the_url_count():
    place = v2_from_environment(environment("https://data.example.org/influx/", INFLUXDB_V2_VERIFY_SSL="False"), "b")
    assert (place.host, place.port, place.tls, place.verify) == ("data.example.org", 443, True, False)
    assert place.write(b"").path.startswith("/influx/api/v2/write?")
