"""The agent service's guard with a real OpenID Connect issuer: discovery, tokens, roles, and changed keys."""

import asyncio
import time

import pytest

from ocs.agent_service.issuer import IssuerKeys
from ocs.agent_service.security import Guard
from ocs.agent_service.settings import SecuritySettings
from ocs.errors import ForbiddenError, UnauthenticatedError
from tests.harness.oidc import OidcProvider


@pytest.fixture(scope="module")
def shared_provider():
    with OidcProvider() as provider:
        yield provider


@pytest.fixture
def own_provider():
    with OidcProvider() as provider:
        yield provider


class Bench:
    """A guard in front of an issuer, with a clock for the pauses between two looks at the issuer."""

    def __init__(self, provider, offset=0.0, **settings):
        self.passed = 0.0
        keys = IssuerKeys(provider.url, clock=lambda: time.monotonic() + self.passed)
        security = SecuritySettings(issuer=provider.url, **settings)
        self._guard = Guard(security, keys, clock=lambda: time.time() + offset)

    async def __aenter__(self):
        await self._guard.start()
        return self

    async def __aexit__(self, *_):
        await self._guard.close()

    async def lets_in(self, token):
        return await self._guard.authorise(f"Bearer {token}")

    async def refusal(self, token, kind=UnauthenticatedError):
        with pytest.raises(kind) as refused:
            await self.lets_in(token)
        return refused.value


def ask(provider, token, **settings):
    """Return whom a fresh guard takes a token for."""

    async def story():
        async with Bench(provider, **settings) as bench:
            return await bench.lets_in(token)

    return asyncio.run(story())


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_a_token_with_the_role_opens_the_door(shared_provider, algorithm):
    identity = ask(shared_provider, shared_provider.token(algorithm=algorithm))
    assert (identity.subject, identity.roles) == ("operator", ("esw-user", "observer"))


@pytest.mark.parametrize("client", ["visitor", "nobody"])
def test_one_without_does_not(shared_provider, client):
    with pytest.raises(ForbiddenError, match=f"{client} lacks the role 'esw-user'"):
        ask(shared_provider, shared_provider.token(client))


def test_another_role_may_be_asked_for(shared_provider):
    assert ask(shared_provider, shared_provider.token("visitor"), role="observer").subject == "visitor"


@pytest.mark.parametrize(
    ("request_", "settings", "said"),
    [
        ({"audience": "billing"}, {}, "the token is for \"billing\", not for 'ocs-agent-service' (aud)"),
        ({"audience": None}, {}, "the token is no JWT: three parts with dots between them"),
        ({}, {"offset": 700.0}, "the token has expired "),
        ({}, {"offset": -700.0}, "the token holds only in "),
    ],
)  # fmt: skip
def test_real_tokens_that_do_not_fit(shared_provider, request_, settings, said):
    with pytest.raises(UnauthenticatedError) as refused:
        ask(shared_provider, shared_provider.token(**request_), **settings)
    assert str(refused.value).startswith(said)


def test_a_token_of_another_issuer_is_none(shared_provider, own_provider):
    async def story():
        async with Bench(shared_provider) as bench:
            await bench.lets_in(shared_provider.token())
            bench.passed += 60
            return str(await bench.refusal(own_provider.token()))

    assert asyncio.run(story()) == "the token's key is none of its issuer's; get a new token"


def test_keys_that_the_issuer_changes(own_provider):
    async def story():
        old = own_provider.token()
        async with Bench(own_provider) as bench:
            assert await bench.lets_in(old)
            own_provider.rotate()
            new = own_provider.token()

            refused = await bench.refusal(new)  # the issuer was asked a moment ago
            assert "which is asked again in" in str(refused)
            assert 0 < refused.retry_after <= 30

            bench.passed += 30
            assert await bench.lets_in(new)
            bench.passed += 30
            assert "key is none of its issuer's" in str(await bench.refusal(old))
            assert await bench.lets_in(new)

    asyncio.run(story())


def test_an_issuer_that_fails_costs_nobody_a_good_token(own_provider):
    async def story():
        token = own_provider.token()
        async with Bench(own_provider) as known, Bench(own_provider) as late:
            assert await known.lets_in(token)
            assert await late.lets_in(token)
            own_provider.stop()
            known.passed += 3600
            late.passed += 13 * 3600

            assert await known.lets_in(token)
            refused = await late.refusal(token)
            assert str(refused).startswith(f"tokens cannot be checked: the issuer {own_provider.url} ")
            assert 0 < refused.retry_after <= 5

    asyncio.run(story())
