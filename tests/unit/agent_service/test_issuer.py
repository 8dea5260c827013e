"""Keys of an issuer are fetched when needed and not more often; whatever the issuer does, requests are answered."""

import asyncio
import socket
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.agent_service import issuer as subject
from ocs.agent_service.issuer import IssuerKeys, Known, Step, decide
from ocs.agent_service.keys import jwk_of, keys_of
from ocs.agent_service.security import Guard
from ocs.agent_service.settings import SecuritySettings
from ocs.errors import IssuerError, UnauthenticatedError
from tests.harness.issuer import FakeIssuer, claims_of, new_key, signed

NEVER = Known()
ENTRY = jwk_of(new_key().public_key())
KEYS = keys_of({"keys": [ENTRY]}, "https://sso")
KID = ENTRY["kid"]
T = 1e6


def known(fetched, tried, trouble=""):
    """What is known at T, with the ages of the last success and the last attempt."""
    return Known(KEYS, None if fetched is None else T - fetched, None if tried is None else T - tried, trouble)


class TestDecisions:
    @pytest.mark.parametrize(
        ("state", "kid", "step"),
        [
            (NEVER, "any", Step.FETCH),
            (Known(tried=T - 4.9, trouble="down"), "any", Step.REFUSE),
            (Known(tried=T - 5, trouble="down"), "any", Step.FETCH),
            (known(1, 1), "own", Step.USE),
            (known(599, 599), "own", Step.USE),
            (known(600, 600), "own", Step.USE_AND_FETCH),
            (known(600, 29), "own", Step.USE),
            (known(700, 30), "own", Step.USE_AND_FETCH),
            (known(12 * 3600 - 1, 30, "down"), "own", Step.USE_AND_FETCH),
            (known(12 * 3600, 4, "down"), "own", Step.REFUSE),
            (known(12 * 3600, 5, "down"), "own", Step.FETCH),
            (known(1, 1), "other", Step.REFUSE),
            (known(29.9, 29.9), "other", Step.REFUSE),
            (known(30, 30), "other", Step.FETCH),
            (known(100, 29, "down"), "other", Step.REFUSE),
        ],
    )
    def test_what_is_done_for_a_request(self, state, kid, step):
        assert (
            decide(state, KID if kid == "own" else kid, T) is step
        )  # the key is another in each process, and names no test

    @given(
        st.lists(st.tuples(st.sampled_from([KID, "other", "third"]), st.floats(0.01, 20), st.booleans()), max_size=60)
    )
    def test_an_issuer_is_asked_at_most_every_half_minute_once_its_keys_are_known(self, requests):
        now, state, attempts = T, known(0, 0), [T]
        for kid, pause, works in requests:
            now += pause
            if decide(state, kid, now) in (Step.FETCH, Step.USE_AND_FETCH):
                attempts.append(now)
                state = Known(KEYS, now if works else state.fetched, now, "" if works else "down")
        assert all(later - earlier >= 30 for earlier, later in pairwise(attempts))


class TestUrls:
    @pytest.mark.parametrize(
        "url", ["https://sso.example.org/realms/a", "http://127.0.0.1:8080", "http://localhost/a", "http://[::1]:1/a"]
    )
    def test_keys_come_by_https_or_from_this_machine(self, url):
        IssuerKeys(url)

    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("http://sso.example.org", "is plain http, where anybody in between can forge keys; use https"),
            ("http://127.0.0.1.example.org", "is plain http"),
            ("http://localhost.example.org", "is plain http"),
            ("ftp://localhost", "is no URL such as"),
            ("file:///etc/passwd", "is no URL such as"),
            ("sso.example.org", "is no URL such as"),
            ("https://", "is no URL such as"),
            ("https://[::1", "is no URL: Invalid IPv6 URL"),
        ],
    )
    def test_and_from_nowhere_else(self, url, said):
        with pytest.raises(IssuerError) as refused:
            IssuerKeys(url)
        assert said in str(refused.value)

    def test_unless_told_to(self):
        IssuerKeys("http://sso.example.org", insecure=True)


@pytest.fixture
def issuer():
    with FakeIssuer() as running:
        yield running


class Clock:
    """Time that the test lets pass."""

    def __init__(self):
        self.now = T

    def __call__(self):
        return self.now


async def refusal(awaitable):
    with pytest.raises(UnauthenticatedError) as refused:
        await awaitable
    assert "\n" not in str(refused.value)
    return refused.value


def run(story):
    """Run a story with a deadline that no wait in it may reach."""
    return asyncio.run(asyncio.wait_for(story, 60))


def kid_of(private):
    return jwk_of(private.public_key())["kid"]


def test_keys_are_fetched_once(issuer):
    async def story():
        keys = IssuerKeys(issuer.url)
        found = await asyncio.gather(*(keys.find(kid_of(issuer.private)) for _ in range(20)))
        assert {key.issuer for key in found} == {issuer.url}
        await keys.close()

    run(story())
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]


def test_an_issuer_with_a_path_and_a_slash_at_the_end(issuer):
    issuer.document = {"issuer": f"{issuer.url}/realms/a"}

    async def story():
        key = await IssuerKeys(f"{issuer.url}/realms/a/").find(kid_of(issuer.private))
        assert key.issuer == f"{issuer.url}/realms/a"  # as it is in its tokens

    run(story())
    assert issuer.asked[0] == "/realms/a/.well-known/openid-configuration"


def test_a_new_key_is_found_and_the_old_one_is_gone(issuer):
    async def story():
        clock = Clock()
        keys = IssuerKeys(issuer.url, clock=clock)
        old = issuer.private
        assert await keys.find(kid_of(old))
        new = issuer.rotate()

        refused = await refusal(keys.find(kid_of(new)))  # asked just now
        assert refused.retry_after == 30
        assert "is not among those of" in str(refused)

        clock.now += 30
        assert await keys.find(kid_of(new))
        clock.now += 30
        assert await keys.find(kid_of(old)) is None

    run(story())
    assert issuer.asked.count("/keys") == 3


def test_many_unknown_names_are_one_question(issuer):
    async def story():
        clock = Clock()
        keys = IssuerKeys(issuer.url, clock=clock)
        assert await keys.find(kid_of(issuer.private))
        for number in range(50):
            clock.now += 0.5
            await refusal(keys.find(f"made-up-{number}"))

    run(story())
    assert issuer.asked.count("/keys") == 1


def test_keys_that_grow_old_are_fetched_beside_the_requests(issuer):
    async def story():
        clock = Clock()
        keys = IssuerKeys(issuer.url, clock=clock)
        old = kid_of(issuer.private)
        assert await keys.find(old)
        issuer.rotate()
        clock.now += 601
        issuer.hold.clear()
        assert await keys.find(old)  # at once, though the issuer does not answer
        issuer.hold.set()
        await asyncio.shield(keys._fetching)
        clock.now += 30
        assert await keys.find(old) is None  # withdrawn, and so out

    run(story())


def test_an_issuer_that_is_away_for_a_while_stops_nobody_who_has_a_token(issuer, caplog):
    async def story():
        clock = Clock()
        keys = IssuerKeys(issuer.url, clock=clock)
        kid = kid_of(issuer.private)
        assert await keys.find(kid)
        issuer.status = 503
        for _ in range(5):
            clock.now += 700
            assert await keys.find(kid)
            await asyncio.shield(keys._fetching)
        clock.now += 12 * 3600
        refused = await refusal(keys.find(kid))
        assert "answers with status 503; it is asked again in 5 s" in str(refused)
        issuer.status = 200
        clock.now += 5
        assert await keys.find(kid)

    with caplog.at_level("INFO", logger=subject.__name__):
        run(story())
    told = [record.levelname for record in caplog.records]
    assert told == ["ERROR", "INFO"]  # the trouble once, and its end


def test_no_issuer_is_a_reason_and_a_time_to_try_again():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"

        async def story():
            guard = Guard(SecuritySettings(issuer=url))
            async with guard:  # starts nevertheless
                token = signed(new_key(), claims_of(url, time.time()))
                return await refusal(guard.authorise(f"Bearer {token}"))

        refused = run(story())
    assert str(refused).startswith(f"tokens cannot be checked: the issuer {url} gives no keys: ")
    assert refused.status == 401
    assert int(refused.headers["Retry-After"]) in range(1, 6)
    assert refused.headers["WWW-Authenticate"] == 'Bearer realm="ocs"'  # the token may be good


def test_an_issuer_that_hangs_does_not_hang_requests(issuer):
    issuer.hold.clear()

    async def story():
        keys = IssuerKeys(issuer.url, deadline=0.3)
        refused = await asyncio.gather(*(refusal(keys.find(f"key-{number}")) for number in range(10)))
        await keys.close()
        return refused

    refused = run(story())
    assert {str(error).partition(";")[0] for error in refused} == {
        f"tokens cannot be checked: the issuer {issuer.url} does not answer within 0.3 s"
    }
    assert len(issuer.asked) == 1


def test_a_caller_that_hangs_up_does_not_break_off_the_fetch_for_others(issuer):
    async def story():
        keys = IssuerKeys(issuer.url)
        issuer.hold.clear()
        first, second = (asyncio.create_task(keys.find(kid_of(issuer.private))) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        issuer.hold.set()
        assert await second

    run(story())


def test_closing_gives_up_a_fetch(issuer):
    async def story():
        issuer.hold.clear()
        before = asyncio.all_tasks()
        async with Guard(SecuritySettings(issuer=issuer.url)):
            assert asyncio.all_tasks() > before
        assert asyncio.all_tasks() == before

    run(story())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"document": {"issuer": "https://other.example.org"}},
            "calls itself 'https://other.example.org'; give that as",
        ),
        ({"document": {"issuer": None}}, "calls itself None"),
        ({"document": {"jwks_uri": None}}, "does not say where its keys are (jwks_uri)"),
        ({"document": {"jwks_uri": "http://sso.example.org/keys"}}, "is plain http"),
        ({"document": {"jwks_uri": "file:///etc/passwd"}}, "is no URL such as"),
        ({"status": 404}, "openid-configuration answers with status 404"),
        ({"status": 302}, "openid-configuration answers with status 302"),
        ({"body": b"<html>"}, "gives no keys: Expecting value"),
        ({"body": b"[]"}, "openid-configuration is no JSON object"),
        ({"body": b"[" * 100_000}, "gives no keys: "),
        ({"body": b" " * ((1 << 20) + 1)}, "answers with more than 1048576 bytes"),
        ({"body": b"\xff"}, "gives no keys: "),
        ({"keys": None}, "gives no keys: it has no list 'keys'"),
    ],
)
def test_an_issuer_with_a_mistake_is_told_in_one_line(issuer, changes, said):
    for name, value in changes.items():
        setattr(issuer, name, value)
    refused = run(refusal(IssuerKeys(issuer.url).find("a")))
    assert said in str(refused)
    assert len(str(refused)) < 700


def test_an_issuer_that_withdraws_all_keys_is_believed(issuer):
    async def story():
        clock = Clock()
        keys = IssuerKeys(issuer.url, clock=clock)
        kid = kid_of(issuer.private)
        assert await keys.find(kid)
        issuer.keys = []
        clock.now += 601
        await keys.find(kid)
        await asyncio.shield(keys._fetching)
        clock.now += 30
        assert await keys.find(kid) is None

    run(story())


def test_a_good_token_of_an_issuer(issuer):
    async def story():
        async with Guard(SecuritySettings(issuer=issuer.url)) as guard:
            return await guard.authorise(f"Bearer {signed(issuer.private, claims_of(issuer.url, time.time()))}")

    assert run(story()).subject == "observer"
