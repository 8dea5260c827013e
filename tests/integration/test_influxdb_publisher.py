"""The InfluxDB publisher on a real router, with a real InfluxDB 1."""

import math
import time
from uuid import uuid4

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet.threads import deferToThread

from ocs.agents.influxdb_publisher.agent import make_parser
from tests.harness.influx import Influxd
from tests.harness.publishing import AGENT, Publishing
from tests.harness.waiting import wait_for
from tests.harness.wamp import wamp_session

START = 1_790_000_000.0


def data_of(publisher):
    return publisher.call(".ops", "status", "record")[2].get("data") or {}


@pytest.fixture
def database():
    return f"db-{uuid4()}"


@pytest.fixture
def publish_to(site, run_agent, database):
    """Start a publisher for a server, connected to it; it is started for `own_site` if one is given."""

    def start(server: Influxd, *options, env=None, connected=True, **keywords):
        arguments = ["--host", server.host, "--port", server.port, "--database", database, *options]
        site.add_instance("InfluxDBAgent", "influx-1", arguments)
        agent = run_agent("influx-1", env=env, **keywords)
        if connected:
            wait_for(lambda: data_of(agent).get("connected"))
        return agent

    return start


@ensureDeferred
async def test_every_sample_of_a_recorded_feed_arrives_with_its_type(router, influxd, publish_to, database):
    publisher = await deferToThread(publish_to, influxd)
    async with wamp_session(router) as session:
        publish = Publishing(session)
        values = {"f": [1.5, 2.5], "i": [1, 2**62], "b": [True, False], "s": ['a "quoted", text\n', "ö"]}
        publish([START, START + 0.25], **values)
        rows = await deferToThread(wait_for, lambda: influxd.rows(database, AGENT))
        times = [int(START * 1e9), int((START + 0.25) * 1e9)]
        assert rows == [
            {"time": times[0], "feed": "temps", "f": 1.5, "i": 1, "b": True, "s": 'a "quoted", text\n'},
            {"time": times[1], "feed": "temps", "f": 2.5, "i": 2**62, "b": False, "s": "ö"},
        ]
        data = await deferToThread(wait_for, lambda: (d := data_of(publisher))["points"] == 2 and d)
        assert (data["connected"], data["lag"], data["dropped"], data["left_out"]) == (True, 0.0, {}, {})
        assert data["last_updated"] <= time.time()


@ensureDeferred
async def test_only_recorded_feeds_that_do_not_exclude_it_are_written(router, influxd, publish_to, database):
    await deferToThread(publish_to, influxd)
    async with wamp_session(router) as session:
        publish = Publishing(session)
        publish([START], feed="excluded", changes={"agg_params": {"exclude_influx": True}}, x=[1.0])
        publish([START], feed="unrecorded", changes={"record": False}, x=[1.0])
        publish([START], feed="for_influx_alone", changes={"agg_params": {"exclude_aggregator": True}}, x=[1.0])
        rows = await deferToThread(wait_for, lambda: influxd.rows(database, AGENT))
        assert [row["feed"] for row in rows] == ["for_influx_alone"]


@ensureDeferred
async def test_malformed_messages_are_counted_and_stop_nothing(router, influxd, publish_to, database):
    publisher = await deferToThread(publish_to, influxd)
    async with wamp_session(router) as session:
        publish = Publishing(session)
        for event in (None, 5, [], [{}], ["x", "y"], [1, 2, 3]):
            publish.raw(event)
        publish([START], x=[1.0, 2.0])
        publish([START], changes={"feed_name": "bad\nname"}, x=[1.0])
        publish(["noon"], x=[1.0])
        publish([START], x=[math.nan], y=[2**70], z=[None])
        publish.raw([{"block": 5, "other": {"data": [], "timestamps": []}}, {"record": True}])
        publish([START], good=[1.0])
        rows = await deferToThread(wait_for, lambda: influxd.rows(database, AGENT))
        assert [row["good"] for row in rows] == [1.0]
        data = await deferToThread(wait_for, lambda: (d := data_of(publisher))["points"] == 1 and d)
        assert data["malformed"] >= 5
        assert data["left_out"].items() >= {"length": 2, "time": 1, "not_finite": 1, "type": 1}.items()


@ensureDeferred
async def test_a_field_of_another_type_costs_that_field_alone(router, influxd, publish_to, database):
    publisher = await deferToThread(publish_to, influxd)
    await deferToThread(influxd.write, database, f"{AGENT},feed=temps a=1.5,b=1i,c=true {int(START - 1)}000000000")
    async with wamp_session(router) as session:
        publish = Publishing(session)
        publish([START], a=[3], b=[1.5], c=["text"], d=[7])
        publish([START + 1], a=[4], b=[5], c=[False], d=[8])
        rows = await deferToThread(wait_for, lambda: (r := influxd.rows(database, AGENT)) and len(r) == 3 and r)
        assert [{k: v for k, v in row.items() if k not in ("time", "feed")} for row in rows[1:]] == [
            {"a": 3, "d": 7},
            {"a": 4, "b": 5, "c": False, "d": 8},
        ]
        data = await deferToThread(wait_for, lambda: (d := data_of(publisher))["points"] == 2 and d)
        assert data["left_out"] == {"conflict": 2}
        assert "already exists as type" in str(publisher.call(".ops", "status", "record")[2]["messages"])


def test_flags_mean_what_they_say(influxd, publish_to):
    publisher = publish_to(influxd, "--ssl", "False", "--verify-ssl", "False", "--gzip", "True")
    assert data_of(publisher)["connected"]


@pytest.mark.parametrize("word", ["0", "no", "off", "FALSE"])
def test_a_flag_may_be_denied_in_any_way(word):
    args = make_parser().parse_args(["--ssl", word, "--verify-ssl", word, "--gzip", word])
    assert (args.ssl, args.verify_ssl, args.gzip) == (False, False, False)


def test_an_odd_flag_is_told_in_one_line(influxd, publish_to):
    agent = publish_to(influxd, "--ssl", "perhaps", connected=False, wait=False)
    assert agent.process.wait(20) == 2
    assert "--ssl: must be True or False, not 'perhaps'" in agent.output
    assert "Traceback" not in agent.output


@ensureDeferred
async def test_gzipped_lines_arrive(router, influxd, publish_to, database):
    await deferToThread(publish_to, influxd, "--gzip", "True")
    async with wamp_session(router) as session:
        publish = Publishing(session)
        publish([START], x=[1.0])
        assert await deferToThread(wait_for, lambda: influxd.rows(database, AGENT))


def test_credentials_come_from_the_environment_or_a_file(tmp_path, publish_to, database):
    server = Influxd(tmp_path / "guarded", auth=True).start()
    try:
        server.query("CREATE USER \"op\" WITH PASSWORD 'se cret' WITH ALL PRIVILEGES")
        (tmp_path / "password").write_text("se cret\n")
        env = {"INFLUXDB_USERNAME": "op", "INFLUXDB_PASSWORD_FILE": str(tmp_path / "password")}
        publisher = publish_to(server, env=env)
        server.login = {"u": "op", "p": "se cret"}
        assert database in server.databases()
        assert "se cret" not in publisher.output
    finally:
        server.stop()


def test_refused_credentials_are_told_once_and_degrade(tmp_path, publish_to):
    server = Influxd(tmp_path / "guarded", auth=True).start()
    try:
        server.query("CREATE USER \"op\" WITH PASSWORD 'right' WITH ALL PRIVILEGES")
        publisher = publish_to(server, env={"INFLUXDB_USERNAME": "op", "INFLUXDB_PASSWORD": "wrong"}, connected=False)
        data = wait_for(lambda: (d := data_of(publisher)).get("last_error") and d)
        assert "401 authorization failed" in data["last_error"]
        assert not data["connected"]
        assert wait_for(lambda: publisher.call(".ops", "status", "record")[2].get("degraded"))
    finally:
        server.stop()


def test_stop_works_at_once_while_the_database_hangs(own_influxd, publish_to):
    publisher = publish_to(own_influxd)
    own_influxd.freeze()
    publisher.call(".ops", "stop", "record")
    code, _, session = publisher.call(".ops", "wait", "record", None, 5)
    assert (code, session["success"]) == (0, True)
    assert publisher.stop(timeout=10) == 0


def test_test_mode_takes_what_comes_and_ends(influxd, publish_to, database):
    publisher = publish_to(influxd, "--initial-state", "idle", connected=False)
    publisher.call(".ops", "start", "record", {"test_mode": True})
    code, _, session = publisher.call(".ops", "wait", "record", None, 10)
    assert (code, session["success"]) == (0, True)


def test_a_missing_file_with_the_password_is_told_in_one_line(influxd, publish_to):
    agent = publish_to(influxd, env={"INFLUXDB_PASSWORD_FILE": "/nowhere"}, connected=False, wait=False)
    assert agent.process.wait(20) == 1
    assert "INFLUXDB_PASSWORD_FILE names /nowhere" in agent.output
    assert "Traceback" not in agent.output
