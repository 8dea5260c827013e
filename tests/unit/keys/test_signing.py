"""Private keys: what is signed with them, and the tokens that are let in."""

import json
from base64 import urlsafe_b64encode

import pytest
import txaio
from autobahn.wamp.cryptosign import CryptosignKey
from autobahn.wamp.types import Challenge
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import VerifyKey

from ocs.errors import KeysError
from ocs.keys.finding import SiteKeys, find_keys, key_path
from ocs.keys.signing import SigningKey, verify_token
from ocs.keys.table import Identity, PublicKey, SiteTable

NOW = 1_800_000_000.0
KEY = SigningKey(bytes(range(32)), "client")
OTHER = SigningKey(bytes(32), "client")
TABLE = SiteTable({"client": Identity("client", "client", (), (PublicKey(KEY.public),))})
CHALLENGE = "0f" * 32


def encoded(value):
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def signed(header=None, key=KEY, **claims):
    """A token with some claims of one's own, signed with a key."""
    usual = {"sub": "client", "aud": "realm", "iat": int(NOW), "exp": int(NOW) + 60, "key": KEY.public}
    text = f"{encoded(header or {'alg': 'EdDSA'})}.{encoded({**usual, **claims})}"
    return f"{text}.{urlsafe_b64encode(key._private().sign(text.encode())).rstrip(b'=').decode()}"


def test_a_challenge_is_answered_as_autobahn_answers_it():
    answer = KEY.sign_challenge(CHALLENGE)
    assert answer[128:] == CHALLENGE
    VerifyKey(bytes.fromhex(KEY.public)).verify(bytes.fromhex(CHALLENGE), bytes.fromhex(answer[:128]))
    txaio.use_twisted()
    theirs = CryptosignKey.from_bytes(KEY.seed)
    assert theirs.public_key() == KEY.public
    assert theirs.sign_challenge(Challenge("cryptosign", {"challenge": CHALLENGE})).result == answer


@pytest.mark.parametrize("challenge", ["", "0f" * 31, "0f" * 33, "zz" * 32, None])
def test_nothing_but_a_challenge_is_signed(challenge):
    with pytest.raises(KeysError, match="32 bytes"):
        KEY.sign_challenge(challenge)


def test_a_token_tells_who_made_it():
    assert verify_token(KEY.token("realm", NOW), TABLE, "realm", NOW).name == "client"
    assert verify_token(signed(), TABLE, "realm", NOW).name == "client"


@pytest.mark.parametrize("seconds", [0, -1, 3601, float("nan")])
def test_a_token_holds_for_an_hour_at_most(seconds):
    with pytest.raises(KeysError, match="holds for"):
        KEY.token("realm", NOW, seconds)


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (signed(aud="other"), "another realm"),
        (signed(aud=["realm"]), "another realm"),
        (signed(sub="nobody"), "may not connect"),
        (signed(sub=1), "who made it"),
        (signed(key=OTHER), "signature"),
        (signed({"alg": "none"}), "EdDSA"),
        (signed({"alg": "HS256"}), "EdDSA"),
        (signed({"alg": "EdDSA", "crit": ["x"]}), "EdDSA"),
        (signed(exp=int(NOW) + 3601), "more than 3600"),
        (signed(exp=int(NOW)), "not at all"),
        (signed(iat=NOW - 200, exp=NOW - 60), "ended"),
        (signed(iat=NOW + 61, exp=NOW + 90), "future"),
        (signed(exp=None), "from when"),
        (signed(exp=float("inf")), "from when"),
        (signed(exp=10**400), "more than"),
        (signed(iat=True), "from when"),
        (signed(more="x" * 2048), "longer"),
        (signed().rpartition(".")[0] + ".", "JWT"),
        (f"{encoded({'alg': 'EdDSA'})}.{encoded([])}.AAAA", "JWT"),
    ],
)
def test_other_tokens_are_refused(token, why):
    with pytest.raises(KeysError, match=why):
        verify_token(token, TABLE, "realm", NOW)


def test_clocks_may_be_a_minute_apart():
    assert verify_token(signed(iat=NOW + 59, exp=NOW + 90), TABLE, "realm", NOW)
    assert verify_token(signed(iat=NOW - 200, exp=NOW - 59), TABLE, "realm", NOW)


@given(st.text(max_size=60) | st.builds(".".join, st.lists(st.text("AZaz09-_[{", max_size=9), min_size=3, max_size=3)))
def test_what_is_no_token_is_refused_in_one_line(token):
    with pytest.raises(KeysError) as refused:
        verify_token(token, TABLE, "realm", NOW)
    assert "\n" not in str(refused.value)


def test_deep_nesting_is_refused():
    deep = urlsafe_b64encode(b"[" * 1200).decode()
    with pytest.raises(KeysError, match="JWT"):
        verify_token(f"{deep}.e30.AAAA", TABLE, "realm", NOW)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_token_is_refused(place, by):
    token = bytearray(KEY.token("realm", NOW).encode())
    end = len(token) - 1  # of the last letter some bits say nothing
    token[place % end] = (token[place % end] + by) % 128
    if token.decode() != KEY.token("realm", NOW):
        with pytest.raises(KeysError):
            verify_token(token.decode(), TABLE, "realm", NOW)


@pytest.fixture
def folder(tmp_path):
    path = key_path(tmp_path, "client")
    path.parent.mkdir()
    path.write_text(f"# client of a site\n{KEY.seed.hex()}\n")
    path.chmod(0o600)
    (tmp_path / "ca.crt").write_text("certificate")
    return tmp_path


def test_an_open_site_has_no_keys():
    assert find_keys(None, ["client"], environ={}) == SiteKeys()


@pytest.mark.parametrize("how", ["argument", "environment", "key file", "key file in the environment"])
def test_a_key_is_found(folder, how):
    file = str(folder / "private" / "client.key")
    words = {
        "argument": (folder, None, {}),
        "environment": (None, None, {"OCS_KEYS": str(folder)}),
        "key file": (None, file, {}),
        "key file in the environment": (None, None, {"OCS_KEY_FILE": file}),
    }[how]
    found = find_keys(words[0], ["fake-1", "client"], words[1], words[2])
    assert (found.key.public, found.key.name, found.ca) == (KEY.public, "client", folder / "ca.crt")


def test_a_missing_key_is_named_with_the_remedy(folder):
    with pytest.raises(KeysError, match=r"private/fake-1\.key.*ocs keys init") as missing:
        find_keys(folder, ["fake-1"], environ={})
    assert "\n" not in str(missing.value)


@pytest.mark.parametrize("name", ["../client", "a/b", "", ".hidden", "a\n"])
def test_a_name_is_no_path(folder, name):
    with pytest.raises(KeysError, match="cannot be a name"):
        find_keys(folder, [name], environ={})


@pytest.mark.parametrize("text", ["", "12", "zz" * 32, "ab" * 32 + "\n" + "ab" * 32, "\u00e9", "x" * 5000])
def test_a_broken_key_file_is_one_line(folder, text):
    (folder / "private" / "client.key").write_text(text)
    with pytest.raises(KeysError, match=r"client\.key"):
        find_keys(folder, ["client"], environ={})


def test_a_key_that_everybody_can_read_is_warned_of(folder, caplog):
    (folder / "private" / "client.key").chmod(0o644)
    find_keys(folder, ["client"], environ={})
    assert "chmod 600" in caplog.text


def test_a_key_is_not_shown():
    assert KEY.seed.hex() not in repr(KEY)
    assert repr(KEY.seed) not in repr(KEY)
