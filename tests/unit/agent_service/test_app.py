"""The agent service over HTTP: statuses, refusals, limits; with a location service of the tests' own."""

import asyncio
import json

import httpx
import pytest

from ocs.agent_service.app import LARGEST_BODY, Limits, make_app
from ocs.agent_service.models import EXAMPLES
from ocs.agent_service.security import Guard
from ocs.agent_service.service import MOST_AT_ONCE, AgentService
from ocs.agent_service.settings import SecuritySettings
from ocs.errors import ForbiddenError, UnauthenticatedError
from tests.harness.fake_location import FakeLocation

SPAWN = json.dumps(EXAMPLES["SpawnSequenceComponent"])
STATUS = json.dumps(EXAMPLES["GetAgentStatus"])
PROCEDURE = "observatory.machine1.spawn"


class DoorKeeper(Guard):
    """Lets ``good`` in; ``stranger`` lacks the role."""

    async def authorise(self, authorization):
        if list(authorization) == ["Bearer stranger"]:
            raise ForbiddenError("stranger lacks the role 'esw-user'", code="insufficient_scope")
        if list(authorization) != ["Bearer good"]:
            raise UnauthenticatedError("this needs a token")
        return await Guard(SecuritySettings(no_auth=True)).authorise(None)


class Notes:
    """An audit log in memory."""

    def __init__(self):
        self.trouble = ""
        self.lines = []

    def note(self, event, **fields):
        json.dumps(fields)
        self.lines.append((event, fields))

    def close(self):
        pass


class Bench:
    """A service that is asked without a socket."""

    def __init__(self, guard=None, limits=None, **options):
        self.location = FakeLocation()
        self.location.add_machine()
        self.location.answers[PROCEDURE] = {"_type": "Spawned"}
        self.audit = Notes()
        self.service = AgentService(self.location, guard or DoorKeeper(SecuritySettings(no_auth=False)), self.audit)
        self.app = make_app(self.service, limits=limits or Limits(), **options)

    def client(self, base_url="http://localhost:8300"):
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=base_url)

    def ask(self, method, path, **keywords):
        async def play():
            async with self.client() as client:
                return await client.request(method, path, **keywords)

        return asyncio.run(play())

    def post(self, body, token="good", **headers):
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        return self.ask("POST", "/post-endpoint", content=body, headers={**bearer, **headers})


@pytest.fixture
def bench():
    return Bench()


class TestAnswers:
    def test_spawned(self, bench):
        reply = bench.post(SPAWN)
        assert (reply.status_code, reply.json()) == (200, {"_type": "Spawned"})
        assert reply.headers["content-type"] == "application/json"

    def test_status_needs_no_token(self, bench):
        reply = bench.post(STATUS, token=None)
        assert (reply.status_code, reply.json()["_type"]) == (200, "Success")

    @pytest.mark.parametrize("kind", [kind for kind in EXAMPLES if kind != "GetAgentStatus"])
    @pytest.mark.parametrize(("token", "status"), [(None, 401), ("bad", 401), ("stranger", 403)])
    def test_all_else_needs_one(self, bench, kind, token, status):
        reply = bench.post(json.dumps(EXAMPLES[kind]), token=token)
        assert reply.status_code == status
        assert reply.headers["www-authenticate"].startswith("Bearer ")
        assert set(reply.json()) == {"_type", "msg"}
        assert bench.location.calls == []

    @pytest.mark.parametrize(("path", "method", "status"), [("/", "GET", 404), ("/post-endpoint", "GET", 405)])
    def test_elsewhere(self, bench, path, method, status):
        reply = bench.ask(method, path)
        assert reply.status_code == status
        assert "/docs explains" in reply.json()["msg"]

    def test_while_the_router_is_away(self, bench):
        bench.location.lose_router()
        for body in (SPAWN, STATUS):
            reply = bench.post(body)
            assert (reply.status_code, reply.json()["_type"]) == (503, "ServiceUnavailable")
            assert int(reply.headers["retry-after"]) > 0

    def test_a_mistake_of_ours_is_a_500_in_one_line(self, bench, caplog):
        bench.location.answers[PROCEDURE] = ZeroDivisionError("boom")
        reply = bench.post(SPAWN)
        assert (reply.status_code, reply.json()["_type"]) == (500, "InternalError")
        assert "boom" not in reply.text
        assert "boom" in caplog.text
        assert bench.audit.lines[-1][1]["status"] == 500


class TestMalformed:
    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ("", "body: is no JSON"),
            ("{", "body: is no JSON"),
            ("[" * 60000, "body: is no JSON"),
            ('{"_type": "GetAgentStatus", "a": "\\ud800"}', "body: is no JSON"),
            ("[]", "body: must be an object, not a list"),
            ("{}", "_type: is missing; it is one of"),
            ('{"_type": "Spawn"}', "_type: 'Spawn'; it is one of"),
            ('{"_type": 7}', "_type: 7; it is one of"),
            (f'{{"_type": {"9" * 5000}}}', ""),
        ],
    )
    def test_nobody_knows_what_is_asked(self, bench, body, field):
        reply = bench.post(body, token=None)
        assert (reply.status_code, reply.json()["_type"]) == (400, "BadRequest")
        assert field in reply.json()["msg"]
        assert len(reply.json()["msg"]) < 500

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"agentPrefix": None}, "agentPrefix: must be a text, not null"),
            ({"agentPrefix": "machine1"}, "agentPrefix: "),
            ({"agentPrefix": "ESW.a.b"}, "agentPrefix: "),
            ({"componentName": "a.b"}, "componentName: "),
            ({"componentName": " a"}, "componentName: "),
            ({"componentName": "a\nb"}, "componentName: "),
            ({"componentName": ""}, "componentName: must not be empty"),
            ({"componentName": "a" * 151}, "componentName: must have 150 characters at most"),
            ({"version": 7}, "version: must be a text, not 7"),
            ({"version": int("9" * 4000)}, "version: "),
        ],
    )
    def test_the_field_is_named(self, bench, change, field):
        reply = bench.post(json.dumps({**EXAMPLES["SpawnSequenceComponent"], **change}))
        assert reply.status_code == 400
        assert reply.json()["msg"].startswith(field)
        assert bench.location.calls == []

    def test_a_nested_field_is_named(self, bench):
        wrong = {"_type": "KillComponent", "componentId": {"prefix": "ESW.a", "componentType": "Toaster"}}
        assert bench.post(json.dumps(wrong)).json()["msg"].startswith("componentId.componentType: must be one of")

    def test_who_may_not_learns_nothing_of_it(self, bench):
        wrong = json.dumps({"_type": "SpawnAgent"})
        assert [bench.post(wrong, token=token).status_code for token in (None, "stranger", "good")] == [401, 403, 400]


class TestLimits:
    def test_too_large(self, bench):
        reply = bench.post(b" " * (LARGEST_BODY + 1), token=None)
        assert (reply.status_code, reply.json()["_type"]) == (413, "ContentTooLarge")
        assert reply.headers["connection"] == "close"

    def test_just_not_too_large(self, bench):
        assert bench.post(SPAWN + " " * (LARGEST_BODY - len(SPAWN))).status_code == 200

    def test_too_large_in_pieces_is_not_read_to_its_end(self, bench):
        async def pieces():
            for _ in range(1000):
                sent.append(1)
                yield b" " * 1024

        sent = []
        assert bench.post(pieces()).status_code == 413
        assert len(sent) <= 66

    def test_one_that_trickles_is_cut_off(self):
        async def pieces():
            yield SPAWN[:10].encode()
            await asyncio.sleep(30)

        bench = Bench(limits=Limits(body_within=0.05))
        reply = bench.post(pieces())
        assert (reply.status_code, reply.headers["connection"]) == (408, "close")
        assert bench.location.calls == []

    def test_so_many_at_once_and_no_more(self, bench):
        async def play():
            bench.location.answers[PROCEDURE] = asyncio.get_running_loop().create_future()
            headers = {"Authorization": "Bearer good"}
            async with bench.client() as client:
                asking = [
                    asyncio.ensure_future(client.post("/post-endpoint", content=SPAWN, headers=headers))
                    for _ in range(MOST_AT_ONCE)
                ]
                await bench.location.called(MOST_AT_ONCE)
                refused = await client.post("/post-endpoint", content=SPAWN, headers=headers)
                status = await client.post("/post-endpoint", content=STATUS)
                bench.location.answers[PROCEDURE].set_result({"_type": "Spawned"})
                done = await asyncio.gather(*asking)
                again = await client.post("/post-endpoint", content=SPAWN, headers=headers)
                return refused, status, done, again

        refused, status, done, again = asyncio.run(play())
        assert (refused.status_code, status.status_code, again.status_code) == (503, 200, 200)
        assert "100 requests are under way" in refused.json()["msg"]
        assert [reply.status_code for reply in done] == [200] * MOST_AT_ONCE

    def test_who_hangs_up_gets_what_was_asked_for_nevertheless(self, bench):
        async def play():
            loop = asyncio.get_running_loop()
            bench.location.answers[PROCEDURE] = loop.create_future()
            async with bench.client() as client:
                asking = asyncio.ensure_future(
                    client.post("/post-endpoint", content=SPAWN, headers={"Authorization": "Bearer good"})
                )
                await bench.location.called()
                asking.cancel()
                await asyncio.wait({asking})
            loop.call_soon(bench.location.answers[PROCEDURE].set_result, {"_type": "Spawned"})
            await bench.service.drain()

        asyncio.run(play())
        event, fields = bench.audit.lines[-1]
        assert (event, fields["answer"]) == ("result", {"_type": "Spawned"})


class TestAudit:
    def test_who_what_from_where_and_what_came_of_it(self, bench):
        bench.post(SPAWN, **{"X-Forwarded-For": "10.0.0.7"})
        (first, asked), (second, came) = bench.audit.lines
        assert (first, second) == ("request", "result")
        assert asked["request"] == EXAMPLES["SpawnSequenceComponent"]
        assert asked["user"] == "anonymous"
        assert (asked["from"], asked["forwarded_for"]) == ("127.0.0.1", "10.0.0.7")
        assert (came["answer"], came["number"]) == ({"_type": "Spawned"}, asked["number"])

    def test_refusals(self, bench):
        bench.post(SPAWN, token=None)
        bench.post(json.dumps({"_type": "SpawnAgent"}))
        assert [(event, fields["status"]) for event, fields in bench.audit.lines] == [
            ("refused", 401),
            ("refused", 400),
        ]
        assert bench.audit.lines[1][1]["request"] == "SpawnAgent"

    def test_status_is_not_in_it(self, bench):
        bench.post(STATUS)
        assert bench.audit.lines == []


class TestHealth:
    def test_all_is_well(self, bench):
        reply = bench.ask("GET", "/health")
        assert (reply.status_code, reply.json()["status"]) == (200, "ok")

    def test_the_audit_log_cannot_be_written(self, bench):
        bench.audit.trouble = "disk full"
        reply = bench.ask("GET", "/health")
        assert (reply.status_code, reply.json()["status"]) == (200, "trouble")
        assert reply.json()["audit"] == {"trouble": "disk full"}

    def test_the_router_is_away(self, bench):
        bench.location.lose_router()
        reply = bench.ask("GET", "/health")
        assert (reply.status_code, reply.json()["router"]) == (503, {"connected": False})

    def test_metrics(self, bench):
        bench.post(SPAWN)
        bench.post(SPAWN, token=None)
        lines = bench.ask("GET", "/metrics").text.splitlines()
        assert 'ocs_agent_service_requests_total{request="SpawnSequenceComponent",answer="Spawned"} 1' in lines
        assert 'ocs_agent_service_refused_total{status="401"} 1' in lines
        assert 'ocs_agent_service_components{type="Machine"} 1' in lines
        assert "ocs_agent_service_router_connected 1" in lines
        assert "ocs_agent_service_running 0" in lines


class TestBrowsers:
    def test_the_page_has_all_requests_and_no_other_hosts(self, bench):
        reply = bench.ask("GET", "/docs")
        assert all(f"<h2>{kind}</h2>" in reply.text for kind in EXAMPLES)
        assert "http://" not in reply.text
        assert "https://" not in reply.text
        assert "default-src 'none'" in reply.headers["content-security-policy"]

    def test_pages_of_elsewhere_may_not_ask_unless_allowed(self, bench):
        preflight = {"Origin": "https://ops.example.org", "Access-Control-Request-Method": "POST"}
        for made, allowed in ((bench, None), (Bench(allow_origins=["https://ops.example.org"]), preflight["Origin"])):
            reply = made.ask("OPTIONS", "/post-endpoint", headers=preflight)
            assert reply.headers.get("access-control-allow-origin") == allowed

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({}, 200),
            ({"Origin": "http://localhost:8300"}, 200),
            ({"Origin": "https://ops.example.org"}, 200),
            ({"Origin": "https://evil.example.org"}, 403),
            ({"Origin": "null"}, 403),
            ({"Host": "evil.example.org:8300", "Origin": "http://evil.example.org:8300"}, 403),
            ({"Host": "[::1"}, 403),
            ({"Host": "127.0.0.1:8300"}, 200),
            ({"Host": "[::1]:8300"}, 200),
        ],
    )
    def test_without_authentication_no_foreign_page_can_spawn(self, headers, status):
        bench = Bench(Guard(SecuritySettings(no_auth=True)), allow_origins=["https://ops.example.org"])
        assert bench.post(SPAWN, token=None, **headers).status_code == status
        assert len(bench.location.calls) == (status == 200)


def test_the_description_names_all_requests(bench):
    document = bench.ask("GET", "/openapi.json").json()
    content = document["paths"]["/post-endpoint"]["post"]["requestBody"]["content"]["application/json"]
    named = [each["$ref"].rpartition("/")[2] for each in content["schema"]["oneOf"]]
    assert sorted(named) == sorted(content["examples"]) == sorted(EXAMPLES)
    assert set(named) <= set(document["components"]["schemas"])
