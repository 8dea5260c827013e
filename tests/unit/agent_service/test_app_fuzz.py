"""Thousands of requests that nobody has thought of: none breaks the service, and none of them starts anything."""

import asyncio
import json
import time

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from ocs.agent_service.app import make_app
from ocs.agent_service.models import ANSWERS, EXAMPLES
from ocs.agent_service.security import Guard
from ocs.agent_service.service import AgentService, Caller
from ocs.agent_service.settings import SecuritySettings
from tests.harness.fake_location import FakeLocation
from tests.harness.issuer import claims_of, new_key, signed
from tests.unit.agent_service.test_security import KID, FixedKeys

QUICK = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
PROCEDURES = ("spawn", "kill", "containers")
FORGED = signed(new_key(), claims_of("https://sso.example.org", int(time.time())), kid=KID)


def made(guard):
    location = FakeLocation()
    location.add_machine()
    location.add("ESW.primary", host="h1", pid=4711)
    for procedure, answer in zip(PROCEDURES, ("Spawned", "Killed", "Completed"), strict=True):
        more = {"res": {}} if answer == "Completed" else {}
        location.answers[f"observatory.machine1.{procedure}"] = {"_type": answer, **more}
    return location, AgentService(location, guard)


def closed():
    """A service that asks for tokens."""
    return made(Guard(SecuritySettings(issuer="https://sso.example.org"), FixedKeys()))


def open_():
    """A service where everybody may do everything."""
    return made(Guard(SecuritySettings(no_auth=True)))


words = st.one_of(
    st.text(max_size=20), st.sampled_from(["ESW.machine1", "ESW.primary", "esw.machine1", "a.b", " ", ""])
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), words),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def mutated(draw):
    """A good request of which fields are lost, doubled, or something else; or whose text is damaged."""
    request = dict(draw(st.sampled_from(list(EXAMPLES.values()))))
    for field in draw(st.lists(st.sampled_from([*request, "version", "componentId", "extra"]), max_size=3)):
        change = draw(st.sampled_from(["lose", "value"]))
        request = {key: value for key, value in request.items() if key != field}
        if change == "value":
            request[field] = draw(values)
    text = json.dumps(request).encode("utf-8", "surrogatepass")
    if draw(st.booleans()):
        place, piece = draw(st.integers(0, len(text))), draw(st.binary(max_size=4))
        text = text[:place] + piece + text[place + draw(st.integers(0, 4)) :]
    return text


bodies = st.one_of(mutated(), mutated(), st.binary(max_size=200), values.map(lambda v: json.dumps(v).encode()))
tokens = st.one_of(
    st.just(()),
    st.text(max_size=50).map(lambda text: (f"Bearer {text}",)),
    st.sampled_from([("Bearer a.b.c",), (f"Bearer {FORGED}",)]),
)


@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as loop:
        yield loop.run


def test_ten_thousand_bodies_without_a_good_token_start_nothing(runner):
    location, service = closed()

    @settings(QUICK, max_examples=10_000)
    @given(body=bodies, authorization=tokens)
    def ask(body, authorization):
        reply = runner(service.post(body, Caller("127.0.0.1", authorization=authorization)))
        assert reply.status in (200, 400, 401)
        assert reply.status != 200 or reply.content["_type"] == "Success"
        json.dumps(reply.content)

    ask()
    assert location.calls == []


def test_what_is_malformed_starts_nothing_for_anybody(runner):
    location, service = open_()

    @settings(QUICK, max_examples=2_000)
    @given(body=bodies)
    def ask(body):
        before = len(location.calls)
        reply = runner(service.post(body, Caller("127.0.0.1")))
        assert reply.status in (200, 400)
        assert len(location.calls) == before or reply.status == 200
        if reply.status == 200:
            ANSWERS.validate_python(reply.content)
            json.loads(body)
        else:
            assert "\n" not in reply.content["msg"]
            assert len(reply.content["msg"]) < 1000

    ask()


def ask_as_described(schema, mode, examples):
    for operation in [found.ok() for found in schema.get_all_operations()]:
        if mode is GenerationMode.NEGATIVE and operation.method == "get":  # takes nothing that could be wrong
            continue

        @settings(QUICK, max_examples=examples)
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case):
            case.headers = {**(case.headers or {}), "Host": "localhost"}
            case.call_and_validate(checks=[not_a_server_error, status_code_conformance, response_schema_conformance])

        ask()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("service_of", [closed, open_])
def test_the_service_is_as_its_description_says(service_of, mode):
    location, service = service_of()
    ask_as_described(schemathesis.openapi.from_asgi("/openapi.json", make_app(service)), mode, 150)
    if service_of is closed:
        assert location.calls == []
