"""From notices to letters that arrive: gathered, kept short, tried again; at real HTTP and SMTP servers."""

import json
import ssl
import subprocess
import threading
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.watcher.alarms import Alarm, Key, Phase
from ocs.agents.watcher.board import Board, Mute, Notice
from ocs.agents.watcher.courier import MAX_AGE, MAX_LETTERS, Courier, pause_after
from ocs.agents.watcher.letters import MOST_IN_A_LETTER, Basket, make_letter, trial_letter
from ocs.agents.watcher.post_office import PostOffice
from ocs.agents.watcher.rules import Email, Target, Webhook
from ocs.agents.watcher.state_file import read_state, state_text, write_state
from ocs.agents.watcher.ways import UndeliveredError, send
from ocs.router.ports import free_port
from tests.harness.notified import MailServer
from tests.harness.notified import Webhook as WebhookServer


def notice(subject="x", what="firing", severity="warning", targets=("ops",), rule="r"):
    return Notice(what, Key(rule, subject), severity, targets, 1.7e9, 1.7e9 + 1, None, "is bad")


def letter(text="hello", time=1e12):
    return {
        "watcher": "obs.watcher",
        "time": time,
        "text": text,
        "summary": text,
        "alarms": [],
        "counts": {},
        "more": 0,
    }


@pytest.fixture
def hook():
    with WebhookServer().running() as running:
        yield running


@pytest.fixture
def mail():
    with MailServer().running() as running:
        yield running


# Gathering


def test_what_comes_together_travels_together_and_the_next_waits_for_the_interval():
    basket = Basket(Target("ops", Webhook("http://x"), interval=60, gather=3))
    basket.put(notice("a"), 100)
    basket.put(notice("b"), 102)
    assert basket.take(102.9) == []
    assert [one.key.subject for one in basket.take(103)] == ["a", "b"]
    basket.put(notice("c"), 110)
    assert basket.take(162.9) == []
    assert [one.key.subject for one in basket.take(163)] == ["c"]
    assert basket.take(1000) == []


def test_of_an_alarm_that_is_over_before_it_was_told_the_end_is_told():
    basket = Basket(Target("ops", Webhook("http://x")))
    basket.put(notice("a"), 0)
    basket.put(notice("a", "resolved"), 1)
    assert [one.what for one in basket.empty(1)] == ["resolved"]


def test_a_thousand_alarms_are_one_letter_with_the_worst_of_them():
    notices = [notice(f"a{number}") for number in range(999)] + [notice("grave", severity="critical")]
    made = make_letter(notices, "obs.watcher")
    assert len(made["alarms"]) == MOST_IN_A_LETTER
    assert made["alarms"][0]["subject"] == "grave"
    assert made["more"] == 1000 - MOST_IN_A_LETTER
    assert made["summary"] == "[critical] 1000 firing: r"
    assert made["text"].endswith("... and 950 more")
    json.dumps(made, allow_nan=False)


def test_a_single_alarm_is_told_in_the_subject():
    made = make_letter([notice("cam", severity="critical", rule="dead")], "obs.watcher")
    assert made["summary"] == "[critical] firing: dead: cam"
    assert made["text"] == "FIRING [critical] dead: cam: is bad (since 2023-11-14 22:13:20 UTC)"


# Delivering


def test_a_webhook_gets_the_letter_and_the_token(hook, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret\n")
    send(Webhook(hook.url, str(token)), letter("grüß"))
    assert hook.items == [letter("grüß")]
    assert hook.headers[0]["Authorization"] == "Bearer secret"
    assert hook.headers[0]["Content-Type"] == "application/json"


@pytest.mark.parametrize(("status", "for_good"), [(404, True), (400, True), (503, False), (429, False), (302, False)])
def test_an_answer_that_is_none_of_the_good_ones(hook, status, for_good):
    hook.answers = [status]
    with pytest.raises(UndeliveredError, match=f"the webhook answers {status}") as raised:
        send(Webhook(hook.url), letter())
    assert raised.value.for_good is for_good


def test_nobody_there_is_told_without_the_address_which_may_be_a_secret():
    with pytest.raises(UndeliveredError, match="the webhook cannot be reached: ") as raised:
        send(Webhook(f"http://127.0.0.1:{free_port()}/secret"), letter())
    assert "secret" not in str(raised.value)
    assert "secret" not in repr(Webhook("http://h/secret"))
    with pytest.raises(UndeliveredError, match="/gone cannot be read"):
        send(Webhook("http://127.0.0.1:1/", "/gone"), letter())


def test_mail_arrives_whatever_is_in_it(mail):
    way = Email("127.0.0.1", "ocs@example.org", ("a@example.org", "b@example.org"), mail.port)
    send(way, {**letter("öl\nbcc: x"), "time": 1.7e9})
    message: EmailMessage = mail.items[0]
    assert message["Subject"] == "obs.watcher: öl bcc: x"
    assert message["To"] == "a@example.org, b@example.org"
    assert message["bcc"] is None
    assert message["Date"] == "Tue, 14 Nov 2023 22:13:20 +0000"
    assert message.get_content().splitlines()[:2] == ["öl", "bcc: x"]


def test_a_mail_server_that_is_not_there_or_offers_no_tls(mail):
    with pytest.raises(UndeliveredError, match="cannot be reached"):
        send(Email("127.0.0.1", "a@b", ("c@d",), free_port()), letter(time=0))
    with pytest.raises(UndeliveredError, match="does not take the mail: STARTTLS"):
        send(Email("127.0.0.1", "a@b", ("c@d",), mail.port, "starttls"), letter(time=0))


@pytest.fixture
def certified(tmp_path, monkeypatch):
    """A server's TLS, with a certificate of its own that this machine has been told to trust."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


@pytest.fixture
def guarded_mail(certified):
    with MailServer(certified, ("ocs", "pass word")).running() as running:
        yield running


def login_way(mail, folder, password):
    file = folder / "password"
    file.write_text(f"{password}\n")
    return Email("127.0.0.1", "ocs@example.org", ("a@example.org",), mail.port, "starttls", "ocs", str(file))


def test_mail_goes_by_starttls_to_a_server_that_asks_who_sends_it(guarded_mail, tmp_path):
    send(login_way(guarded_mail, tmp_path, "pass word"), letter(time=0))
    assert guarded_mail.items[0]["To"] == "a@example.org"


def test_a_wrong_password_is_told_without_it(guarded_mail, tmp_path):
    with pytest.raises(UndeliveredError, match="does not take the mail: ") as raised:
        send(login_way(guarded_mail, tmp_path, "guessed"), letter(time=0))
    assert "guessed" not in str(raised.value)
    assert guarded_mail.items == []


def test_no_mail_goes_to_a_server_whose_certificate_nobody_vouches_for(guarded_mail, tmp_path, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(UndeliveredError, match="certificate verify failed"):
        send(login_way(guarded_mail, tmp_path, "pass word"), letter(time=0))
    assert guarded_mail.items == []


class Door:
    """A way that opens when the test says so."""

    def __init__(self):
        self.error = None
        self.taken = []
        self.knocked = threading.Event()

    def __call__(self, way, letter):
        self.knocked.set()
        if self.error:
            raise self.error
        self.taken.append(letter)


def until(reached):
    pause = threading.Event()
    for _ in range(1000):
        if reached():
            return
        pause.wait(0.01)
    raise AssertionError("what the test waits for has not happened")


@pytest.fixture
def door():
    return Door()


@pytest.fixture
def courier(door):
    made = Courier(Target("ops", Webhook("http://x")), send=door, now=lambda: 1e12)
    yield made
    made.close()
    made.join(5)
    assert not made.is_alive


def test_letters_arrive_in_their_order(courier, door):
    for number in range(5):
        courier.put(letter(str(number)))
    until(lambda: courier.counts.sent == 5)
    assert [one["text"] for one in door.taken] == list("01234")
    assert courier.waiting == []


def test_nobody_opens_at_first(courier, door):
    door.error = UndeliveredError("away")
    courier.put(letter())
    until(lambda: courier.counts.retried)
    assert courier.counts.trouble == "away"
    assert courier.waiting == [letter()]
    door.error = None
    until(lambda: courier.counts.sent == 1)
    assert courier.counts.trouble is None


@pytest.mark.parametrize("error", [UndeliveredError("no", for_good=True), RuntimeError("a bug of somebody's library")])
def test_what_is_refused_for_good_does_not_hold_up_the_rest(courier, door, error):
    door.error = error
    courier.put(letter("bad"))
    until(lambda: courier.counts.dropped == 1)
    door.error = None
    courier.put(letter("good"))
    until(lambda: courier.counts.sent == 1)
    assert [one["text"] for one in door.taken] == ["good"]


def test_what_waits_is_bounded_and_what_is_old_is_dropped(courier, door):
    door.error = UndeliveredError("away")
    courier.put(letter("old", 1e12 - MAX_AGE - 1))
    until(lambda: courier.counts.dropped == 1)
    for number in range(MAX_LETTERS + 7):
        courier.put(letter(str(number)))
    assert len(courier.waiting) == MAX_LETTERS
    assert courier.counts.dropped == 8
    assert courier.waiting[-1]["text"] == str(MAX_LETTERS + 6)


def test_the_pauses_grow_to_a_minute():
    assert [pause_after(failures) for failures in (1, 2, 3, 7, 1000)] == [1, 2, 4, 60, 60]


def test_the_office_keeps_what_has_not_arrived(door):
    door.error = UndeliveredError("away")
    office = PostOffice(
        "obs.watcher", lambda key: "in other words", {"ops": [letter("earlier")], "gone": [letter()]}, send=door
    )
    office.set_targets({"ops": Target("ops", Webhook("http://x"), interval=0, gather=0)})
    office.put([notice("a", targets=("ops", "nobody"))], 0)
    assert office.deliver(0)
    office.put([notice("b")], 1)
    office.set_targets({"ops": Target("ops", Webhook("http://y"), interval=60, gather=0)})
    until(office.troubles)
    office.close(2)
    office.join()
    waiting = office.waiting()
    assert list(waiting) == ["ops"]
    assert [one["text"].partition(" (")[0] for one in waiting["ops"]] == [
        "earlier",
        "FIRING [warning] r: a: in other words",
        "FIRING [warning] r: b: in other words",
    ]
    assert office.counts()["waiting"] == 3


# Keeping

ALARMS = st.dictionaries(
    st.builds(Key, st.text(max_size=5), st.text(max_size=5)),
    st.builds(
        Alarm,
        phase=st.sampled_from(Phase),
        since=st.floats(0, 1e10),
        ripe=st.floats(0, 1e10),
        value=st.none() | st.floats(-1e9, 1e9),
        message=st.text(max_size=9),
        acknowledged_by=st.text(max_size=9),
        comment=st.text(max_size=9),
        acknowledged_at=st.none() | st.floats(0, 1e10),
        told_at=st.none() | st.floats(0, 1e10),
        steps=st.integers(0, 5),
        told=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    ),
    max_size=5,
)
MUTES = st.lists(st.builds(Mute, st.text(max_size=5), st.text(max_size=5), st.floats(0, 1e10), st.text(max_size=5)))


@given(ALARMS, MUTES)
def test_what_is_kept_is_found_again(tmp_path_factory, alarms, mutes):
    board, path = Board(), tmp_path_factory.getbasetemp() / "watcher" / "watcher.json"
    board.restore(alarms, mutes)
    write_state(path, state_text(board, {"ops": [letter()], "none": []}))
    left = read_state(path)
    assert (left.alarms, left.mutes, left.letters, left.trouble) == (alarms, mutes, {"ops": [letter()]}, None)


def test_no_file_is_a_beginning_and_a_damaged_one_is_told(tmp_path):
    path = tmp_path / "watcher.json"
    assert read_state(None).trouble is None
    assert read_state(path).trouble is None
    path.write_text('{"alarms": [{"rule": "r"')
    assert "begin anew" in read_state(path).trouble
    path.write_text("3")
    assert "it is no map" in read_state(path).trouble
    path.write_text('{"alarms": [{"rule": "r"}, 3], "mutes": [[]], "letters": {"ops": [3, {}]}}')
    left = read_state(path)
    assert left.trouble == f"{path} is damaged: 3 of its entries are left out"
    assert left.letters == {"ops": []}


KEYS = st.sampled_from(["alarms", "mutes", "letters", "rule", "subject", "phase", "since", "time"])
ANY_JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
    max_leaves=9,
)


@given(ANY_JSON)
def test_any_json_is_read_or_told(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(value))
    read_state(path)


def test_a_trial_says_that_it_is_one():
    assert "This is a test of obs.watcher" in trial_letter("obs.watcher", 0)["text"]
