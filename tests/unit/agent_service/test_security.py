"""Who is let in, and what the others are told: 401 or 403, in one line, and never anything else."""

import asyncio
import hmac
import json

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from ocs.agent_service.keys import base64url, jwk_of, keys_of
from ocs.agent_service.security import Guard
from ocs.agent_service.settings import SecuritySettings
from ocs.errors import AuthorisationError, ForbiddenError, UnauthenticatedError
from tests.harness.issuer import claims_of, new_key, signed

ISSUER = "https://sso.example.org"
NOW = 1_800_000_000
PRIVATE, RSA = new_key(), new_key("RS256")
KEYS = keys_of({"keys": [jwk_of(PRIVATE.public_key()), jwk_of(RSA.public_key())]}, ISSUER)
KID, RSA_KID = KEYS


class FixedKeys:
    """Keys that never change."""

    async def start(self):
        pass

    async def find(self, kid):
        return KEYS.get(kid)

    async def close(self):
        pass


def authorise(authorization, **settings):
    guard = Guard(SecuritySettings(**settings), FixedKeys(), clock=lambda: NOW)
    return asyncio.run(guard.authorise(authorization))


def token(private=PRIVATE, kid=None, header=None, **claims):
    return signed(private, claims_of(ISSUER, NOW, **claims), kid=kid, **(header or {}))


def with_the_public_keys_bytes(private, kid):
    secret = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = json.dumps({"alg": "HS256", "typ": "JWT", "kid": kid}).encode()
    signing = f"{base64url(head)}.{base64url(json.dumps(claims_of(ISSUER, NOW)).encode())}"
    return f"{signing}.{base64url(hmac.digest(secret, signing.encode(), 'sha256'))}"


def unsigned(algorithm, signature=""):
    head = json.dumps({"alg": algorithm, "kid": KID}).encode()
    return f"{base64url(head)}.{base64url(json.dumps(claims_of(ISSUER, NOW)).encode())}.{signature}"


@pytest.mark.parametrize(
    "authorization",
    [
        f"Bearer {token()}",
        f"bearer {token()}",
        f"BEARER  {token()} ",
        [f"Bearer {token()}"],
        f"Bearer {token(RSA)}",
        f"Bearer {token(aud=['account', 'ocs-agent-service'])}",
        f"Bearer {token(exp=NOW - 29)}",
        f"Bearer {token(nbf=NOW + 29)}",
    ],
)
def test_good_tokens(authorization):
    identity = authorise(authorization)
    assert (identity.subject, identity.name, identity.roles) == ("observer", "observer", ("esw-user",))


REFUSED = {
    "no header": (None, "this needs a token"),
    "an empty header": ("", "only bearer tokens count"),
    "no token": ("Bearer", "the token is no JWT"),
    "another scheme": ("Basic dTpw", "only bearer tokens count"),
    "two headers": ([f"Bearer {token()}"] * 2, "2 Authorization headers; send one"),
    "two tokens in one header": (f"Bearer {token()}, Bearer {token()}", "the token is no JWT"),
    "garbage": ("Bearer \x00\xff%%%", "the token is no JWT"),
    "huge": (f"Bearer {'A' * 1_000_000}.b.c", "longer than 16384"),
    "expired": (f"Bearer {token(exp=NOW - 31)}", "has expired 31 s ago"),
    "not yet valid": (f"Bearer {token(nbf=NOW + 31)}", "holds only in 31 s"),
    "issued in the future": (f"Bearer {token(iat=NOW + 3600)}", "holds only in 60 min"),
    "no end": (f"Bearer {token(exp=None)}", "no time in 'exp'"),
    "wrong issuer": (f"Bearer {token(iss='https://evil.example.org')}", "was issued by"),
    "no issuer": (f"Bearer {token(iss=None)}", "was issued by nobody"),
    "wrong audience": (f"Bearer {token(aud='account')}", 'is for "account"'),
    "no audience": (f"Bearer {token(aud=None)}", "is for nobody"),
    "no subject": (f"Bearer {token(sub=None)}", "names nobody"),
    "alg none": (f"Bearer {unsigned('none')}", "the token is no JWT"),
    "alg none with a signature": (f"Bearer {unsigned('none', 'AAAA')}", "signed with 'none'"),
    "alg None": (f"Bearer {unsigned('NONE', 'AAAA')}", "signed with 'NONE'"),
    "HMAC with the public key": (f"Bearer {with_the_public_keys_bytes(PRIVATE, KID)}", "signed with 'HS256'"),
    "HMAC with the public RSA key": (f"Bearer {with_the_public_keys_bytes(RSA, RSA_KID)}", "signed with 'HS256'"),
    "an RSA signature under the other key's name": (f"Bearer {token(RSA, KID)}", "its key signs with ES256"),
    "an EC signature under the RSA key's name": (f"Bearer {token(PRIVATE, RSA_KID)}", "its key signs with RS256"),
    "a stranger's key under a known name": (f"Bearer {token(new_key(), KID)}", "signature is wrong"),
    "a stranger's key": (f"Bearer {token(new_key())}", "key is none of its issuer's"),
    "a path for a name": (f"Bearer {token(PRIVATE, '../../dev/null')}", "key is none of its issuer's"),
    "a critical extension": (f"Bearer {token(header={'crit': ['exp'], 'exp': 1})}", "asks for extensions"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_tokens(name):
    authorization, said = REFUSED[name]
    with pytest.raises(UnauthenticatedError) as refused:
        authorise(authorization)
    assert said in str(refused.value)
    assert refused.value.status == 401
    assert refused.value.headers["WWW-Authenticate"].startswith('Bearer realm="ocs"')


@pytest.mark.parametrize(
    "claims",
    [
        {"realm_access": {"roles": ["observer"]}},
        {"realm_access": {"roles": []}},
        {"realm_access": {"roles": ["esw-user-not", "ESW-USER"]}},
        {"realm_access": {"roles": "not-esw-user"}},
        {"realm_access": {"roles": {"esw-user": True}}},
        {"realm_access": None, "roles": ["esw-user"]},
        {"realm_access": "roles", "realm_access.role": ["esw-user"]},
    ],
)
def test_without_the_role_the_answer_is_403(claims):
    with pytest.raises(ForbiddenError) as refused:
        authorise(f"Bearer {token(**claims)}")
    assert str(refused.value) == "observer lacks the role 'esw-user' (in realm_access.roles)"
    assert refused.value.status == 403
    assert 'error="insufficient_scope"' in refused.value.headers["WWW-Authenticate"]


def test_role_audience_and_place_are_a_matter_of_settings():
    good = token(aud="tmt", roles={"esw": ["operator"]}, realm_access=None)
    settings = {"role": "operator", "audience": "tmt", "role_claim": "roles.esw"}
    assert authorise(f"Bearer {good}", **settings).roles == ("operator",)
    with pytest.raises(UnauthenticatedError):
        authorise(f"Bearer {good}")


def test_without_authentication_everybody_is_anonymous():
    assert authorise(None, no_auth=True).subject == "anonymous"
    assert authorise("Bearer x", no_auth=True).roles == ("esw-user",)


@given(st.none() | st.text() | st.lists(st.text(), max_size=3) | st.text().map("Bearer {}".format))
def test_any_header_is_answered(authorization):
    with pytest.raises(AuthorisationError) as refused:
        authorise(authorization)
    assert refused.value.status == 401


@given(st.text(), st.none() | st.floats(0, 1e6))
def test_what_is_refused_goes_into_headers_whatever_it_says(text, again):
    for value in UnauthenticatedError(text, code="invalid_token", retry_after=again).headers.values():
        assert value.isascii()
        assert value.isprintable()
