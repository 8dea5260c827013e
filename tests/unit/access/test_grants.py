"""Exclusive access: who may acquire, renew and release, for how long, and what a request must look like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.access.director import DistributedAccessGrant, director_get_access_rules
from ocs.access.grants import GRANT_TIME, Grant, check_password, decide, read_request, without_expired
from ocs.access.passwords import HashedPass
from ocs.errors import AccessError

NOW = 1000.0
LONGEST = 3600.0
BLOCK = DistributedAccessGrant.from_dict(
    {"name": "lock", "password": "pw", "hash": "md5", "grants": [{"default": True, "cred_level": 3}]}
)


def request(action="acquire", *, name="lock", password="pw", until=NOW + 100, grantee="nina", strict=True):
    return read_request(name, password, action, until, grantee, strict)


def decided(asked, held=None, *, holder=None, now=NOW):
    return decide(
        asked, held, holder=holder, now=now, longest=LONGEST, rules=director_get_access_rules(BLOCK, asked.grantee)
    )


def held(*, grantee="nina", holder=None, until=NOW + 50):
    return Grant("lock", grantee, holder, until, director_get_access_rules(BLOCK, grantee)[1])


def test_a_grant_that_is_free_is_given_with_its_own_password():
    change = decided(request())
    assert change.new_rules
    assert change.grant.expire_at == NOW + 100
    assert set(change.answer) == {"message", "grant_name", "expire_at", "password"}
    assert change.answer["message"] == "grant acquired"
    assert change.grant.rules[0].matches(change.answer["password"])


def test_without_an_end_it_lasts_a_minute():
    assert decided(request(until=None)).grant.expire_at == NOW + GRANT_TIME


@pytest.mark.parametrize("grantee", ["nina", "otto", None])
def test_a_grant_that_is_held_is_given_to_nobody(grantee):
    with pytest.raises(AccessError, match=r"held already, by nina, for another 50 s"):
        decided(request(grantee=grantee), held())


def test_a_grant_that_has_expired_is_free():
    assert decided(request(grantee="otto"), held(until=NOW)).grant.grantee == "otto"


def test_the_holder_alone_may_acquire_it_anew():
    assert decided(request(strict=False), held()).grant.rules != held().rules
    with pytest.raises(AccessError, match="held already"):
        decided(request(strict=False, grantee="otto"), held())


def test_the_holder_renews_and_the_rules_stay():
    change = decided(request("renew", until=NOW + 500), before := held())
    assert (change.grant.expire_at, change.grant.rules, change.new_rules) == (NOW + 500, before.rules, False)
    assert change.answer == {"message": "grant renewed", "grant_name": "lock", "expire_at": NOW + 500}


def test_the_holder_releases():
    change = decided(request("release"), held())
    assert (change.grant, change.new_rules) == (None, True)
    assert change.answer == {"message": "grant released", "grant_name": "lock"}


@pytest.mark.parametrize("action", ["renew", "release"])
@pytest.mark.parametrize(
    ("grantee", "holder", "asker", "asks_as"),
    [
        ("nina", None, None, "otto"),
        ("nina", None, None, None),
        (None, None, None, "nina"),
        ("nina", "nina", "otto", "nina"),
        ("nina", "nina", None, "nina"),
        ("nina", None, "nina", "nina"),
    ],
)
def test_only_the_holder_may_end_or_prolong_it(action, grantee, holder, asker, asks_as):
    with pytest.raises(AccessError, match="only the holder may"):
        decided(request(action, grantee=asks_as), held(grantee=grantee, holder=holder), holder=asker)


@pytest.mark.parametrize("action", ["renew", "release"])
@pytest.mark.parametrize("before", [None, held(until=NOW)])
def test_what_is_not_held_cannot_be_renewed_or_released(action, before):
    with pytest.raises(AccessError, match="not held"):
        decided(request(action), before)


@pytest.mark.parametrize("action", ["acquire", "renew"])
@pytest.mark.parametrize(
    ("until", "why"), [(NOW, "ago"), (NOW - 5, "5.0 s ago"), (-1, "ago"), (NOW + LONGEST + 1, "3600 s at most")]
)
def test_an_end_must_be_to_come_and_not_too_far(action, until, why):
    with pytest.raises(AccessError, match=why):
        decided(request(action, until=until), held() if action == "renew" else None)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": None}, "grant_name is missing"),
        ({"name": 5}, "grant_name is of type int"),
        ({"name": ""}, "grant_name is ''"),
        ({"name": "a\nb"}, "printable"),
        ({"name": "x" * 201}, "1 to 200"),
        ({"action": "steal"}, "action is none of acquire, renew, release"),
        ({"action": ["acquire"]}, "action is none of"),
        ({"password": 12345}, "password is of type int"),
        ({"password": "geheim" * 200}, "longer than 1024"),
        ({"until": "tomorrow"}, "expire_at"),
        ({"until": True}, "expire_at"),
        ({"until": float("nan")}, "expire_at"),
        ({"until": float("inf")}, "expire_at"),
        ({"until": 1e300}, "expire_at"),
        ({"until": 10**400}, "expire_at"),
        ({"grantee": 5}, "grantee"),
        ({"grantee": "\x1b[31m"}, "grantee"),
        ({"grantee": "x" * 201}, "grantee"),
        ({"strict": "yes"}, "strict"),
    ],
)
def test_every_argument_is_checked(change, why):
    with pytest.raises(AccessError, match=why) as caught:
        request(**{"action": "acquire", **change})
    assert "geheim" not in str(caught.value)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.tuples(*[ANYTHING] * 6))
def test_whatever_comes_is_a_request_or_one_line(arguments):
    why = ""
    try:
        read_request(*arguments)
    except AccessError as error:
        why = str(error)
    assert "\n" not in why


def test_what_everybody_sees_has_no_hash():
    grant = held()
    assert grant.rules[0].hashed_pass.value not in str(grant.encoded())
    assert grant.encoded()["rules"][0]["cred_level"] == 3
    assert Grant.from_dict(grant.to_dict()) == grant


def test_what_has_expired_is_left_out():
    assert without_expired({"a": held(until=NOW), "b": held(until=NOW + 1)}, NOW).keys() == {"b"}


@pytest.mark.parametrize(
    ("stored", "fit"),
    [(None, ["", "x", "pw"]), ("pw", ["pw"]), (HashedPass.create("pw"), ["pw"]), (HashedPass.create_blocked(), [])],
)
def test_a_blocks_password_may_be_clear_hashed_or_none(stored, fit):
    block = DistributedAccessGrant("lock", [], stored)
    assert [each for each in ("", "x", "pw") if check_password(block, each)] == fit
