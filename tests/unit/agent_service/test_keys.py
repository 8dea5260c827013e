"""Of a published set of keys those count with which tokens may be signed."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from ocs.agent_service.keys import base64url, jwk_of, keys_of, thumbprint
from tests.harness.issuer import new_key

ISSUER = "https://sso.example.org"
EC, RSA = (jwk_of(new_key(algorithm).public_key()) for algorithm in ("ES256", "RS256"))
OTHER_CURVE = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True)
EDWARDS = OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate().public_key(), as_dict=True)
WEAK = RSAAlgorithm.to_jwk(new_key("RS256", bits=1024).public_key(), as_dict=True)
PRIVATE = ECAlgorithm.to_jwk(new_key(), as_dict=True)

values = st.none() | st.booleans() | st.integers() | st.text("aZ9-_=", max_size=50) | st.lists(st.just("verify"))


def counted(*entries):
    return keys_of({"keys": list(entries)}, ISSUER)


def test_keys_are_found_by_name_and_bound_to_their_algorithm_and_issuer():
    found = counted(EC, RSA)
    assert {kid: key.algorithm for kid, key in found.items()} == {EC["kid"]: "ES256", RSA["kid"]: "RS256"}
    assert {key.issuer for key in found.values()} == {ISSUER}


@pytest.mark.parametrize("changes", [{"alg": None}, {"use": None}, {"key_ops": ["verify"]}, {"x5c": ["abc"]}])
def test_what_a_key_may_leave_out_or_have_besides(changes):
    entry = {name: value for name, value in {**EC, **changes}.items() if value is not None}
    assert list(counted(entry)) == [EC["kid"]]


@pytest.mark.parametrize(
    "entry",
    [
        {**RSA, "use": "enc"},
        {**RSA, "alg": "RSA-OAEP"},
        {**RSA, "alg": "RS512"},
        {**EC, "alg": "HS256"},
        {**EC, "key_ops": ["deriveKey"]},
        {**EC, "key_ops": None},
        {**EC, "kid": None},
        {**EC, "x": "AAAA"},
        {**EC, "y": 7},
        {**RSA, "n": "!"},
        {**OTHER_CURVE, "kid": "a"},
        {**EDWARDS, "kid": "a"},
        {**WEAK, "kid": "a"},
        {**PRIVATE, "kid": "a"},
        {"kty": "oct", "k": base64url(b"secret"), "kid": "a", "alg": "HS256"},
        {"kty": ["EC"], "crv": "P-256", "kid": "a"},
        "no object",
    ],
)
def test_other_keys_are_passed_over(entry):
    assert list(counted(entry, EC)) == [EC["kid"]]


@pytest.mark.parametrize("published", [None, [], {}, {"keys": {}}, {"keys": "EC"}])
def test_what_is_no_set_of_keys_is_refused(published):
    with pytest.raises(ValueError, match="no list 'keys'"):
        keys_of(published, ISSUER)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "key_ops"]), values)
    )
)
def test_any_list_is_a_set(entries):
    keys_of({"keys": [{**EC, **entry} for entry in entries]}, ISSUER)


def test_the_name_of_a_key_is_its_thumbprint():
    # The example of RFC 7638, section 3.1.
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknj"
        "hMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQ"
        "vRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzK"
        "nqDKgw"
    )
    assert thumbprint({"kty": "RSA", "e": "AQAB", "n": modulus}) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
