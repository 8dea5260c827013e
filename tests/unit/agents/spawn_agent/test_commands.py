"""The command lines of components: exact, without a shell, and never with more than one word for one value."""

import socket
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ocs
from ocs.agents.spawn_agent.children import child_name
from ocs.agents.spawn_agent.commands import Commands, child_environment
from ocs.agents.spawn_agent.requests import ConfigFile, spawn_request
from ocs.errors import InvalidRequestError, SiteConfigError, SpawnError

SITE = """
hub:
  wamp_server: ws://localhost:8001/ws
  wamp_http: http://localhost:8001/call
  wamp_realm: test_realm
  address_root: observatory
hosts:
  HOST:
    agent-instances:
      - {agent-class: FakeDataAgent, instance-id: fake-1, arguments: []}
"""

AGENT_CLI = (sys.executable, "-m", "ocs.agent_cli")


@pytest.fixture
def commands(tmp_path):
    return Commands("ESW.machine1", tmp_path, site_words=("--site-http=http://router/call",), mark="state")


@pytest.fixture
def site_commands(tmp_path):
    path = tmp_path / "site" / "default.yaml"
    path.parent.mkdir()
    path.write_text(SITE.replace("HOST", socket.gethostname()))
    return Commands("ESW.machine1", tmp_path, site_file=str(path), config_dir=tmp_path / "shared")


def wanted(**request):
    return spawn_request(request, "ESW")


def made(commands, **request):
    one = wanted(**request)
    return commands.make(child_name(one.component), one)


def test_a_sequence_component_is_started_by_its_class(commands, tmp_path):
    command = made(commands, kind="SequenceComponent", componentName="primary")
    assert command.name == "SequenceComponent.ESW.primary"
    assert command.argv == (
        *AGENT_CLI,
        "--agent-class=SequenceComponent",
        "--instance-id=seqcomp-esw-primary",
        "--prefix=ESW.primary",
        "--crossbar-timeout=0",
        "--site-http=http://router/call",
        f"--working-dir={tmp_path}",
    )
    assert command.cwd == tmp_path


@given(name=st.text() | st.sampled_from(["$(id)", "a b", "; ls", "--help", "-h", "`id`", "'", '"', "*", "a=b", "%00"]))
def test_a_name_is_part_of_one_word_whatever_it_is(name):
    try:
        one = wanted(kind="SequenceComponent", componentName=name)
    except InvalidRequestError:
        return
    argv = Commands("ESW.machine1", Path("/nowhere")).make("x", one).argv
    assert [word for word in argv if name in word.partition("=")[2]].count(f"--prefix=ESW.{name}") == 1
    assert [word.partition("=")[0] for word in argv[3:]] == [
        "--agent-class",
        "--instance-id",
        "--prefix",
        "--crossbar-timeout",
        "--working-dir",
    ]
    assert not any("\0" in word for word in argv)


def test_a_site_may_have_a_class_of_its_own_for_sequence_components(tmp_path):
    commands = Commands("ESW.machine1", tmp_path, sequence_component="OurComponent")
    assert "--agent-class=OurComponent" in made(commands, kind="SequenceComponent", componentName="a").argv


def test_a_sequence_manager_gets_its_file_and_the_agent_service(tmp_path):
    path = tmp_path / "modes.yaml"
    path.write_text("")
    commands = Commands("ESW.machine1", tmp_path, agent_service_url="http://service")
    argv = made(commands, kind="SequenceManager", obsModeConfigPath="modes.yaml", isConfigLocal=True).argv
    assert f"--obs-mode-file={path}" in argv
    assert "--agent-service-url=http://service" in argv
    assert "--prefix=ESW.sequence_manager" in argv


def test_an_instance_is_started_from_the_site_file(site_commands, tmp_path):
    argv = made(site_commands, kind="Agent", instanceId="fake-1").argv
    assert argv == (
        *AGENT_CLI,
        "--instance-id=fake-1",
        f"--site-file={site_commands.site_file}",
        f"--working-dir={tmp_path}",
    )


def test_an_instance_that_the_file_does_not_describe_is_refused(site_commands):
    with pytest.raises(SiteConfigError, match="'fake-2'"):
        made(site_commands, kind="Agent", instanceId="fake-2")


def test_without_a_site_file_there_are_no_instances(commands):
    with pytest.raises(SpawnError, match=r"^instanceId: .* no site config file"):
        made(commands, kind="Agent", instanceId="fake-1")


def test_another_version_than_the_one_that_is_installed_is_refused(commands):
    made(commands, kind="SequenceComponent", componentName="a", version=ocs.__version__)
    with pytest.raises(SpawnError, match=f"^version: '9.9' is not installed here; this machine has {ocs.__version__}"):
        made(commands, kind="SequenceComponent", componentName="a", version="9.9")


def test_what_is_printed_goes_to_a_file_of_the_components_own(tmp_path):
    commands = Commands("ESW.machine1", tmp_path, output_dir=tmp_path / "output")
    command = made(commands, kind="SequenceComponent", componentName="a/b")
    assert command.log_file.parent == tmp_path / "output"
    assert command.log_file.parent.is_dir()


def test_a_family_is_marked_and_knows_who_has_started_it(commands):
    env = made(commands, kind="SequenceComponent", componentName="a").env
    assert env["OCS_SPAWNED_BY"] == "ESW.machine1"
    assert env["OCS_SPAWNED_AS"] == commands.mark_of("SequenceComponent.ESW.a") == "state:SequenceComponent.ESW.a"


def test_what_is_meant_for_the_spawn_agent_alone_is_not_inherited():
    own = {
        "NOTIFY_SOCKET": "/run/x",
        "WATCHDOG_USEC": "1",
        "INSTANCE_ID": "me",
        "CROSSBAR_TIMEOUT": "9",
        "PATH": "/bin",
    }
    assert child_environment(own) == {"PATH": "/bin", "PYTHONUNBUFFERED": "1"}


class TestFiles:
    def test_a_local_file_may_be_anywhere(self, site_commands, tmp_path):
        path = tmp_path / "any.yaml"
        path.write_text("")
        assert site_commands.config_file(ConfigFile("f", str(path), is_local=True)) == path

    def test_a_shared_one_is_below_its_folder(self, site_commands):
        path = site_commands.config_dir / "sub" / "modes.yaml"
        path.parent.mkdir(parents=True)
        path.write_text("")
        assert site_commands.config_file(ConfigFile("f", "sub/modes.yaml", is_local=False)) == path

    @pytest.mark.parametrize("given_path", ["../secret", "/etc/passwd", "link/passwd", "sub/../../secret"])
    def test_nothing_leads_out_of_that_folder(self, site_commands, given_path):
        site_commands.config_dir.mkdir()
        (site_commands.config_dir / "link").symlink_to("/etc")
        (site_commands.config_dir.parent / "secret").write_text("")
        with pytest.raises(SpawnError, match=r"^f: .* leads out of the folder"):
            site_commands.config_file(ConfigFile("f", given_path, is_local=False))

    def test_a_missing_one_is_named(self, site_commands):
        with pytest.raises(SpawnError, match=r"^f: /nowhere/x.yaml: there is no such file on this machine"):
            site_commands.config_file(ConfigFile("f", "/nowhere/x.yaml", is_local=True))

    def test_without_a_folder_there_are_no_shared_files(self, commands):
        with pytest.raises(SpawnError, match="give it --config-dir"):
            commands.config_file(ConfigFile("f", "x.yaml", is_local=False))
