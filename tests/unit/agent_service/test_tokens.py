"""What is wrong with a token is found by looking at it, and told in one line."""

import base64
import hmac
import json

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from ocs.agent_service import tokens
from ocs.agent_service.keys import base64url, jwk_of, keys_of
from ocs.errors import UnauthenticatedError
from tests.harness.issuer import claims_of, new_key, signed

ISSUER = "https://sso.example.org/realms/observatory"
NOW = 1_800_000_000
PRIVATE = new_key()
KEY = keys_of({"keys": [jwk_of(PRIVATE.public_key())]}, ISSUER)[jwk_of(PRIVATE.public_key())["kid"]]

words = st.text("ab.ä\n\0\x1b😀 ", max_size=10)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=10,
)


def refusal(function, *arguments):
    with pytest.raises(UnauthenticatedError) as refused:
        function(*arguments)
    said = str(refused.value)
    assert "\n" not in said
    assert len(said) < 600
    return said


def packed(header, payload, signature="AAAA"):
    parts = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload))
    return ".".join([*(base64url(part) for part in parts), signature])


def fault(**changes):
    return tokens.claims_fault(claims_of(ISSUER, NOW, **changes), issuer=ISSUER, audience="ocs-agent-service", now=NOW)


class TestHeaders:
    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
    def test_the_word_bearer_in_any_case(self, scheme):
        assert tokens.bearer_token(f"{scheme} a.b.c") == "a.b.c"
        assert tokens.bearer_token([f"{scheme} a.b.c"]) == "a.b.c"

    @pytest.mark.parametrize(
        ("headers", "said"),
        [
            (None, "this needs a token"),
            ([], "this needs a token"),
            (["Bearer a.b.c", "Bearer a.b.c"], "2 Authorization headers; send one"),
            ("Basic dXNlcg==", "only bearer tokens count"),
            ("", "only bearer tokens count"),
        ],
    )
    def test_other_headers_are_refused(self, headers, said):
        assert refusal(tokens.bearer_token, headers).startswith(said)


class TestSignatures:
    def test_a_good_token(self):
        token = signed(PRIVATE, {"sub": "me"})
        header = tokens.header_of(token)
        assert header == tokens.Header("ES256", KEY.kid)
        assert tokens.verified(token, header, KEY) == {"sub": "me"}

    @pytest.mark.parametrize(
        ("token", "said"),
        [
            ("", "is no JWT"),
            ("abc", "is no JWT"),
            ("a.b", "is no JWT"),
            ("a.b.c.d", "is no JWT"),
            ("a.b.c, Bearer a.b.c", "is no JWT"),
            ("ä.b.c", "is no JWT"),
            ("a.b.", "is no JWT"),
            ("a.b.c\n", "is no JWT"),
            ("a.b.c", "header is no JSON object"),
            (packed(b"[" * 5000, {}), "header is no JSON object"),
            (packed([], {}), "header is no JSON object"),
            (packed(b"\xff\xfe", {}), "header is no JSON object"),
            ("a" * 20000 + ".b.c", "longer than 16384 characters"),
            (packed({"alg": "none", "kid": "k"}, {}), "signed with 'none', and only ES256 and RS256 count"),
            (packed({"alg": "None", "kid": "k"}, {}), "signed with 'None'"),
            (packed({"alg": "HS256", "kid": "k"}, {}), "signed with 'HS256'"),
            (packed({"alg": ["ES256"], "kid": "k"}, {}), "signed with ['ES256']"),
            (packed({"kid": "k"}, {}), "signed with None"),
            (packed({"alg": "ES256"}, {}), "does not name its key"),
            (packed({"alg": "ES256", "kid": ""}, {}), "does not name its key"),
            (packed({"alg": "ES256", "kid": 7}, {}), "does not name its key"),
            (packed({"alg": "ES256", "kid": "k" * 300}, {}), "does not name its key"),
            (packed({"alg": "ES256", "kid": "k", "crit": ["b64"], "b64": False}, {}), "asks for extensions"),
        ],
    )
    def test_bad_headers(self, token, said):
        assert said in refusal(tokens.header_of, token)

    def test_an_unsigned_token_that_claims_to_be_signed(self):
        token = packed({"alg": "ES256", "kid": KEY.kid}, {"sub": "me"})
        assert refusal(tokens.verified, token, tokens.header_of(token), KEY) == "the token's signature is wrong"

    def test_another_key_under_the_right_name(self):
        token = signed(new_key(), {"sub": "me"}, kid=KEY.kid)
        assert refusal(tokens.verified, token, tokens.header_of(token), KEY) == "the token's signature is wrong"

    @pytest.mark.parametrize("part", [0, 1, 2])
    def test_a_changed_character(self, part):
        pieces = signed(PRIVATE, {"sub": "me", "n": 1}).split(".")
        changed = pieces[part][:10] + ("A" if pieces[part][10] != "A" else "B") + pieces[part][11:]
        token = ".".join([*pieces[:part], changed, *pieces[part + 1 :]])

        with pytest.raises(UnauthenticatedError):
            tokens.verified(token, tokens.header_of(token), KEY)

    @pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
    @pytest.mark.parametrize("said", ["HS256", "ES256"])
    def test_a_signature_made_with_the_bytes_of_the_public_key(self, encoding, said):
        secret = KEY.public.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
        signing = packed({"alg": said, "kid": KEY.kid}, {"sub": "me"}).rpartition(".")[0]
        token = f"{signing}.{base64url(hmac.digest(secret, signing.encode(), 'sha256'))}"

        with pytest.raises(UnauthenticatedError):
            tokens.verified(token, tokens.header_of(token), KEY)

    def test_a_key_signs_in_one_way_only(self):
        rsa = new_key("RS256")
        token = signed(rsa, {"sub": "me"}, kid=KEY.kid)
        said = refusal(tokens.verified, token, tokens.header_of(token), KEY)
        assert said == "the token is signed with RS256, and its key signs with ES256"

    def test_a_key_that_the_token_brings_along_does_not_count(self):
        stranger = new_key()
        token = signed(stranger, {"sub": "me"}, kid=KEY.kid, jwk=jwk_of(stranger.public_key()), jku="http://evil/")
        assert refusal(tokens.verified, token, tokens.header_of(token), KEY) == "the token's signature is wrong"

    @given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=80))
    def test_garbage_is_refused_in_order(self, header, payload, signature):
        token = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (header, payload, signature))
        with pytest.raises(UnauthenticatedError):
            tokens.header_of(token)

    @given(
        st.dictionaries(st.sampled_from(["alg", "kid", "crit", "typ", "b64", "zip"]), values), st.binary(max_size=60)
    )
    def test_any_header_without_a_signature_is_refused(self, header, payload):
        token = packed({"alg": "ES256", "kid": KEY.kid, **header}, payload)
        with pytest.raises(UnauthenticatedError):
            tokens.verified(token, tokens.header_of(token), KEY)


class TestClaims:
    def test_good_claims(self):
        assert fault() is None
        assert fault(nbf=None, iat=None) is None
        assert fault(aud=["another", "ocs-agent-service"]) is None

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"exp": NOW - 31}, "the token has expired 31 s ago (exp); get a new one"),
            ({"exp": NOW - 7200}, "the token has expired 120 min ago (exp); get a new one"),
            ({"exp": NOW - 10**6}, "the token has expired 278 h ago (exp); get a new one"),
            ({"exp": None}, "the token has no time in 'exp'"),
            ({"exp": "tomorrow"}, "the token has no time in 'exp'"),
            ({"exp": True}, "the token has no time in 'exp'"),
            ({"exp": float("inf")}, "the token has no time in 'exp'"),
            ({"exp": float("nan")}, "the token has no time in 'exp'"),
            ({"exp": 10**400}, "the token has no time in 'exp'"),
            ({"nbf": NOW + 31}, "the token holds only in 31 s (nbf, iat); are the clocks right?"),
            ({"iat": NOW + 31}, "the token holds only in 31 s (nbf, iat); are the clocks right?"),
            ({"nbf": [NOW]}, "the token has no time in 'nbf'"),
            ({"iss": "https://evil"}, f'the token was issued by "https://evil", not by {ISSUER!r} (iss)'),
            ({"iss": [ISSUER]}, f'the token was issued by ["{ISSUER}"], not by {ISSUER!r} (iss)'),
            ({"iss": None}, f"the token was issued by nobody, not by {ISSUER!r} (iss)"),
            ({"aud": "account"}, "the token is for \"account\", not for 'ocs-agent-service' (aud)"),
            ({"aud": ["a", "b"]}, "the token is for [\"a\", \"b\"], not for 'ocs-agent-service' (aud)"),
            ({"aud": {"a": 1}}, "the token is for {\"a\": 1}, not for 'ocs-agent-service' (aud)"),
            ({"aud": None}, "the token is for nobody, not for 'ocs-agent-service' (aud)"),
        ],
    )  # fmt: skip
    def test_bad_claims(self, changes, said):
        assert fault(**changes) == said

    @pytest.mark.parametrize("changes", [{"exp": NOW - 29}, {"nbf": NOW + 29}, {"iat": NOW + 29}])
    def test_clocks_may_differ_by_half_a_minute(self, changes):
        assert fault(**changes) is None

    @given(st.dictionaries(st.sampled_from(["iss", "aud", "exp", "nbf", "iat"]), values))
    def test_any_claims_are_told_in_one_line(self, claims):
        said = tokens.claims_fault(claims, issuer=ISSUER, audience="a", now=NOW)
        assert said is not None
        assert said.isprintable()


class TestRoles:
    @pytest.mark.parametrize(
        ("claims", "path"),
        [
            ({"realm_access": {"roles": ["a", "b"]}}, "realm_access.roles"),
            ({"resource_access": {"ocs": {"roles": ["a", "b"]}}}, "resource_access.ocs.roles"),
            ({"roles": ["a", 7, "b", None]}, "roles"),
            ({"scope": "a b"}, "scope"),
            ({"https://site.example.org/roles": ["a", "b"]}, "https://site.example.org/roles"),
        ],
    )
    def test_roles_are_found_where_the_path_leads(self, claims, path):
        assert tokens.roles_at(claims, path) == ("a", "b")

    @pytest.mark.parametrize(
        "claims", [{}, {"a": 1}, {"a": {"b": {"roles": 1}}}, {"a": [{"b": ["x"]}]}, {"a": {"b": 7}}]
    )
    def test_elsewhere_are_none(self, claims):
        assert tokens.roles_at(claims, "a.b") == ()

    @given(values, words)
    def test_any_claims_have_roles_or_none(self, value, path):
        found = tokens.roles_at({"a": value, path: value}, path)
        assert all(isinstance(role, str) for role in found)


class TestIdentities:
    def test_the_name_that_people_use(self):
        identity = tokens.identity_of({"sub": "7f2", "preferred_username": "ana", "r": ["x"]}, "r")
        assert identity == tokens.Identity("7f2", "ana", ("x",))

    def test_a_client_without_a_subject(self):
        assert tokens.identity_of({"client_id": "robot"}, "r") == tokens.Identity("robot", "robot")

    def test_nobody_is_refused(self):
        assert refusal(tokens.identity_of, {"sub": " ", "azp": 7}, "r") == "the token names nobody (sub)"

    def test_a_name_is_one_short_line(self):
        identity = tokens.identity_of({"sub": "ana\r\nGET / 200\x1b[2J" + "x" * 999}, "r")
        assert identity.subject.startswith("ana  GET / 200 [2J")
        assert len(identity.name) == 200
