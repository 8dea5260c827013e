"""The access director without a router: what it publishes, to whom and when; restarts; trouble with files."""

import json
import stat
from types import SimpleNamespace

import pytest
import yaml
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThread

from ocs.access import AgentSpec, agent_apply_controls, agent_start_access
from ocs.agents.access_director import grants_file
from ocs.agents.access_director.agent import AccessDirector, make_parser
from ocs.agents.access_director.config_file import MAX_RULES, read_config
from ocs.agents.access_director.counter import MOST_AT_A_TIME
from ocs.agents.access_director.grants_file import GrantsFile, read_grants, write_grants
from ocs.core.callers import ITSELF
from ocs.errors import AccessError
from tests.harness.fakes import Log, unconnected_agent
from tests.harness.reactor import SteppedReactor

START = 1000.0
CONFIG = {
    "distrib_hashfunc": "md5",
    "passwords": [{"default": True, "password_1": "", "password_2": "two"}],
    "exclusive_access_blocks": [
        {
            "name": "lock",
            "password": "pw",
            "grants": [{"instance_id": "fake*", "cred_level": 3, "lockout_levels": [1, 2]}],
        },
        {"name": "other", "password": "pw", "grants": [{"default": True, "cred_level": 2}]},
    ],
}


def call_of(session=7, name=None, role="anonymous"):
    return SimpleNamespace(caller=session, caller_authid=name or "random", caller_authrole=role)


class World:
    """A director on a stepped reactor, whose publications are kept."""

    def __init__(self, folder, config=CONFIG, *, in_thread=maybeDeferred, role="anonymous", joined=True):
        self.reactor, self.said, self.folder = SteppedReactor(), [], folder
        self.agent = unconnected_agent(self.reactor)
        self.log = self.agent.log = Log()
        self.agent.publish = lambda topic, message, options: self.said.append((topic, message, options))
        self.file = folder / "acc.yaml"
        if config is not None:
            self.configure(config)
        self.director = AccessDirector(
            self.agent, self.file, folder / "grants.json", clock=self.clock, in_thread=in_thread
        )
        if joined:
            self.join(role=role)
        self.agent.operations.start("manager", None, 4)
        self.reactor.pump()

    def clock(self):
        return START + self.reactor.seconds()

    def configure(self, config):
        self.file.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
        self.file.chmod(0o600)

    def join(self, session=1, role="anonymous"):
        self.agent.fire("join", self.agent, SimpleNamespace(session=session, authrole=role))
        self.agent.realm_joined = True
        self.agent._heartbeat = SimpleNamespace(running=True)

    def leave(self):
        self.agent.realm_joined = False
        self.agent._heartbeat = SimpleNamespace(running=False)

    def pass_time(self, seconds):
        for _ in range(int(seconds * 4)):
            self.reactor.advance(0.25)

    def ask(self, action="acquire", *, name="lock", password="pw", until=50.0, grantee="nina", by=None, **others):
        asked = self.director.request_exclusive(
            grant_name=name,
            password=password,
            action=action,
            expire_at=self.clock() + until,
            grantee=grantee,
            call_details=by or call_of(),
            **others,
        )
        self.reactor.pump()
        return asked.result

    @property
    def session(self):
        return self.agent.sessions["manager"]

    @property
    def messages(self):
        return [arguments[0] for _, arguments, _ in self.said]

    def reload(self):
        self.agent.operations.start("reload_config", None, 1)
        self.reactor.pump()
        return self.agent.sessions["reload_config"]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def levels(message, password, instance_id="fake-1"):
    """Return what an agent makes of a message."""
    from ocs.access import agent_get_creds

    state = agent_start_access("director:test-1", AgentSpec(instance_id, "Fake"), 0.0)
    outcome = agent_apply_controls(message, state, now=0.0)
    return int(agent_get_creds(password, outcome.state.rules, outcome.state.rules.agent)[0])


def test_the_rules_are_told_to_all_at_the_start_and_at_least_once_a_minute(world):
    assert len(world.said) == 1
    topic, (message, envelope), _ = world.said[0]
    assert topic == "observatory.test-1.feeds.controls"
    assert (message["reset"], message["ac_version"]) == (True, 1)
    assert envelope["feed_name"] == "controls"
    assert levels(message, "two") == 2
    world.pass_time(121)
    assert len(world.said) >= 3


def test_a_password_in_the_wrong_place_is_told_nobody(world):
    noted = []
    world.agent.audit = lambda *arguments: noted.append(arguments)
    said = world.ask("S3cretGrant")["error"]
    world.ask(**{"x\n2026 all is well\x1b[2J": 1})
    assert "S3cret" not in repr([said, noted, world.log.lines])
    assert not any(mark in text for _, text in world.log.lines for mark in "\n\x1b")


def test_what_is_misspelt_in_a_block_is_told(tmp_path):
    grants = [{"default": True, "cred_level": 3, "lockout_level": [1]}]
    world = World(tmp_path, {"exclusive_access_blocks": [{"name": "lock", "pasword": "pw", "grants": grants}]})
    told = "\n".join(map(str, world.log.lines))
    assert "pasword is not known" in told
    assert "lockout_level, which is not known" in told


def test_nobody_is_locked_out_of_the_director_itself(tmp_path):
    grants = [{"default": True, "cred_level": 3, "lockout_levels": [1, 2, 3]}]
    world = World(
        tmp_path, {**CONFIG, "exclusive_access_blocks": [{"name": "all", "password": "pw", "grants": grants}]}
    )
    rules = []
    world.agent.access.adopt = lambda message, _: rules.append(message)
    assert "password" in world.ask(name="all", until=10)
    assert levels(world.said[-1][1][0], "two") == 0
    assert levels(rules[-1], "two") == 2


def test_after_a_reconnect_all_are_told_within_a_second(world):
    world.leave()
    world.pass_time(10)
    world.said.clear()
    world.join(session=2)
    world.pass_time(1)
    assert len(world.said) == 1


def test_a_grant_that_ends_while_the_router_is_away_is_over_for_all_when_it_is_back(world):
    world.ask(until=10)
    world.leave()
    world.pass_time(20)
    assert levels(world.messages[-1], "two") == 0
    world.join(session=2)
    world.pass_time(1)
    assert levels(world.messages[-1], "two") == 2


def test_an_agent_that_asks_is_told_its_own_rules_and_nobody_else(world):
    world.ask()
    world.said.clear()
    assert world.director.agent_poll("lab", "Other", call_details=call_of(session=99)) is True
    ((_, (message, _), options),) = world.said
    assert (message["target"], options.eligible) == ("lab", [99])
    assert [rule["lockout_id"] for rule in message["rules"]] == [None, None]


@pytest.mark.parametrize("arguments", [(), (5, "x"), ("x", 5), ("x" * 300, "x"), (None, None), (["x"], "y")])
def test_a_poll_that_makes_no_sense_is_answered_with_no(world, arguments):
    world.said.clear()
    assert world.director.agent_poll(*arguments, call_details=call_of()) is False
    assert world.said == []


def test_an_open_site_keeps_nobody_from_the_rules_and_a_closed_one_all_but_agents(tmp_path):
    for role, roles in (("anonymous", None), ("director", ["agent", "director"])):
        folder = tmp_path / role
        folder.mkdir()
        world = World(folder, role=role)
        assert [options.eligible_authrole for _, _, options in world.said] == [roles]


def test_a_grant_locks_out_until_it_is_over(world):
    answer = world.ask()
    assert set(answer) == {"message", "grant_name", "expire_at", "password", "step"}
    message = world.messages[-1]
    assert message["step"] == answer["step"]
    assert levels(message, answer["password"]) == 3
    assert levels(message, "two") == 0
    assert levels(message, "two", "lab") == 2
    world.pass_time(50.25)
    assert levels(world.messages[-1], "two") == 2
    assert world.session.data == {"grants": []}
    assert any("expired" in line for line in world.log.of("info"))


def test_a_grant_ends_when_it_says_and_not_at_the_next_look(tmp_path):
    world = World(tmp_path)
    world.ask(until=0.3)
    world.said.clear()
    world.reactor.advance(0.29)
    assert world.said == []
    world.reactor.advance(0.02)
    assert len(world.said) == 1


def test_renewing_tells_agents_nothing_and_releasing_at_once(world):
    world.ask()
    world.said.clear()
    assert world.ask("renew", until=500)["expire_at"] == START + 500
    assert world.said == []
    assert world.ask("release")["message"] == "grant released"
    assert levels(world.messages[-1], "two") == 2


@pytest.mark.parametrize("action", ["renew", "release"])
def test_only_the_holder_renews_and_releases(world, action):
    world.ask()
    assert "only the holder" in world.ask(action, grantee="otto")["error"]
    assert len(world.session.data["grants"]) == 1


@pytest.mark.parametrize("action", ["renew", "release"])
def test_at_a_closed_site_the_holder_is_who_has_proved_it(tmp_path, action):
    world = World(tmp_path, role="director")
    nina, otto = call_of(1, "nina", "client"), call_of(2, "otto", "client")
    world.ask(by=nina)
    assert "only the holder" in world.ask(action, by=otto)["error"]
    assert "error" not in world.ask(action, by=call_of(3, "nina", "client"))


def test_at_a_closed_site_those_locked_out_are_told_who_it_really_is(tmp_path):
    world = World(tmp_path, role="director")
    world.ask(grantee="boss", by=call_of(1, "otto", "client"))
    assert world.session.data["grants"][0]["rules"][0]["lockout_owner"] == "boss (otto)"


def test_no_hash_is_in_what_everybody_may_ask_for(world):
    answer = world.ask()
    shown = json.dumps(world.session.encoded())
    hashes = {rule["hashed_pass"]["value"] for rule in world.messages[-1]["rules"]} - {""}
    assert hashes
    assert not any(value in shown for value in (*hashes, answer["password"], "pw"))


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ({"password": "no"}, "wrong password"),
        ({"name": "nope"}, "there is no grant 'nope'"),
        ({"action": "steal"}, "action is none of"),
        ({"until": -5}, "ago"),
        ({"until": 1e6}, "86400 s at most"),
        ({"verbose": 1}, "unknown arguments: ['verbose']"),
    ],
)
def test_a_request_that_is_refused_changes_nothing_and_says_why(world, request_, why):
    step, said = world.director.book.step, len(world.said)
    assert why in world.ask(**request_)["error"]
    assert (world.director.book.step, len(world.said)) == (step, said)


def test_the_longest_time_is_configurable(tmp_path):
    world = World(tmp_path, {**CONFIG, "longest_grant": 30})
    assert "30 s at most" in world.ask(until=31)["error"]
    assert "error" not in world.ask(until=29)


def test_who_guesses_has_to_wait_and_the_password_is_right_again_soon(world):
    answers = [world.ask(password=f"guess-{n}")["error"] for n in range(20)]
    assert sum(answer.startswith("wrong password") for answer in answers) == 5
    assert "too many" in world.ask()["error"]
    world.pass_time(2)
    assert "error" not in world.ask()


def test_a_stranger_does_not_hold_up_who_has_a_key(world):
    for n in range(20):
        world.ask(password=f"guess-{n}")
    assert "error" not in world.ask(by=call_of(8, "nina", "client"))


def test_refusals_do_not_fill_the_log(world):
    for n in range(1000):
        world.ask(password=f"guess-{n}")
    assert len(world.log.of("warn")) <= 3


def test_what_is_too_much_at_a_time_is_refused(tmp_path):
    waiting = []

    def in_thread(function, *arguments, **keywords):
        if function.__name__ != "director_get_access_rules":
            return maybeDeferred(function, *arguments, **keywords)
        waiting.append(Deferred())
        return waiting[-1]

    world = World(tmp_path, {**CONFIG, "distrib_hashfunc": "argon2id"}, in_thread=in_thread)
    asked = [
        world.director.request_exclusive("lock", "pw", "acquire", None, str(n), call_details=call_of())
        for n in range(MOST_AT_A_TIME + 1)
    ]
    assert len(waiting) == MOST_AT_A_TIME
    assert "under way" in asked[-1].result["error"]
    for each in waiting:
        each.callback(("secret", []))
    assert sum("error" not in each.result for each in asked) == 1


def test_what_takes_time_is_done_in_a_thread(tmp_path):
    def in_thread(function, *arguments, **keywords):
        slow.append(function.__name__)
        return maybeDeferred(function, *arguments, **keywords)

    slow = []
    config = {**CONFIG, "distrib_hashfunc": "argon2id"}
    config["exclusive_access_blocks"][0]["password"] = "pw"
    World(tmp_path, config, in_thread=in_thread).ask()
    assert {"read_config", "read_grants", "write_grants", "director_get_access_rules"} <= set(slow)


def test_every_request_is_audited_with_who_and_without_passwords(world):
    noted = []
    world.agent.audit = lambda *arguments: noted.append(arguments)
    password = world.ask(by=call_of(3, "nina", "client"), until=10)["password"]
    world.ask("release", grantee="otto")
    world.ask(["x"], name=5, password="geheim")
    world.pass_time(11)
    assert [(action, subject, caller.name, code) for action, subject, caller, _, code, _ in noted] == [
        ("acquire", "lock", "nina", 0),
        ("release", "lock", None, -1),
        ("request", "5", None, -1),
        ("expire", "lock", None, 0),
    ]
    assert not any(secret in str(noted) for secret in (password, "geheim", "pw"))


# Restarts


def test_grants_survive_a_restart_and_the_expired_do_not(tmp_path):
    first = World(tmp_path)
    password = first.ask(until=300)["password"]
    first.ask(name="other", until=0.5)
    second = World(tmp_path)
    assert [grant["name"] for grant in second.session.data["grants"]] == ["lock", "other"]
    second.pass_time(1)
    assert [grant["name"] for grant in second.session.data["grants"]] == ["lock"]
    assert levels(second.messages[-1], password) == 3
    assert "error" not in second.ask("release")
    assert World(tmp_path).session.data == {"grants": []}


def test_the_file_is_its_owners_alone_and_has_no_password(world):
    password = world.ask()["password"]
    path = world.folder / "grants.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert password not in path.read_text()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"grants": 5}', '{"grants": [{"name": 5}]}', "\x00", "[" * 100_000, '{"grants": [{}]}']
)
def test_a_damaged_file_is_a_line_in_the_log_and_no_more(tmp_path, content):
    (tmp_path / "grants.json").write_text(content)
    world = World(tmp_path)
    assert any("cannot be read" in line for line in world.log.of("error"))
    assert "error" not in world.ask()


def test_with_a_full_disk_it_serves_on_and_says_so_once(world, monkeypatch):
    def full(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(grants_file, "write_grants", full)
    assert "error" not in world.ask()
    world.pass_time(60)
    assert world.session.degraded
    assert len([line for line in world.log.of("error") if "No space left" in line]) == 1
    monkeypatch.undo()
    world.pass_time(11)
    assert not world.session.degraded
    assert [grant.name for grant in read_grants(world.folder / "grants.json")[0]] == []


def test_a_disk_that_hangs_does_not_hold_an_answer_up(tmp_path):
    def in_thread(function, *arguments, **keywords):
        return Deferred() if function is write_grants else maybeDeferred(function, *arguments, **keywords)

    world = World(tmp_path, in_thread=in_thread)
    asked = world.director.request_exclusive("lock", "pw", "acquire", None, "nina", call_details=call_of())
    assert not asked.called
    world.pass_time(2)
    assert "error" not in asked.result


def test_the_latest_is_written_last_however_slow_the_disk(tmp_path):
    begun = []

    def in_thread(function, path, text):
        begun.append((text, done := Deferred()))
        return done

    file = GrantsFile(tmp_path / "x", in_thread)
    saved = [file.save(text) for text in "abc"]
    assert [text for text, _ in begun] == ["a"]
    begun[0][1].callback(None)
    assert [text for text, _ in begun] == ["a", "c"]
    assert [each.called for each in saved] == [True, False, False]
    begun[1][1].callback(None)
    assert all(each.called for each in saved)


# The configuration


def test_a_mistake_leaves_the_rules_in_force(world):
    world.configure("passwords: 5")
    world.said.clear()
    session = world.reload()
    assert (session.success, world.session.degraded) == (False, True)
    assert "stay as they are" in session.messages[-2][1] + session.messages[-1][1]
    world.pass_time(60)
    assert levels(world.messages[-1], "two") == 2


def test_without_a_configuration_agents_keep_what_they_have(tmp_path):
    world = World(tmp_path, None)
    world.pass_time(120)
    assert world.said == []
    assert world.session.degraded
    assert "not read its configuration" in world.ask()["error"]
    world.configure(CONFIG)
    assert world.reload().success
    assert not world.session.degraded
    assert len(world.said) == 1


def test_grants_of_an_earlier_run_wait_for_a_configuration_without_mistakes(tmp_path):
    World(tmp_path).ask(until=300)
    (tmp_path / "acc.yaml").write_text("- [")
    second = World(tmp_path, None)
    second.pass_time(30)
    second.configure(CONFIG)
    second.reload()
    assert [grant["name"] for grant in second.session.data["grants"]] == ["lock"]


def test_a_grant_whose_block_is_gone_ends(world):
    world.ask()
    world.configure({**CONFIG, "exclusive_access_blocks": []})
    assert world.reload().success
    assert world.session.data == {"grants": []}
    assert levels(world.messages[-1], "two") == 2


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a: [geheim", "is not YAML"),
        (b"\xff\xfe\x00", "is not YAML"),
        (b"5", "must be a map"),
        (b"x: &a [*a, geheim]\npasswords: geheim", "passwords is of type str"),
        (b"a" * (4 * 1024 * 1024 + 1), "is longer than"),
        (b"longest_grant: -1", "longest_grant is -1"),
        (b"longest_grant: .nan", "longest_grant is nan"),
        (yaml.safe_dump({"passwords": [{"instance_id": "x" * 10**6, "password_2": "x"}]}).encode(), "shorter patterns"),
        (
            yaml.safe_dump({"passwords": [{"default": True, "password_2": "x"}] * (MAX_RULES + 1)}).encode(),
            "is the most",
        ),
    ],
)
def test_a_mistake_in_the_file_is_one_line_that_names_it_and_no_password(tmp_path, content, why):
    path = tmp_path / "acc.yaml"
    path.write_bytes(content)
    with pytest.raises(AccessError, match=why) as caught:
        read_config(path, bytes(16))
    assert str(caught.value).startswith(str(path)) or "cannot read" in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_as_many_rules_as_may_be_fit_into_one_message(tmp_path):
    rules = [
        {"instance_id": f"instance-{n:05}", "agent_class": "SomeAgent*", "password_2": "x" * 20}
        for n in range(MAX_RULES)
    ]
    world = World(tmp_path, {"passwords": rules, "distrib_hashfunc": "argon2id"})
    assert len(world.messages[-1]["rules"]) == MAX_RULES
    world.agent.feeds["controls"].pack_message(world.messages[-1])


def test_short_hashes_are_warned_of_at_each_start_and_slow_ones_are_not(tmp_path):
    for name, warned in (("md5", True), ("argon2id", False)):
        folder = tmp_path / name
        folder.mkdir()
        world = World(folder, {**CONFIG, "distrib_hashfunc": name})
        assert any("distrib_hashfunc is md5" in line for line in world.log.of("warn")) is warned


def test_what_is_probably_not_meant_is_said_once_a_reading(tmp_path, caplog):
    world = World(tmp_path, {**CONFIG, "pasword": 5})
    assert len([line for line in world.log.of("warn") if "pasword is not known" in line]) == 1
    assert "pasword" not in caplog.text


def test_a_file_for_everybody_is_warned_of(tmp_path):
    world = World(tmp_path)
    assert not any("chmod 600" in line for line in world.log.of("warn"))
    world.file.chmod(0o644)
    world.reload()
    assert any("chmod 600" in line for line in world.log.of("warn"))


# Its own operations


def test_it_ends_when_it_is_asked_to_and_begins_again(world):
    world.agent.operations.end_early("manager", "stop", None)
    world.reactor.pump()
    assert world.session.success
    world.said.clear()
    world.pass_time(120)
    assert world.said == []
    world.agent.operations.start("manager", None, 4)
    world.reactor.pump()
    assert len(world.said) == 1


def test_stopping_it_takes_level_3_and_it_goes_by_its_own_rules(tmp_path):
    world = World(tmp_path)
    assert world.agent.operations.find("manager").min_privs == 3
    assert world.agent.access.check("", 1, "start", "reload_config", ITSELF)[1] == ""


def test_the_arguments():
    assert make_parser().parse_args([]).config_file == "access-director.yaml"
    assert make_parser().parse_args(["--config-file", "x"]).config_file == "x"


def test_a_thousand_polls_keep_nothing(world):
    for n in range(3000):
        world.director.agent_poll(f"a-{n}", "x", call_details=call_of(n))
    assert len(world.director.book._ready) <= 1024


def test_threads_are_what_is_used_by_default():
    assert AccessDirector.__init__.__kwdefaults__["in_thread"] is deferToThread
