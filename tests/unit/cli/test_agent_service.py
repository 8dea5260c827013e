"""`ocs-agent-service` as its users type it: keys, tokens, and what is asked of a running service."""

import asyncio
import json
import os
import subprocess
import sys

import pytest

from ocs.agent_service.security import Guard
from ocs.agent_service.settings import SecuritySettings
from ocs.cli import agent_service, agent_service_requests
from ocs.cli.agent_service_keys import span
from ocs.errors import AgentServiceError, OCSError

SITE = ["--site", "none", "--site-hub", "ws://127.0.0.1:9/ws", "--site-realm", "r", "--address-root", "observatory"]


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """A home, and no variables of the tester's own."""
    for name in ("OCS_AGENT_SERVICE_URL", "OCS_AGENT_SERVICE_TOKEN", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OCS_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("LOGNAME", "ana")


@pytest.fixture
def run(capsys):
    """Run the program: returns exit code, output and the one line of error."""

    def call(*words):
        try:
            code = agent_service.main([str(word) for word in words])
        except SystemExit as ended:
            code = ended.code
        out, err = capsys.readouterr()
        assert err.count("\n") <= 1
        return code, out.strip(), err.partition(": ")[2].strip()

    return call


def whom(token, **settings):
    """Return whom a service takes a token for."""
    return asyncio.run(Guard(SecuritySettings(**settings)).authorise(f"Bearer {token}"))


class TestInit:
    def test_keys_and_what_to_do_next(self, run, tmp_path):
        code, out, _ = run("init")
        first, second = out.splitlines()
        assert code == 0
        assert first.startswith(f"made the keys in {tmp_path / 'config' / 'agent-service-keys'} (now ")
        assert second == "next: `ocs-agent-service start`, and `ocs-agent-service token --expires 8h`"

    def test_without_a_config_folder_they_are_in_the_home_folder(self, run, tmp_path, monkeypatch):
        monkeypatch.delenv("OCS_CONFIG_DIR")
        assert str(tmp_path / "home" / ".config" / "ocs" / "agent-service-keys") in run("init")[1]

    def test_another_folder(self, run, tmp_path):
        _, out, _ = run("init", "--key-folder", tmp_path / "k")
        assert f"`ocs-agent-service start --key-folder {tmp_path / 'k'}`" in out
        assert (tmp_path / "k" / "private.pem").exists()

    def test_for_machines(self, run, tmp_path):
        told = json.loads(run("init", "--json", "--algorithm", "RS256")[1])
        assert (told["folder"], told["keys"]) == (str(tmp_path / "config" / "agent-service-keys"), 1)
        assert told["algorithm"] == "RS256"

    def test_a_second_time_it_refuses(self, run):
        run("init")
        code, out, err = run("init")
        assert (code, out) == (1, "")
        assert "has keys; --rotate makes new ones and lets tokens run out, --force ends all tokens" in err

    def test_rotate_keeps_tokens_and_force_ends_them(self, run):
        run("init")
        token = run("token")[1]
        assert run("init", "--rotate")[1].startswith("rotated the keys in ")
        assert whom(token).subject == "ana"
        assert run("init", "--force")[0] == 0
        with pytest.raises(OCSError, match="key is none of its issuer's"):
            whom(token)

    def test_not_both(self, run):
        assert run("init", "--rotate", "--force")[0] == 2

    def test_nothing_to_rotate(self, run):
        code, _, err = run("init", "--rotate")
        assert code == 1
        assert "`ocs-agent-service init` makes them" in err


class TestToken:
    def test_a_token_alone_on_the_line(self, run):
        run("init")
        code, out, err = run("token")
        assert (code, err) == (0, "")
        identity = whom(out)
        assert (identity.subject, identity.roles) == ("ana", ("esw-user",))

    def test_what_it_says(self, run):
        run("init")
        words = ("--role", "esw-user", "--role", "observer", "--expires", "30min", "--subject", "shift 2", "--json")
        told = json.loads(run("token", *words)[1])
        token = told.pop("token")
        assert told == {
            "subject": "shift 2", "roles": ["esw-user", "observer"], "expires_in": 1800.0,
            "audience": "ocs-agent-service",
        }  # fmt: skip
        assert whom(token).roles == ("esw-user", "observer")

    def test_for_a_service_with_settings_of_its_own(self, run):
        run("init")
        token = run("token", "--audience", "tmt", "--role-claim", "groups", "--role", "ops")[1]
        assert whom(token, audience="tmt", role_claim="groups", role="ops").subject == "ana"

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--expires", "8"), "argument --expires: '8' is no time span such as 90s, 30min, 8h or 7d"),
            (("--expires", "0h"), "argument --expires: '0h' is no time span"),
            (("--expires", "-8h"), "argument --expires: expected one argument"),
            (("--expires", "8 h"), "argument --expires: '8 h' is no time span"),
            (("--subject", " "), "argument --subject: ' ' is no name"),
            (("--subject", "a\nb"), "argument --subject: 'a\\nb' is no name"),
        ],
    )
    def test_mistakes(self, run, words, said):
        code, _, err = run("token", *words)
        assert code == 2
        assert err.startswith(said)

    def test_a_token_for_too_long(self, run):
        run("init")
        assert run("token", "--expires", "91d") == (1, "", "a token holds for at most 90 days")

    def test_before_init(self, run):
        code, _, err = run("token")
        assert code == 1
        assert "`ocs-agent-service init` makes them" in err

    @pytest.mark.parametrize(
        ("word", "seconds"), [("90s", 90), ("30min", 1800), ("5m", 300), ("8h", 28800), ("7d", 604800), ("1.5h", 5400)]
    )
    def test_spans(self, word, seconds):
        assert span(word) == seconds


class TestStart:
    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])
    def test_without_authentication_it_listens_on_loopback_only(self, run, host):
        code, _, err = run("start", "--no-auth", "--host", host, *SITE)
        assert code == 2
        assert err.startswith(f"--no-auth listens on a loopback address only, and {host} is none")

    def test_without_keys_it_does_not_start(self, run):
        code, _, err = run("start", *SITE)
        assert code == 1
        assert "`ocs-agent-service init` makes them" in err

    def test_an_issuer_in_plain_http(self, run):
        code, _, err = run("start", "--issuer", "http://sso.example.org/realms/a", *SITE)
        assert code == 1
        assert "is plain http, where anybody in between can forge keys; use https" in err

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--issuer", "https://a", "--key-folder", "k"), "--issuer does not go with --key-folder"),
            (("--no-auth", "--issuer", "https://a"), "--no-auth goes with neither --issuer nor --key-folder"),
            (("--no-auth", "--key-folder", "k"), "--no-auth goes with neither --issuer nor --key-folder"),
            (("--port", "65536"), "argument --port: '65536' is no port from 0 to 65535"),
        ],
    )
    def test_what_does_not_go_together(self, run, words, said):
        code, _, err = run("start", *words, *SITE)
        assert code == 2
        assert err.startswith(said)

    def test_without_a_site(self, run):
        run("init")
        code, _, err = run("start", "--site", "none")
        assert (code, err) == (
            1, "With --site none the agent service needs --site-hub, --site-realm, --address-root too"
        )  # fmt: skip

    def settings(self, *words):
        return agent_service.settings_of(agent_service.make_parser().parse_args(["start", *words]))

    def test_what_the_service_is_told(self, tmp_path):
        told = self.settings(
            *SITE, "--host", "0.0.0.0", "--port", "0", "--role", "ops", "--audience", "tmt", "--role-claim", "groups",
            "--state-dir", str(tmp_path),
        )  # fmt: skip
        assert (told.hub.wamp_server, told.hub.wamp_realm, told.hub.address_root) == (
            "ws://127.0.0.1:9/ws", "r", "observatory"
        )  # fmt: skip
        assert (told.host, told.port, told.audit_log) == ("0.0.0.0", 0, tmp_path / "agent-service-audit.jsonl")
        assert told.security == SecuritySettings(
            key_folder=tmp_path / "config" / "agent-service-keys", role="ops", audience="tmt", role_claim="groups"
        )

    def test_the_site_file_says_where_the_router_is(self, site_args):
        told = self.settings(*site_args(h1={}), "--issuer", "https://sso.example.org")
        assert told.hub.wamp_realm == "test_realm"
        assert (told.security.issuer, told.security.key_folder) == ("https://sso.example.org", None)


def component(prefix, kind="SequenceComponent"):
    return {"prefix": prefix, "componentType": kind}


STATUS = {
    "_type": "Success",
    "agentStatus": [
        {
            "agentId": component("ESW.machine1", "Machine"),
            "seqCompsStatus": [
                {
                    "seqCompId": component("ESW.primary"),
                    "sequencerLocation": [
                        {
                            "_type": "WampLocation",
                            "connection": {**component("ESW.IRIS_darknight", "Sequencer"), "connectionType": "wamp"},
                            "uri": "observatory.components.Sequencer.ESW.IRIS_darknight",
                            "metadata": {},
                        }
                    ],
                },
                {"seqCompId": component("ESW.second"), "sequencerLocation": []},
            ],
        },
        {"agentId": component("ESW.machine2", "Machine"), "seqCompsStatus": []},
    ],
    "seqCompsWithoutAgent": [{"seqCompId": component("ESW.by_hand"), "sequencerLocation": []}],
}


class FakeService:
    """A service that knows one machine, and remembers what was asked."""

    def __init__(self):
        self.status = STATUS
        self.asked = []
        self.tokens = []
        self.earlier = []
        self.asked_for_status = 0

    def agent_status(self):
        self.asked_for_status += 1
        answer = self.earlier.pop(0) if self.earlier else self.status
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _spawn(self, *asked):
        self.asked.append(asked)
        if asked[1] != "ESW.machine1":
            return {"_type": "Failed", "msg": f"there is no SpawnAgent {asked[1]}"}
        return {"_type": "Spawned"}

    def spawn_sequence_component(self, agent_prefix, name, version=None):
        return self._spawn("sequence-component", agent_prefix, name, version)

    def spawn_sequence_manager(self, agent_prefix, obs_mode_config_path, is_config_local, version=None):
        return self._spawn("sequence-manager", agent_prefix, obs_mode_config_path, is_config_local, version)

    def spawn_agent(self, agent_prefix, instance_id):
        return self._spawn("agent", agent_prefix, instance_id)

    def spawn_containers(self, agent_prefix, host_config_path, is_config_local):
        answer = self._spawn("containers", agent_prefix, host_config_path, is_config_local)
        good = {"_type": "Spawned"}
        bad = {"_type": "Failed", "msg": "it is there already,\non machine2"}
        return answer if answer["_type"] == "Failed" else {"_type": "Completed", "res": {"ESW.b": bad, "ESW.a": good}}

    def kill_component(self, component_id):
        self.asked.append(("kill", component_id))
        if component_id["prefix"] == "ESW.gone":
            raise OCSError("ESW.gone is not there")
        return {"_type": "Killed"}


@pytest.fixture
def service(monkeypatch):
    made = FakeService()

    def client(args, token=None):
        made.tokens.append(token)
        return made

    monkeypatch.setattr(agent_service_requests, "_client", client)
    return made


class TestStatus:
    def test_a_row_for_each_component(self, run, service):
        code, out, _ = run("status")
        assert code == 0
        assert [line.split() for line in out.splitlines()[1:]] == [
            ["ESW.machine1", "ESW.primary", "ESW.IRIS_darknight"],
            ["ESW.machine1", "ESW.second", "-"],
            ["ESW.machine2", "-", "-"],
            ["-", "ESW.by_hand", "-"],
        ]

    def test_it_needs_no_token(self, run, service, monkeypatch):
        monkeypatch.setenv("OCS_AGENT_SERVICE_TOKEN", "abc")
        run("status")
        assert service.tokens == [None]

    def test_for_machines(self, run, service):
        assert json.loads(run("status", "--json")[1]) == STATUS

    def test_nothing_there(self, run, service):
        service.status = {"_type": "Success", "agentStatus": [], "seqCompsWithoutAgent": []}
        assert run("status") == (0, "no SpawnAgent and no sequence component is there", "")

    def test_waiting_for_spawn_agents(self, run, service):
        assert run("status", "--wait", "ESW.machine1", "esw.machine2")[0] == 0
        assert service.asked_for_status == 1

    def test_waiting_for_one_that_comes_later(self, run, service):
        empty = {"_type": "Success", "agentStatus": [], "seqCompsWithoutAgent": []}
        service.earlier = [AgentServiceError("refused", status=503), empty]
        assert "ESW.machine2" in run("status", "--wait", "ESW.machine2")[1]
        assert service.asked_for_status == 3

    def test_waiting_for_what_is_no_name(self, run, service):
        code, _, err = run("status", "--wait", "machine1")
        assert (code, err.startswith("--wait: 'machine1' is no prefix")) == (1, True)

    def test_a_service_that_cannot_tell(self, run, service):
        service.status = {"_type": "LocationServiceError", "reason": "the router is away"}
        assert run("status") == (1, "", "the router is away")


class TestSpawn:
    @pytest.mark.parametrize(
        ("words", "asked"),
        [
            (("sequence-component", "ESW.machine1", "primary"), ("ESW.machine1", "primary", None)),
            (("sequence-component", "ESW.machine1", "p", "--version", "2"), ("ESW.machine1", "p", "2")),
            (("sequence-manager", "ESW.machine1", "modes.yaml"), ("ESW.machine1", "modes.yaml", True, None)),
            (("sequence-manager", "ESW.machine1", "m", "--shared"), ("ESW.machine1", "m", False, None)),
            (("agent", "ESW.machine1", "fake-1"), ("ESW.machine1", "fake-1")),
        ],
    )
    def test_each_kind(self, run, service, words, asked):
        assert run("spawn", *words) == (0, "spawned by ESW.machine1", "")
        assert service.asked == [(words[0], *asked)]

    def test_a_list_of_components(self, run, service):
        code, out, _ = run("spawn", "containers", "ESW.machine1", "host.json")
        assert code == 1  # one of them failed
        assert [line.split(maxsplit=1) for line in out.splitlines()[1:]] == [
            ["ESW.a", "spawned"], ["ESW.b", "failed: it is there already,\\non machine2"]
        ]  # fmt: skip

    def test_a_failure_is_one_line(self, run, service):
        assert run("spawn", "agent", "ESW.other", "fake-1") == (1, "", "there is no SpawnAgent ESW.other")

    def test_a_failure_for_machines(self, run, service):
        code, out, _ = run("spawn", "agent", "ESW.other", "fake-1", "--json")
        assert code == 1
        assert json.loads(out) == {"_type": "Failed", "msg": "there is no SpawnAgent ESW.other"}

    def test_a_kind_is_needed(self, run, service):
        assert run("spawn")[0] == 2


class TestKill:
    def test_a_sequence_component_unless_said_otherwise(self, run, service):
        assert run("kill", "ESW.primary") == (0, "killed ESW.primary", "")
        assert service.asked == [("kill", component("ESW.primary"))]

    def test_another_type(self, run, service):
        assert run("kill", "ESW.sequence_manager", "--type", "Service", "--json")[0] == 0
        assert service.asked == [("kill", component("ESW.sequence_manager", "Service"))]

    def test_what_is_not_there(self, run, service):
        assert run("kill", "ESW.gone") == (1, "", "ESW.gone is not there")


class TestTokensForRequests:
    def test_one_is_made_where_the_keys_are(self, run, service):
        run("init")
        run("kill", "ESW.primary")
        assert whom(service.tokens[0]).subject == "ana"

    def test_none_where_they_are_not(self, run, service):
        run("kill", "ESW.primary")
        assert service.tokens == [None]

    def test_the_environment_has_one(self, run, service, monkeypatch):
        run("init")
        monkeypatch.setenv("OCS_AGENT_SERVICE_TOKEN", " a.b.c\n")
        run("kill", "ESW.primary")
        assert service.tokens == ["a.b.c"]

    def test_a_file_has_one(self, run, service, monkeypatch, tmp_path):
        monkeypatch.setenv("OCS_AGENT_SERVICE_TOKEN", "other")
        (tmp_path / "token").write_text("a.b.c\n")
        run("kill", "ESW.primary", "--token-file", tmp_path / "token")
        assert service.tokens == ["a.b.c"]

    @pytest.mark.parametrize(
        ("content", "said"), [(None, "cannot be read: No such file"), ("\n", "is empty, and is to")]
    )
    def test_a_file_that_has_none(self, run, service, tmp_path, content, said):
        if content is not None:
            (tmp_path / "token").write_text(content)
        code, _, err = run("kill", "ESW.primary", "--token-file", tmp_path / "token")
        assert code == 1
        assert said in err
        assert service.asked == []

    def test_a_key_folder_that_was_asked_for_has_to_be_there(self, run, service, tmp_path):
        code, _, err = run("kill", "ESW.primary", "--key-folder", tmp_path / "k")
        assert code == 1
        assert "`ocs-agent-service init` makes them" in err


@pytest.mark.parametrize(
    "words", [[], ["start"], ["init"], ["token"], ["status"], ["spawn"], ["spawn", "agent"], ["kill"]]
)
def test_help(run, words):
    code, out, _ = run(*words, "--help")
    assert code == 0
    assert out.startswith("usage: ocs-agent-service")


def test_what_the_service_needs_is_named_where_it_is_not_installed(tmp_path):
    (tmp_path / "jwt.py").write_text("raise ModuleNotFoundError(\"No module named 'jwt'\", name='jwt')\n")
    done = subprocess.run(
        [sys.executable, "-m", "ocs.cli.agent_service", "init", "--key-folder", tmp_path / "k"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.endswith(": the agent service needs more packages (jwt): pip install 'ocs[agent-service]'\n")
