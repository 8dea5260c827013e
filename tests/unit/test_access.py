"""Access control: who may do what, with which password, and what the mistakes of people and peers come to."""

import logging
import os
import subprocess
import sys
from dataclasses import replace
from fnmatch import fnmatchcase

import pytest
from argon2 import PasswordHasher
from hypothesis import given, settings
from hypothesis import strategies as st

from ocs import access
from ocs.access import (
    AccessRule,
    AgentAccessRules,
    AgentSpec,
    ControlsVerdict,
    CredLevel,
    HashedPass,
    ScopeSpec,
    agent_apply_controls,
    agent_authorize,
    agent_get_creds,
    agent_get_policy_default,
    agent_start_access,
    client_get_password,
    director_get_access_rules,
    director_parse_config,
    pattern_match,
)
from ocs.access.passwords import MAX_PASSWORD
from ocs.errors import AccessError, OCSError

AGENT = AgentSpec("faker1", "FakeDataAgent")
EVERYBODY = ScopeSpec(default=True)


def rule(password, level, *, scope=EVERYBODY, takes=(), grant=None, owner=None):
    return AccessRule(HashedPass("none", password), level, scope, grant, owner, list(takes))


def in_force(*rules):
    return AgentAccessRules("director", "director", AGENT, list(rules))


LADDER = (rule("", 1), rule("two", 2), rule("three", 3))


def level_of(password, *rules):
    return agent_get_creds(password, in_force(*rules), AGENT)[0]


# Names


def test_public_names_are_those_of_the_contract():
    contract = {
        "AC_VERSION", "CredLevel", "HashedPass", "ScopeSpec", "AgentSpec", "AccessRule", "ActionContext",
        "AgentAccessRules", "AccessPasswordItem", "AccessDirectorConfig", "DistributedAccessGrant", "GrantConfigItem",
        "pattern_match", "agent_get_policy_default", "agent_filter_rules", "agent_get_creds",
        "agent_rejection_message", "client_get_password", "director_parse_config", "director_get_access_rules",
        "ExclusiveAccessClient",
    }  # fmt: skip
    assert contract <= set(access.__all__)
    assert all(hasattr(access, name) for name in access.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = access.nonsense


def test_loading_it_loads_neither_twisted_nor_numpy_nor_pydantic_nor_yaml_nor_argon2():
    code = "import sys, ocs.access; print(*{m.partition('.')[0] for m in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30).stdout
    assert not {"twisted", "autobahn", "numpy", "pydantic", "yaml", "argon2"} & set(loaded.split())


def test_a_level_shows_number_and_name():
    assert [str(level) for level in CredLevel] == ["0-BLOCKED", "1-BASIC", "2-ADVANCED", "3-FULL", "4-SUPERUSER"]


# Passwords


@pytest.mark.parametrize(
    ("hashed", "fits", "does_not"),
    [
        (HashedPass("none", ""), ["", None, "x", 5], []),
        (HashedPass("none", "a"), ["a"], ["", None, "A", "aa", 5, b"a", ["a"]]),
        (HashedPass("none", "päss\ud800"), ["päss\ud800"], ["päss"]),
        (HashedPass("blocked", ""), [], ["", None, "blocked"]),
        (HashedPass("blocked", "x"), [], ["x"]),
        (HashedPass("md5", "900150983cd24fb0"), ["abc"], ["", None, "900150983cd24fb0", 5, b"abc"]),
        (HashedPass("md5", ""), [], ["", None, "x"]),
        (HashedPass("rot13", "x"), [], ["x", "k", "", None]),
        (HashedPass("", ""), [], ["", None]),
        (HashedPass.create("abc"), ["abc"], ["abd", "", None, 5]),
        (HashedPass.create(""), ["", None], ["x"]),
    ],
)
def test_a_hash_fits_its_password_alone(hashed, fits, does_not):
    assert [hashed.check(each) for each in fits] == [True] * len(fits)
    assert [hashed.check(each) for each in does_not] == [False] * len(does_not)


@given(st.text(max_size=40), st.text(max_size=40), st.sampled_from(["none", "md5"]))
def test_a_hashed_password_fits_itself_and_no_other(one, other, name):
    hashed = HashedPass.create_from_value(name, one)
    assert hashed.check(one)
    assert hashed.check(other) == (one == other or hashed == HashedPass.create_free())


@pytest.mark.parametrize("name", ["blocked", "rot13", ""])
def test_a_password_cannot_be_hashed_with(name):
    with pytest.raises(AccessError, match="cannot be made from a password"):
        HashedPass.create_from_value(name, "x")


def test_the_same_password_is_salted_differently_each_time():
    one, two = HashedPass.create("abc"), HashedPass.create("abc")
    assert one.hash == "argon2id"
    assert one.value != two.value


def test_an_argon2id_value_is_one_that_others_understand_and_theirs_is_one_of_ours():
    theirs = PasswordHasher(memory_cost=8 * 1024, time_cost=1, parallelism=1)
    assert theirs.verify(HashedPass.create("abc").value, "abc")
    assert HashedPass("argon2id", theirs.hash("abc")).check("abc")
    assert not HashedPass("argon2id", theirs.hash("abc")).check("abd")


@pytest.mark.parametrize("name", ["none", "md5", "scrypt", "argon2id"])
def test_what_is_too_long_for_a_password_is_not_even_hashed(name, monkeypatch):
    longest = "x" * MAX_PASSWORD
    hashed = HashedPass.create_from_value(name, longest)
    assert hashed.check(longest)
    with pytest.raises(AccessError, match="more than 1024"):
        HashedPass.create_from_value(name, longest + "x")
    monkeypatch.setattr("ocs.access.passwords._bytes", lambda clear: pytest.fail("was looked at"))
    assert not hashed.check(longest + "x")
    assert not hashed.is_slow(longest + "x")


def test_an_scrypt_value_is_still_read():
    made = HashedPass("scrypt", "ln=1,r=8,p=1$c2FsdHNhbHQ=$xTHPOD+q5y+XnjkTBlWbYfBbJ1LNqjQYzD1Hq3mTX3M=")
    assert HashedPass.create_from_value("scrypt", "abc").check("abc")
    assert made.mistake() == ""
    assert not made.check("abc")


ARGON2 = "$argon2id$v=19$m={},t={},p={}$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        ARGON2.format(64, 1, 1)[1:],
        ARGON2.format(64, 1, 1).replace("v=19", "v=16"),
        ARGON2.format(64, 1, 1).replace("argon2id", "argon2i"),
        ARGON2.format(64 * 1024 + 1, 1, 1),
        ARGON2.format(64, 5, 1),
        ARGON2.format(64, 0, 1),
        ARGON2.format(64, 1, 0),
        ARGON2.format(64, 1, 5),
        ARGON2.format(7, 1, 1),
        ARGON2.format(64, 1, 1) + "=",
    ],
)
def test_a_malformed_or_costly_argon2id_value_fits_nobody(value):
    hashed = HashedPass("argon2id", value)
    assert not hashed.check("x")
    assert not hashed.is_slow("x")
    assert "argon2id" in hashed.mistake()


def test_no_argon2id_value_that_we_read_is_too_much_for_the_library():
    assert not HashedPass("argon2id", ARGON2.format(32, 4, 4)).check("x")
    assert not HashedPass("argon2id", "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA").check("x")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "ln=14,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA==$",
        "ln=30,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "ln=14,r=0,p=1$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "ln=14,r=8,p=9$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "ln=0,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "ln=4,r=8,p=1$AAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ],
)
def test_a_malformed_or_costly_scrypt_value_fits_nobody(value):
    hashed = HashedPass("scrypt", value)
    assert not hashed.check("x")
    assert not hashed.is_slow("x")
    assert "scrypt" in hashed.mistake()


def test_a_password_that_was_judged_is_not_slow_again():
    hashed = HashedPass.create("abc")
    assert hashed.is_slow("other")
    assert in_force(AccessRule(hashed, 2)).is_slow("other")
    hashed.check("other")
    assert not hashed.is_slow("other")
    assert not in_force(AccessRule(hashed, 2), *LADDER).is_slow("other")


def test_passwords_stay_out_of_representations():
    secret = "hunter2-secret"
    item = access.AccessPasswordItem(default=True, password_2=secret, password_3={"hash": "none", "value": secret})
    grant = access.DistributedAccessGrant("g", [], secret)
    shown = repr(
        [
            rule(secret, 2),
            item,
            grant,
            AgentSpec("a", "B", secret),
            agent_get_policy_default(f"override:{secret},{secret}"),
        ]
    )
    assert secret not in shown


# Patterns and scopes

NAMES = st.text(alphabet="abAB1-_ ", max_size=6).map(str.strip)
GLOBS = st.text(alphabet="abA1*?[]-", min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("target", "pattern", "fits"),
    [
        ("Director", "Director,Act*,*Producer*", True),
        ("Actor", "Director,Act*,*Producer*", True),
        ("Grip", "Director,Act*,*Producer*", False),
        ("LakeAgent", "*Agent,!FakeAgent", True),
        ("FakeAgent", "*Agent,!FakeAgent", False),
        ("anything", "!FakeAgent", True),
        ("FakeAgent", "!FakeAgent", False),
        ("login7", "compute*,login*,!*9,!*8", True),
        ("login9", "compute*,login*,!*9,!*8", False),
        ("Case", "case", False),
        ("anything", "", True),
        ("anything", ", ,!", True),
        ("faker1", "x, faker1", True),
        ("faker1", "*, ! faker1", False),
    ],
)
def test_a_pattern_fits(target, pattern, fits):
    assert pattern_match(target, pattern) is fits


@given(NAMES, st.lists(st.tuples(st.booleans(), GLOBS), max_size=5))
def test_a_pattern_is_as_its_globs_say(target, globs):
    pattern = ",".join("!" * negative + glob for negative, glob in globs)
    positive = [fnmatchcase(target, glob) for negative, glob in globs if not negative]
    negative = [fnmatchcase(target, glob) for negative, glob in globs if negative]
    assert pattern_match(target, pattern, raw=True) == (positive, negative)
    assert pattern_match(target, pattern) == ((any(positive) or not positive) and not any(negative))


@pytest.mark.parametrize(
    ("scope", "holds", "specificity"),
    [
        (ScopeSpec(), False, -1),
        (ScopeSpec(default=True), True, 0),
        (ScopeSpec(default=True, agent_class="Other", instance_id="other"), True, 0),
        (ScopeSpec(agent_class="FakeDataAgent"), True, 4),
        (ScopeSpec(agent_class="Fake*", instance_id="faker*"), True, 12),
        (ScopeSpec(agent_class="Fake*", instance_id="!faker1"), False, 6),
        (ScopeSpec(agent_class="Other", instance_id="faker1"), False, 12),
        (ScopeSpec(instance_id="faker1"), True, 8),
        (ScopeSpec(instance_id="!faker2"), True, 2),
        (ScopeSpec(agent_class="!Other"), True, 1),
        (ScopeSpec(agent_class="*,!Other", instance_id="*,!other"), True, 15),
        (ScopeSpec(agent_class=""), True, -1),
    ],
)
def test_a_scope_holds_and_is_as_specific_as_it_names(scope, holds, specificity):
    assert scope.check(AGENT) is holds
    assert scope.get_specificity() == specificity


# Policies


@pytest.mark.parametrize("policy", [None, "", "none", "  "])
def test_without_a_policy_everybody_has_level_1_and_may_do_everything(policy):
    rules = agent_get_policy_default(policy)
    key = object()
    assert rules.policy == "none"
    for password in (None, "", "x", key):
        assert agent_get_creds(password, rules, AgentSpec("a", "B", key))[0] is CredLevel.BASIC
        assert agent_authorize(password, rules, AGENT, 3) == (CredLevel.BASIC, "")


def test_override_gives_levels_2_and_3_to_its_passwords():
    rules = agent_get_policy_default("override:pw2,p:w3")
    levels = [agent_get_creds(each, rules, AGENT)[0] for each in (None, "", "pw2", "p:w3", "pw2,p:w3", 5)]
    assert levels == [1, 1, 2, 3, 1, 1]


def test_a_director_is_awaited_with_everybody_blocked_and_told_so():
    rules = agent_get_policy_default("director:access-dir")
    decision = agent_authorize("any", rules, AGENT, 1)
    assert rules.director_id == "access-dir"
    assert decision.cred_level is CredLevel.BLOCKED
    assert "No rules have come from the access director 'access-dir' yet" in decision.refusal


@pytest.mark.parametrize(
    ("policy", "complaint"),
    [
        ("override:hunter2", "two passwords"),
        ("override:hunter2,a,b", "3 given"),
        ("override:hunter2,", "empty password"),
        ("override:", "two passwords"),
        ("override", "not known"),
        ("director", "not known"),
        ("None", "not known"),
        ("none:hunter2", "not known"),
        ("overide:hunter2,b", "not known"),
    ],
)
def test_a_policy_with_a_mistake_is_refused_in_one_line_without_its_passwords(policy, complaint):
    with pytest.raises(AccessError, match=complaint) as caught:
        agent_get_policy_default(policy)
    assert isinstance(caught.value, OCSError)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


# Levels


@pytest.mark.parametrize(("password", "level"), [(None, 1), ("", 1), ("two", 2), ("three", 3), ("four", 1), (7, 1)])
def test_the_highest_level_that_a_password_gives_counts(password, level):
    assert level_of(password, *LADDER) == level
    assert level_of(password, *reversed(LADDER)) == level


@pytest.mark.parametrize(
    ("password", "takes", "level"),
    [
        ("three", [3], 2),
        ("three", [2], 3),
        ("three", [2, 3], 1),
        ("three", [1, 2, 3], 0),
        ("three", [1, 3], 2),
        ("two", [3], 2),
        ("two", [2], 1),
        ("two", [0, 1, 2], 0),
        ("", [1], 0),
        ("mine", [1, 2, 3], 3),
    ],
)
def test_who_has_not_the_grants_password_loses_its_levels(password, takes, level):
    assert level_of(password, *LADDER, rule("mine", 3, takes=takes, grant="excl", owner="me")) == level


def test_the_holder_of_one_grant_is_locked_out_by_another():
    mine, theirs = rule("mine", 3, takes=[1, 2, 3], grant="a"), rule("theirs", 3, takes=[3], grant="b")
    assert level_of("mine", *LADDER, mine, theirs) == 2


def test_a_lockout_is_explained_by_grant_and_holder_and_only_where_it_lowers():
    locks = [rule("m", 3, takes=[3], grant="excl", owner="night-shift"), rule("n", 3, takes=[1], grant="unrelated")]
    level, why = agent_get_creds("three", in_force(*LADDER, *locks), AGENT)
    assert (level, "3-FULL" in why, "excl (held by night-shift)" in why, "unrelated" in why) == (2, True, True, False)
    assert agent_get_creds("two", in_force(*LADDER, *locks), AGENT) == (CredLevel.ADVANCED, "")


def test_rules_for_other_agents_neither_give_nor_take():
    elsewhere = ScopeSpec(instance_id="faker2")
    rules = (*LADDER, rule("three", 4, scope=elsewhere), rule("x", 3, scope=elsewhere, takes=[1, 2, 3]))
    assert level_of("three", *rules) == 3
    assert access.agent_filter_rules(rules, AGENT) == list(LADDER)


@pytest.mark.parametrize("hashed", [None, HashedPass("rot13", "three"), HashedPass("blocked"), HashedPass("md5", "")])
def test_a_rule_that_nobody_fits_still_locks_out(hashed):
    assert level_of("three", *LADDER, AccessRule(hashed, 4, lockout_levels=[3])) == 2


def test_a_matching_rule_without_a_level_gives_none():
    assert level_of("x", AccessRule(HashedPass("none", "x"), None)) == 0


def test_the_agents_own_key_is_above_all_rules():
    key = object()
    agent = AgentSpec("faker1", "FakeDataAgent", key)
    rules = in_force(rule("mine", 3, takes=[1, 2, 3]))
    assert agent_get_creds(key, rules, agent)[0] is CredLevel.SUPERUSER
    assert agent_get_creds(object(), rules, agent)[0] is CredLevel.BLOCKED
    assert agent_get_creds(None, rules, AGENT)[0] is CredLevel.BLOCKED


RULES = st.lists(
    st.builds(
        lambda password, level, takes: rule(password, level, takes=takes),
        st.sampled_from(["", "a", "b", "c"]),
        st.integers(0, 4),
        st.lists(st.integers(0, 4), max_size=3),
    ),
    max_size=6,
)


@given(RULES, st.sampled_from(["a", "b", "zzz", ""]))
def test_the_level_is_the_highest_given_that_nobody_took(rules, password):
    fits = [each for each in rules if each.matches(password)]
    granted = max((each.cred_level for each in fits), default=0)
    taken = {level for each in rules if each not in fits for level in each.lockout_levels}
    level, why = agent_get_creds(password, in_force(*rules), AGENT)
    assert level == max([n for n in range(granted + 1) if n not in taken] + [0])
    assert bool(why) == (level < granted)


@given(RULES, st.sampled_from(["a", "b", "zzz"]), st.randoms())
def test_the_order_of_rules_does_not_matter(rules, password, random):
    shuffled = random.sample(rules, len(rules))
    assert agent_get_creds(password, in_force(*rules), AGENT) == agent_get_creds(password, in_force(*shuffled), AGENT)


def test_a_refusal_names_both_levels_and_the_lockout():
    message = access.agent_rejection_message(1, 3, "Somebody holds it.")
    assert all(part in message for part in ("3-FULL", "1-BASIC", "Somebody holds it."))
    assert access.agent_rejection_message(CredLevel.BASIC, CredLevel.FULL).endswith(".")


@pytest.mark.parametrize(
    ("password", "required", "allowed"),
    [("", 1, True), ("", 0, True), ("", 2, False), ("two", 2, True), ("two", 3, False), ("three", 3, True)],
)
def test_a_request_is_allowed_at_its_level_and_above(password, required, allowed):
    assert (agent_authorize(password, in_force(*LADDER), AGENT, required).refusal == "") is allowed


def test_the_blocked_may_do_nothing_even_where_an_operation_asks_for_level_0():
    assert agent_authorize("", in_force(rule("x", 1)), AGENT, 0).refusal


# Rules on the wire

ON_THE_WIRE = {
    "hashed_pass": {"hash": "md5", "value": "900150983cd24fb0"},
    "cred_level": 2,
    "scope_spec": {"default": False, "agent_class": "Fake*", "instance_id": None},
    "lockout_id": "excl",
    "lockout_owner": None,
    "lockout_levels": [1, 2],
}


def test_a_rule_comes_from_the_wire_and_goes_back_as_plain_values():
    made = AccessRule.from_dict(ON_THE_WIRE)
    assert made.to_dict() == ON_THE_WIRE
    assert type(made.to_dict()["cred_level"]) is int
    assert {type(each) for each in made.to_dict()["lockout_levels"]} == {int}


def test_a_rule_is_also_made_by_keywords_with_nested_maps():
    assert AccessRule(**ON_THE_WIRE) == AccessRule.from_dict(ON_THE_WIRE)


def test_unknown_keys_from_the_wire_are_passed_over():
    more = {**ON_THE_WIRE, "new": 1, "scope_spec": {**ON_THE_WIRE["scope_spec"], "newer": [2]}}
    assert AccessRule.from_dict(more) == AccessRule.from_dict(ON_THE_WIRE)


def test_null_stands_for_what_is_left_out():
    made = AccessRule.from_dict({"hashed_pass": None, "cred_level": None, "lockout_levels": None})
    assert (made.hashed_pass, made.cred_level, made.scope_spec, made.lockout_levels) == (None, None, EVERYBODY, [])


def test_the_agents_key_never_goes_on_the_wire():
    assert AgentSpec("a", "B", object()).to_dict() == {"instance_id": "a", "agent_class": "B"}


BAD_FIELDS = [
    ("cred_level", 7, "cred_level is 7"),
    ("cred_level", "2", "cred_level is '2'"),
    ("cred_level", True, "cred_level is True"),
    ("cred_level", 2.5, "cred_level is 2.5"),
    ("lockout_levels", [1, 9], r"lockout_levels\[1\] is 9"),
    ("lockout_levels", 3, "lockout_levels is of type int"),
    ("lockout_owner", 3, "lockout_owner is of type int"),
    ("hashed_pass", "x", "hashed_pass: is of type str"),
    ("hashed_pass", {"value": "x"}, "hashed_pass: hash is missing"),
    ("hashed_pass", {"hash": "none", "value": 12}, "value is of type int, it must be text; put it in quotes"),
    ("scope_spec", None, "scope_spec: is of type NoneType"),
    ("scope_spec", {"default": "yes"}, "scope_spec: default is of type str"),
    ("scope_spec", {"agent_class": ["A"]}, "scope_spec: agent_class is of type list"),
]


@pytest.mark.parametrize(("name", "value", "complaint"), BAD_FIELDS)
def test_a_malformed_rule_is_refused_by_rule_and_field(name, value, complaint):
    with pytest.raises(AccessError, match=f"^access rule 4: .*{complaint}"):
        AccessRule.from_dict({**ON_THE_WIRE, name: value}, "access rule 4")


def test_a_rule_must_have_password_and_level():
    with pytest.raises(AccessError, match="cred_level is missing"):
        AccessRule.from_dict({"hashed_pass": None})


# Messages of the director


@pytest.fixture
def started():
    return agent_start_access("director:access-dir", AGENT, now=100.0)


def controls(step=1, rules=(ON_THE_WIRE,), **more):
    return {"reset": True, "ac_version": 1, "step": step, "rules": list(rules), **more}


def apply(message, state, now=200.0, session="1"):
    return agent_apply_controls(message, state, now=now, director_session=session)


def test_what_an_agent_tells_of_its_access_control(started):
    assert started.encoded() == {
        "version": 1,
        "policy": "director",
        "update_timestamp": 100.0,
        "update_count": 0,
        "step": 0,
    }


def test_a_reset_puts_the_rules_for_this_agent_in_force(started):
    elsewhere = {**ON_THE_WIRE, "scope_spec": {"instance_id": "other"}}
    state, verdict, note = apply(controls(7, [ON_THE_WIRE, elsewhere]), started)
    assert verdict is ControlsVerdict.APPLIED
    assert "step 7" in note
    assert state.rules.rules == [AccessRule.from_dict(ON_THE_WIRE)]
    assert (state.rules.policy, state.rules.director_id, state.rules.agent) == ("director", "access-dir", AGENT)
    assert state.encoded() == {
        "version": 1,
        "policy": "director",
        "update_timestamp": 200.0,
        "update_count": 1,
        "step": 7,
    }


def test_a_message_to_this_agent_replaces_its_rules(started):
    before = apply(controls(1), started).state
    message = {"target": "faker1", "ac_version": 1, "step": 2, "rules": []}
    assert apply(message, before).state.rules.rules == []


def test_a_message_to_another_agent_changes_nothing(started):
    message = {"target": "other", "ac_version": 1, "step": 2, "rules": [ON_THE_WIRE]}
    state, verdict, _note = apply(message, started)
    assert state is started
    assert verdict is ControlsVerdict.NOT_FOR_US


def test_a_repeated_message_is_counted_and_changes_no_rule(started):
    before = apply(controls(3), started).state
    state, verdict, _note = apply(controls(3), before, now=260.0)
    assert verdict is ControlsVerdict.REFRESHED
    assert state == replace(before, update_count=2, update_timestamp=260.0)


def test_an_older_step_of_the_same_director_is_passed_over(started):
    before = apply(controls(3), started).state
    state, verdict, note = apply(controls(2, []), before)
    assert state is before
    assert verdict is ControlsVerdict.STALE
    assert "step 2" in note


def test_a_director_that_has_started_anew_counts_anew(started):
    before = apply(controls(3), started).state
    state, verdict, _note = apply(controls(0, []), before, session="2")
    assert verdict is ControlsVerdict.APPLIED
    assert (state.step, state.rules.rules) == (0, [])


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ("rules", "must be a map"),
        (None, "must be a map"),
        ({}, "ac_version is None"),
        (controls(ac_version=2), "ac_version is 2, this agent knows 1"),
        (controls(step=None), "step is None"),
        (controls(step=-1), "step is -1"),
        (controls(step=True), "step is True"),
        (controls(reset=False), "neither reset nor a target"),
        (controls(reset=1), "neither reset nor a target"),
        (controls(reset=None, target=5), "neither reset nor a target"),
        ({"reset": True, "ac_version": 1, "step": 1}, "rules is of type NoneType"),
        (controls(rules=[ON_THE_WIRE, 5]), "access rule 1: is of type int"),
        (controls(rules=[{**ON_THE_WIRE, "cred_level": 9}]), "access rule 0: cred_level is 9"),
        (controls(rules=[ON_THE_WIRE] * 10_001), "too many"),
    ],
)
def test_a_malformed_message_is_refused_whole_and_the_old_rules_stay(started, message, complaint):
    before = apply(controls(1), started).state
    state, verdict, note = apply(message, before)
    assert state is before
    assert verdict is ControlsVerdict.REFUSED
    assert complaint in note
    assert "\n" not in note


@pytest.mark.parametrize("policy", ["none", "override:a,b"])
def test_without_a_director_no_message_counts(policy):
    state = agent_start_access(policy, AGENT, now=1.0)
    assert apply(controls(1), state) == (
        state,
        ControlsVerdict.REFUSED,
        "This agent takes no rules from an access director.",
    )


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from([*controls()]), JUNK, st.sampled_from([None, *ON_THE_WIRE]))
@settings(max_examples=200)
def test_no_message_raises_whatever_is_in_it(key, junk, rule_key):
    state = agent_start_access("director:d", AGENT, now=0.0)
    message = controls() if rule_key else {**controls(), key: junk}
    if rule_key:
        message["rules"] = [{**ON_THE_WIRE, rule_key: junk}]
    outcome = apply(message, state)
    taken = outcome.verdict in (ControlsVerdict.APPLIED, ControlsVerdict.REFRESHED)
    assert taken or outcome.state is state
    agent_get_creds("x", outcome.state.rules, AGENT)


# Clients

PASSWORDS = """
- default: true
  password_3: general
- agent_class: FakeDataAgent
  instance_id: "!faker4,!faker1"
  password_2: normal
- instance_id: faker*
  password_2: special
- instance_id: faker4
  password_2: special4
"""


@pytest.fixture
def passwords(tmp_path, monkeypatch):
    file = tmp_path / "passwords.yaml"
    monkeypatch.setenv("OCS_PASSWORDS_FILE", str(file))

    def write(text):
        file.write_text(text)
        file.chmod(0o600)
        return file

    return write


@pytest.mark.parametrize(("privs", "password"), [("own", "own"), ("", ""), (None, ""), (1, ""), (CredLevel.BASIC, "")])
def test_a_password_or_level_1_needs_no_file(passwords, privs, password):
    assert client_get_password(privs, "FakeDataAgent", "faker1") == password


@pytest.mark.parametrize(
    ("privs", "agent_class", "instance_id", "password"),
    [
        (2, "FakeDataAgent", "faker1", "special"),
        (2, "FakeDataAgent", "faker4", "special4"),
        (2, "FakeDataAgent", "other", "normal"),
        (2, "Other", "other", "general"),
        (3, "FakeDataAgent", "faker4", "general"),
        (CredLevel.FULL, "FakeDataAgent", "faker4", "general"),
        (2, None, "faker4", "special4"),
        (2, "FakeDataAgent", None, "normal"),
    ],
)
def test_the_rule_that_names_the_agent_most_closely_gives_the_password(
    passwords, privs, agent_class, instance_id, password
):
    passwords(PASSWORDS)
    assert client_get_password(privs, agent_class, instance_id) == password


@pytest.mark.parametrize(
    ("text", "password"),
    [
        ("[{default: true, password_2: one}, {default: true, password_2: two}]", "two"),
        ("[{default: true, password_2: one}, {default: true, password_3: two}]", "two"),
        ("[{instance_id: b, password_3: one}, {default: true, password_2: two}]", "one"),
        ("[{default: true, password_2: one, password_3: two}]", "one"),
        ("[{default: true, password_2: {hash: none, value: one}}]", "one"),
        ("[{default: true, password_2: '', password_3: two}]", ""),
    ],
)
def test_of_equally_close_rules_the_last_counts_and_a_higher_level_will_do(passwords, text, password):
    passwords(text)
    assert client_get_password(2, "A", "b") == password


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[{default: true, password_1: x, password_4: y}]",
        "[{password_2: x}]",
        "[{agent_class: Z, password_2: x}]",
    ],
)
def test_where_no_rule_fits_the_password_is_empty_and_a_warning_says_so(passwords, caplog, text):
    file = passwords(text)
    assert client_get_password(2, "A", "b") == ""
    assert caplog.messages == [f"{file} has no password for level 2-ADVANCED of b (A)"]


@pytest.mark.parametrize("privs", [0, 4, -1, True, 2.0, [], b"x"])
def test_privs_must_be_a_password_or_a_level(privs):
    with pytest.raises(AccessError, match="must be a password or a level, 1 to 3"):
        client_get_password(privs, "A", "b")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("- default: true\n  password_2: [hunter2", "not YAML .line 2"),
        ("password_2: x", "must hold a list of rules"),
        ("- 3", "rule 0: is of type int"),
        ("- default: true\n  password_2: 12", "rule 0: password_2 is of type int, it must be text; put it in quotes"),
        ("- default: true\n- {default: true, password_2: {hash: md5, value: x}}", "holds a md5 hash"),
        ("- {default: maybe, password_2: x}", "rule 0: default is of type str"),
    ],
)
def test_a_password_file_with_a_mistake_is_refused_in_one_line(passwords, text, complaint):
    passwords(text)
    with pytest.raises(AccessError, match=complaint) as caught:
        client_get_password(2, "A", "b")
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_missing_password_file_is_named_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.delenv("OCS_PASSWORDS_FILE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(AccessError, match=rf"{tmp_path}/\.ocs-passwords\.yaml does not exist; make it"):
        client_get_password(2, "A", "b")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_password_file_that_cannot_be_read_is_named(passwords):
    passwords("[]").chmod(0)
    with pytest.raises(AccessError, match="cannot be read"):
        client_get_password(2, "A", "b")


def test_binary_in_a_password_file_is_told_in_one_line(passwords):
    passwords("").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AccessError, match="cannot be read"):
        client_get_password(2, "A", "b")


def test_a_password_file_open_to_everybody_is_warned_of_once(passwords, caplog):
    passwords(PASSWORDS).chmod(0o644)
    for _ in range(3):
        client_get_password(2, "A", "b")
    assert len(caplog.messages) == 1
    assert "can be read by everybody" in caplog.messages[0]


class Director:
    """The part of a control client that is used, with an access director of one grant behind it."""

    def __init__(self):
        self.asked = []
        self.answer = None

    def special(self, subaddr, *args, **kwargs):
        self.asked.append((subaddr, kwargs))
        if self.answer is not None:
            return self.answer
        if kwargs["password"] != "gate":
            return {"error": "wrong password"}
        answer = {"message": f"grant {kwargs['action']}", "grant_name": kwargs["grant_name"], "step": 3}
        if kwargs["action"] != "release":
            answer["expire_at"] = kwargs["expire_at"]
        return answer | ({"password": "fresh"} if kwargs["action"] == "acquire" else {})


def exclusive(director, password="gate"):
    return access.ExclusiveAccessClient("access-dir", "me", "excl", password, client=director)


def test_exclusive_access_is_acquired_renewed_and_released():
    director = Director()
    client = exclusive(director)
    assert (client.password, client.expire_at) == (None, None)
    assert client.acquire(expire_at=50.0)[0]
    assert (client.password, client.expire_at) == ("fresh", 50.0)
    assert client.renew(expire_at=60.0)[0]
    assert (client.password, client.expire_at) == ("fresh", 60.0)
    assert client.release()[0]
    assert (client.password, client.expire_at) == (None, None)
    common = {"grantee": "me", "grant_name": "excl", "password": "gate"}
    assert director.asked == [
        ("request_exclusive", {"action": "acquire", "expire_at": 50.0, **common}),
        ("request_exclusive", {"action": "renew", "expire_at": 60.0, **common}),
        ("request_exclusive", {"action": "release", **common}),
    ]


def test_refused_exclusive_access_leaves_no_password():
    client = exclusive(Director(), password="wrong")
    assert client.acquire() == (False, {"error": "wrong password"})
    assert client.password is None
    assert client.last_response == {"error": "wrong password"}


def test_an_answer_that_is_no_map_is_an_error_not_a_crash():
    director = Director()
    director.answer = "what?"
    granted, detail = exclusive(director).acquire()
    assert not granted
    assert "type str" in detail["error"]


# Director

CONFIG = {
    "distrib_hashfunc": "md5",
    "passwords": [
        {"default": True, "password_1": "", "password_2": "p2"},
        {"instance_id": "faker1", "password_3": {"hash": "none", "value": "f3"}, "password_4": {"hash": "blocked"}},
    ],
    "exclusive_access_blocks": [
        {
            "name": "excl",
            "password": "gate",
            "grants": [{"instance_id": "faker*", "cred_level": 3, "lockout_levels": [1, 2]}],
        }
    ],
}


def test_a_configuration_becomes_rules_with_no_clear_password():
    parsed = director_parse_config(CONFIG)
    assert [(each.hashed_pass.hash, each.cred_level) for each in parsed["_rules"]] == [
        ("none", 1),
        ("md5", 2),
        ("md5", 3),
        ("blocked", 4),
    ]
    levels = [agent_get_creds(password, in_force(*parsed["_rules"]), AGENT)[0] for password in ("", "p2", "f3")]
    assert levels == [1, 2, 3]
    assert parsed["_hashname"] == "md5"
    assert parsed["_hashfunc"]("abc") == "900150983cd24fb0"
    assert parsed["_grant_blocks"][0].grants[0].lockout_levels == [CredLevel.BASIC, CredLevel.ADVANCED]


@pytest.mark.parametrize("name", ["argon2id", "scrypt"])
def test_all_rules_share_a_salt_so_that_a_password_is_hashed_once(name):
    parsed = director_parse_config({**CONFIG, "distrib_hashfunc": name})
    hashed = [each.hashed_pass for each in parsed["_rules"] if each.hashed_pass.hash == name]
    assert len(hashed) == 2
    assert [each.check("p2") for each in hashed] == [True, False]
    hashed[0].check("guess")
    assert not hashed[1].is_slow("guess")


@pytest.mark.parametrize("config", [None, {}, {"passwords": None, "exclusive_access_blocks": None}])
def test_an_empty_configuration_gives_no_rules(config):
    parsed = director_parse_config(config)
    assert (parsed["_rules"], parsed["_grant_blocks"]) == ([], [])


def test_passwords_may_be_written_as_hashes():
    config = {
        "passwords_block_default_hashfunc": "md5",
        "passwords": [{"default": True, "password_2": "900150983cd24fb0"}],
    }
    assert director_parse_config(config)["_rules"][0].hashed_pass == HashedPass("md5", "900150983cd24fb0")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"distrib_hashfunc": "rot13"}, "hash 'rot13' cannot"),
        ({"passwords_block_default_hashfunc": "rot13"}, "passwords_block_default_hashfunc is 'rot13'"),
        ({"passwords": "x"}, "passwords is of type str"),
        ({"passwords": [{"default": True, "password_2": 5}]}, r"passwords\[0\]: password_2 is of type int"),
        ({"exclusive_access_blocks": [{"name": "g"}]}, r"exclusive_access_blocks\[0\]: grants is missing"),
        ({"exclusive_access_blocks": [{"grants": []}]}, "name is missing"),
        (
            {"exclusive_access_blocks": [{"name": "g", "grants": [{"default": True}]}]},
            r"grants\[0\]: cred_level is missing",
        ),
        ({"exclusive_access_blocks": [{"name": "g", "grants": []}] * 2}, "'g' is given more than once"),
        ({"exclusive_access_blocks": [{"name": "g", "hash": "rot13", "grants": []}]}, "hash 'rot13' cannot"),
    ],
)
def test_a_configuration_with_a_mistake_is_refused_by_place(change, complaint):
    with pytest.raises(AccessError, match=complaint) as caught:
        director_parse_config({**CONFIG, **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"pasword": []}, "pasword is not known"),
        ({"passwords": [{"default": True, "pasword_2": "x"}]}, "passwords[0]: pasword_2 is not known"),
        ({"passwords": [{"password_2": "x"}]}, "passwords[0] is for no agent"),
        ({"passwords": [{"default": True, "password_2": {"hash": "md5", "value": "x"}}]}, "password_2 will fit nobody"),
        (
            {"passwords": [{"default": True, "password_2": {"hash": "rot13", "value": "x"}}]},
            "password_2 will fit nobody",
        ),
        (
            {"exclusive_access_blocks": [{"name": "g", "grants": [{"cred_level": 2}]}]},
            "'g' has a grant that is for no agent",
        ),
    ],
)
def test_what_was_most_likely_not_meant_is_warned_of(caplog, change, warning):
    with caplog.at_level(logging.WARNING):
        director_parse_config({**CONFIG, **change})
    assert len(caplog.messages) == 1
    assert warning in caplog.messages[0]


def test_a_grant_comes_with_a_fresh_password_for_its_holder_alone():
    block = director_parse_config(CONFIG)["_grant_blocks"][0]
    password, rules = director_get_access_rules(block, "me")
    assert password != director_get_access_rules(block, "me")[0]
    assert [each.to_dict() | {"hashed_pass": None} for each in rules] == [
        {
            "hashed_pass": None,
            "cred_level": 3,
            "scope_spec": {"default": False, "agent_class": None, "instance_id": "faker*"},
            "lockout_id": "excl",
            "lockout_owner": "me",
            "lockout_levels": [1, 2],
        }
    ]
    assert level_of(password, *LADDER, *rules) == 3
    assert level_of("two", *LADDER, *rules) == 0
