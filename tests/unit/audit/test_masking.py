"""What an audit shows of parameters: whatever is a secret is in no record."""

import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ocs.audit.masking import SHOWN, is_secret_name, mask, mask_text
from ocs.params import ParamError, ParamHandler

SECRET = "Zq7#xvTk9Lw"

NAMES = [
    "password", "Password", "PASSWD", "db_password", "newPassword2", "secret", "clientSecret", "API-KEY", "apiKey",
    "api_token", "token", "credentials", "private.key", "ssh_key", "pw", "user_pw", "Authorization", "keys",
    "hashed_pass", "passphrase", "admin password", "influx-token", "passcode", "root_pwd", "session_cookie", "psk",
    "jwt", "auth", "bearer", "key_2", "privateKeyFile",
]  # fmt: skip
FORMS = [
    lambda name, pad: {name: SECRET},
    lambda name, pad: {name: pad + SECRET},
    lambda name, pad: {name: {"a": [SECRET, 3]}},
    lambda name, pad: {name: [SECRET]},
    lambda name, pad: {name: SECRET, "other": pad + SECRET},
    lambda name, pad: [f"--{name.replace(' ', '-')}", SECRET],
    lambda name, pad: [name, SECRET],
    lambda name, pad: {"name": name, "value": SECRET},
    lambda name, pad: {"value": SECRET, "name": name},
    lambda name, pad: {"cmd": f"{pad} {name}={SECRET}"},
    lambda name, pad: {"cmd": f"{pad} --{name.replace(' ', '-')} {SECRET}"},
    lambda name, pad: f"{name}: {SECRET}",
    lambda name, pad: json.dumps({name: SECRET}),
    lambda name, pad: json.dumps(json.dumps({name: SECRET})),
    lambda name, pad: repr({name: SECRET}),
    lambda name, pad: repr((name, SECRET)),
    lambda name, pad: f"{pad}https://user:{SECRET}@host/x",
    lambda name, pad: f"{pad}https://{SECRET}@host/x",
    lambda name, pad: f"{pad} Bearer {SECRET}",
    lambda name, pad: f"-----BEGIN PRIVATE KEY-----\n{SECRET}",
    lambda name, pad: {f"{name}={SECRET}": 1},
]
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
PADDING = st.text(st.characters(exclude_characters=SECRET), max_size=300)


def wrapped(inner):
    return st.one_of(
        inner,
        st.lists(PLAIN, max_size=3).flatmap(lambda left: inner.map(lambda x: [*left, x])),
        st.dictionaries(st.text(max_size=8), PLAIN, max_size=3).flatmap(
            lambda left: inner.map(lambda x: {**left, "inner": x})
        ),
    )


@st.composite
def with_secret(draw):
    """Parameters that have the secret in them, in one of the forms in which secrets come."""
    value = draw(st.sampled_from(FORMS))(draw(st.sampled_from(NAMES)), draw(PADDING))
    for _ in range(draw(st.integers(0, 3))):
        value = draw(wrapped(st.just(value)))
    return value


@pytest.mark.parametrize("name", NAMES)
def test_each_form_of_a_secret_is_known(name):
    for form in FORMS:
        params = form(name, "")
        assert SECRET not in json.dumps(mask(params).params), params


@settings(max_examples=250, deadline=None)
@given(with_secret())
def test_no_secret_is_shown(params):
    assert SECRET[:6] not in json.dumps(mask(params).params)


@settings(max_examples=250, deadline=None)
@given(with_secret(), st.integers(0, 200))
def test_nor_in_what_the_agent_answers(params, cut):
    """An answer quotes parameters, in part even; here as such quotations are made."""
    said = [repr(params), f"Param 'x'={repr(params)[:77]}... is not of required type str.", str(params)[:cut]]
    try:
        ParamHandler({"x": params}).get("x", check=lambda _value: False)
    except ParamError as error:
        said.append(error.msg)
    masked = mask(params)
    for text in said:
        assert SECRET[:6] not in masked.clean(f'Did not start "set": {text}', "set")


@settings(max_examples=300, deadline=None)
@given(PLAIN)
def test_what_is_shown_has_a_form_in_json_and_is_short(params):
    text = json.dumps(mask(params).params, allow_nan=False)
    assert len(text) < 8_000


@pytest.mark.parametrize(
    "params",
    [
        None, {}, {"angle": 3.5, "mode": "fast", "list": [1, 2, True, None]}, {"text": "a key is pressed"},
        {"url": "http://host:8080/path"}, {"keyboard": 1, "passive": True, "tokyo": 3}, {"password": None},
    ],
)  # fmt: skip
def test_what_is_no_secret_is_shown_as_it_is(params):
    masked = mask(params)
    assert masked.params == params
    assert not masked.changed


def test_a_secret_that_stands_twice_is_shown_nowhere():
    params = {"password": SECRET, "again": [f"is {SECRET}", "fine"], SECRET: 1}
    assert mask(params).params == {"password": "***", "again": ["***", "fine"], "***": 1}


def test_what_is_long_or_many_is_shortened_and_says_so():
    shown = mask({"text": "x" * 5000, "many": list(range(1000)), "deep": [[[[[[[[1]]]]]]]], "raw": b"abc"}).params
    assert shown["text"].endswith("(4800 more)")
    assert len(json.dumps(shown)) < 2000
    assert mask({"raw": b"abc"}).params == {"raw": "3 bytes"}
    assert mask({"n": 2**70, "f": float("nan"), "s": "\ud800"}).params["f"] == "nan"


@pytest.mark.parametrize("character", ["x", "\U0001f600", "é"])
def test_nobody_fills_the_file_with_what_is_refused(character):
    long = character * 200
    keys = {f"{number}{long}": number for number in range(100)}
    for params in (keys, [long] * 100, {"a": {"b": keys}}, {long: [keys, keys]}):
        assert len(json.dumps(mask(params).params)) < 8_000


@pytest.mark.parametrize(
    "text", ["-" * 1000, "://" * 333, "@" + "://" * 333, "-a" * 500, "a=" * 500, "--" * 250 + "=("]
)
@pytest.mark.timeout(20)
def test_no_text_holds_an_agent_up(text):
    """Where the cost grows with the square of a text's length, this takes minutes."""
    for _ in range(100):
        assert mask({"x": [text] * 98}).params


@pytest.mark.parametrize(
    "name",
    ["privs", "userpass", "oauth2", "authentication", "pswd", "totp", "snmp_community", "cookies", "unlock_code",
     "\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44", b"password", "webhook_url"],
)  # fmt: skip
def test_further_names_of_secrets(name):
    assert is_secret_name(name)
    assert mask({name: SECRET}).changed


@pytest.mark.parametrize("name", ["bypass", "lowpass", "compass", "pin", "cred_level"])
def test_names_of_instruments_are_none(name):
    assert mask({name: 5}).params == {name: 5}


def test_the_cost_does_not_grow_with_the_parameters():
    huge = {"text": "a.b-c " * 1_000_000, "many": dict.fromkeys(map(str, range(100_000)), 1)}
    assert len(json.dumps(mask(huge).params)) < 3000


def test_an_answer_that_has_nothing_of_a_secret_stays():
    masked = mask({"password": SECRET})
    assert masked.clean('Started operation "set_key".', "set_key") == 'Started operation "set_key".'
    refusal = 'Not allowed to start "set_key": level 2 is needed, yours is 1'
    assert masked.clean(refusal, "set_key") == refusal


@given(st.text(max_size=400))
def test_any_text_gives_a_short_one_that_can_be_sent(text):
    mask_text(text).encode()
    assert len(mask_text(text)) < 230


@pytest.mark.parametrize("name", ["temperature", "monitor", "passband", "", 3, None, "keyboard"])
def test_names_of_no_secrets(name):
    assert not is_secret_name(name)


@given(st.text(min_size=4))
def test_the_secret_itself_decides_nothing(secret):
    assume(secret != SHOWN)
    assert mask({"password": secret}).params == {"password": SHOWN}
