"""What agents on a real router write down of what is asked of them."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import DeferredList
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from ocs.audit import AuditRecord, Wanted, audit_files, read_records
from tests.harness.closed_site import ClosedSite
from tests.harness.listener import Listener
from tests.harness.prove import SCRIPT, ops, run, start_proving
from tests.harness.site import Site
from tests.harness.waiting import wait_for
from tests.harness.wamp import wamp_session

OK, ERROR = 0, -1
SECRET = "Zq7xvTk9Lw"


@pytest.fixture
def prove(site, run_agent):
    return lambda *arguments, **keywords: start_proving(run_agent, site, *arguments, **keywords)


def audit_of(site):
    (path,) = audit_files([site.state_dir])
    return path


def records(site, **wanted):
    if not any(site.state_dir.glob("*/*.audit.jsonl")):
        return []
    return read_records([audit_of(site)], Wanted(**wanted))[0]


def having(site, count, **wanted):
    """Wait until there are so many records, and return them."""
    return wait_for(lambda: found if len(found := records(site, **wanted)) >= count else None)


async def until(condition):
    """Wait while the tests' reactor works."""
    for _ in range(200):
        if condition():
            return
        await deferLater(reactor, 0.05, lambda: None)
    raise AssertionError("not within 10 s")


def short(found):
    return [(record.action, record.op, record.who, record.code) for record in found]


@ensureDeferred
async def test_who_asked_for_what_from_where_and_what_became_of_it(prove, site, router, tmp_path):
    site.hub["access_policy"] = "override:two,three"
    agent = prove("--min-privs", "2", "--startup")
    with Listener(router, f"{agent.address}.feeds.audit", tmp_path) as heard:
        assert ops(agent, "start", "raw", {"n": 1}, None, "wrong")[0] == ERROR
        assert ops(agent, "start", "nothing", {"n": 1})[0] == ERROR
        assert ops(agent, "start", "echo", {"text": 3, "api_key": SECRET}, None, "two")[0] == ERROR
        assert ops(agent, "start", "pending", None, None, "two")[0] == OK
        assert ops(agent, "abort", "pending", None, None, "three")[0] == OK
        assert ops(agent, "start", "crash", {"user": {"password": SECRET, "name": "bob"}}, None, "two")[0] == OK
        async with wamp_session(router) as session:
            assert (await session.call(f"{agent.address}.ops", "stop", "raw"))[0] == ERROR
            whose = session._session_id
        found = having(site, 12)
        found = [record for record in found if record.op not in ("at_startup", "count")]
        assert sorted(short(found)) == sorted(
            [
                ("start", "raw", "level 1", ERROR),
                ("start", "nothing", "anonymous", ERROR),
                ("start", "echo", "level 2", ERROR),
                ("start", "pending", "level 2", OK),
                ("abort", "pending", "level 3", OK),
                ("end", "pending", "level 2", ERROR),
                ("start", "crash", "level 2", OK),
                ("end", "crash", "level 2", ERROR),
                ("stop", "raw", "level 1", ERROR),
            ]
        )
        by = {(record.action, record.op): record for record in found}
        assert by["start", "raw"].params == {"n": 1}
        assert "level" in by["start", "raw"].message
        assert by["start", "crash"].params == {"user": {"password": "***", "name": "bob"}}
        assert by["start", "crash"].session_id == by["end", "crash"].session_id
        assert by["start", "crash"].peer == "HTTP bridge"
        stop = by["stop", "raw"]
        assert stop.wamp_session == whose
        assert stop.peer.startswith("tcp4:127.0.0.1:")
        assert records(site, op="at_startup")[0].who == "agent itself"
        wait_for(lambda: len(told(heard)) >= len(found))
        assert {record.line() for record in found} <= {record.line() for record in told(heard)}
        assert SECRET not in str(heard.events)
    assert SECRET not in audit_of(site).read_text()
    assert audit_of(site).stat().st_mode & 0o007 == 0


def told(heard):
    return [AuditRecord(**record) for data, _ in heard.events for record in data["records"]]


def test_what_the_agent_starts_and_stops_by_itself(prove, site):
    agent = prove()
    assert ops(agent, "start", "count")[0] == OK
    agent.stop()
    assert short(records(site)) == [
        ("start", "count", "anonymous", OK),
        ("stop", "count", "agent itself", OK),
        ("end", "count", "anonymous", OK),
    ]


def test_ocs_audit_finds_what_the_sites_agents_have_written(prove, site):
    agent = prove()
    run(agent, "echo")
    having(site, 2)
    command = [sys.executable, "-m", "ocs.cli.main", "audit", *site.args, "--agent", agent.instance_id, "-n", "1"]
    environment = {**os.environ, "OCS_STATE_DIR": str(site.state_dir)}
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=True).stdout
    heading, line = shown.splitlines()
    assert heading.split()[:3] == ["time", "(UTC)", "agent"]
    assert line.split()[2:] == [agent.instance_id, "anonymous", "HTTP", "bridge", "end", "echo", "succeeded"]


@ensureDeferred
async def test_at_a_closed_site_it_is_the_keys_name_and_observers_hear_it(tmp_path, run_agent):
    with ClosedSite(tmp_path) as closed:
        site = Site(tmp_path, SimpleNamespace(ws_url=closed.url, http_url=closed.http_url, realm=closed.realm))
        site.hub["keys"] = "keys"
        site.add_instance("ProvingAgent", "fake-1", [])
        agent = run_agent("fake-1", "--agent", str(SCRIPT), site=site, wait=False)
        call = {"procedure": "observatory.fake-1.ops", "args": ["stop", "count"]}
        wait_for(lambda: "error" not in closed.post({**call, "args": ["status", "count"]})[1])
        heard = []
        async with closed.session("client") as client, closed.session("observer") as observer:
            await observer.subscribe(heard.append, "observatory.fake-1.feeds.audit")
            assert (await client.call("observatory.fake-1.ops", "start", "count"))[0] == OK
            assert closed.post(call)[1]["args"][0][0] == OK
            await client.call("observatory.fake-1.ops", "wait", "count")
            found = await deferToThread(having, site, 3)
            await until(lambda: sum(len(data["records"]) for data, _ in heard) >= 3)
        assert [(r.action, r.who, r.name, r.role, r.code) for r in found] == [
            ("start", "client", "client", "client", OK),
            ("stop", "client", "client", "client", OK),
            ("end", "client", "client", "client", OK),
        ]
        assert found[0].peer.startswith("tcp4:127.0.0.1:")
        assert found[1].peer == "HTTP bridge"
        agent.stop()


def test_an_open_site_has_a_file_and_no_feed(prove, site):
    site.host["log-dir"] = str(site.directory / "logs")
    agent = prove()
    run(agent, "echo")
    assert "audit" not in dict(agent.call("", "get_feeds"))
    (path,) = wait_for(lambda: audit_files([site.directory / "logs"]))
    assert path.name == f"{agent.address}.audit.jsonl"
    wait_for(lambda: short(read_records([path], Wanted())[0]) == [
        ("start", "echo", "anonymous", OK), ("end", "echo", "anonymous", OK),
    ])  # fmt: skip


@ensureDeferred
async def test_a_flood_is_written_whole_and_a_kill_spoils_nothing_of_it(prove, site, router):
    agent = prove()
    async with wamp_session(router) as session:
        for _ in range(3):
            calls = [session.call(f"{agent.address}.ops", "start", f"unknown-{n}") for n in range(1000)]
            answers = await DeferredList(calls)
            assert all(answer[0] == ERROR for _, answer in answers)
        assert len(having(site, 3000)) == 3000
        calls = [session.call(f"{agent.address}.ops", "start", f"unknown-{n}") for n in range(1000)]
        await calls[300]
        agent.kill_alone()  # while it writes
        await DeferredList(calls, consumeErrors=True)
    run(prove(), "echo")
    found = wait_for(lambda: (now := records(site))[-1].action == "end" and now)
    assert short(found[-2:]) == [("start", "echo", "anonymous", OK), ("end", "echo", "anonymous", OK)]
    assert 3000 <= len(found) - 2 <= 4000
    assert {record.op for record in found[:-2]} == {f"unknown-{n}" for n in range(1000)}
    assert read_records([audit_of(site)], Wanted())[1] <= 1


def test_a_folder_that_cannot_be_written_holds_nothing_up(prove, site):
    site.state_dir.mkdir()
    (site.state_dir / site.hub["wamp_realm"]).write_text("a file, not a folder")
    agent = prove()
    for _ in range(3):
        assert run(agent, "echo")["success"] is True
    wait_for(lambda: "cannot write the audit to" in agent.output)
    assert agent.stop() == 0
    assert agent.output.count("cannot write the audit to") == 1
