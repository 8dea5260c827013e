"""The site config file as objects, the mistakes in it, and how arguments are gathered."""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs import site_config
from ocs.errors import OCSError, SiteConfigError
from ocs.scf import reading
from ocs.scf.model import MANAGE_WORDS, RESTART_WORDS
from ocs.site_config import CrossbarConfig, HostConfig, HubConfig, InstanceConfig, SiteConfig, parse_args

HUB = """\
hub:
  wamp_server: ws://127.0.0.1:8001/ws
  wamp_http: http://127.0.0.1:8001/call
  wamp_realm: test_realm
  address_root: observatory
  access_policy: director:access-dir
"""

SITE = (
    HUB
    + """\
hosts:
  host-1:
    log-dir: logs
    crossbar: {config-dir: /etc/crossbar, bin: /opt/crossbar}
    crossbar_timeout: 20
    wamp_server: ws://10.0.0.1:8001/ws
    agent-instances:
      - agent-class: AggregatorAgent
        instance-id: aggregator
        manage: docker
        start-level: 2
        note: kept
        arguments: [--initial-state, record, [--time-per-file, [3600]], --flag, --rep, 1, --rep, 2]
      - {agent-class: FakeDataAgent, instance-id: fake-1}
      - {agent-class: FakeDataAgent, instance-id: fake-2, arguments: [--site-hub, ws://own, --crossbar-timeout, 0]}
  host-2:
    agent-instances:
      - {agent-class: RegistryAgent, instance-id: registry}
"""
)


@pytest.fixture
def write(tmp_path):
    def write(text, name="default.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def site_file(write, monkeypatch):
    monkeypatch.delenv("OCS_CONFIG_DIR", raising=False)
    return write(SITE)


@pytest.fixture
def agent_parser():
    parser = argparse.ArgumentParser()
    parser.add_argument("--initial-state", default="idle")
    parser.add_argument("--time-per-file", type=float, default=60)
    parser.add_argument("--flag", action="store_true")
    parser.add_argument("--rep", action="append")
    return parser


def on_host_1(site_file, *words):
    return ["--site-file", site_file, "--site-host", "host-1", *words]


# What the file says


def test_a_file_becomes_a_site(site_file):
    site = SiteConfig.from_yaml(site_file)
    assert site.source_file == site_file
    assert list(site.hosts) == ["host-1", "host-2"]
    assert (site.hub.wamp_realm, site.hub.address_root) == ("test_realm", "observatory")
    assert site.hub.data["wamp_http"] == site.hub.wamp_http == "http://127.0.0.1:8001/call"


def test_a_host_has_its_settings(site_file):
    host = SiteConfig.from_yaml(site_file).hosts["host-1"]
    assert (host.name, host.log_dir, host.crossbar_timeout) == ("host-1", "logs", 20)
    assert host.wamp_server == "ws://10.0.0.1:8001/ws"
    assert host.working_dir == str(Path.cwd())
    assert host.crossbar.get_cmd("start") == ["/opt/crossbar", "start", "--cbdir", "/etc/crossbar"]


def test_an_instance_has_flat_arguments_and_keeps_unknown_keys(site_file):
    instance = SiteConfig.from_yaml(site_file).hosts["host-1"].instances[0]
    expected = ["--initial-state", "record", "--time-per-file", "3600", "--flag", "--rep", "1", "--rep", "2"]
    assert instance.arguments == expected
    assert (instance.manage, instance.start_level) == ("docker/up", 2)
    assert instance.data["note"] == "kept"


def test_an_instance_reads_as_the_mapping_of_the_file(site_file):
    host = SiteConfig.from_yaml(site_file).hosts["host-1"]
    assert [entry["instance-id"] for entry in host.instances] == ["aggregator", "fake-1", "fake-2"]
    assert host.instances[1].get("manage", "absent") == "absent"
    again = InstanceConfig.from_dict(host.instances[0], parent=host)
    assert again.parent is host
    assert again == host.instances[0]


def test_the_classes_take_dictionaries():
    entry = {"agent-class": "A", "instance-id": "a"}
    host = HostConfig.from_dict({"agent-instances": [entry]}, name="h")
    assert (host.name, host.crossbar, host.crossbar_timeout) == ("h", None, 10)
    assert host.instances[0].instance_id == "a"
    assert HubConfig.from_dict({"wamp_realm": "r"}).wamp_realm == "r"
    assert CrossbarConfig.from_dict(None) is None
    assert CrossbarConfig.from_dict({}).cbdir_args == []


@given(st.sampled_from(list(MANAGE_WORDS)))
def test_every_manage_word_means_one_of_five(word):
    instance = InstanceConfig.from_dict({"agent-class": "A", "instance-id": "a", "manage": word})
    assert instance.manage in {"host/up", "host/down", "docker/up", "docker/down", "ignore"}
    again = InstanceConfig.from_dict({"agent-class": "A", "instance-id": "a", "manage": instance.manage})
    assert again.manage == instance.manage


SHORT = {
    "yes": "host/up",
    "up": "host/up",
    "host": "host/up",
    "no": "ignore",
    "docker": "docker/up",
    "down": "host/down",
}


@pytest.mark.parametrize(("word", "meaning"), SHORT.items())
def test_short_and_old_manage_words(write, word, meaning):
    text = HUB + f"hosts: {{h: {{agent-instances: [{{agent-class: A, instance-id: a, manage: {word}}}]}}}}"
    assert SiteConfig.from_yaml(write(text)).hosts["h"].instances[0].manage == meaning


@given(st.text().filter(lambda word: word not in MANAGE_WORDS))
def test_any_other_manage_word_is_refused_with_the_known_ones(word):
    with pytest.raises(SiteConfigError, match="docker/down"):
        InstanceConfig.from_dict({"agent-class": "A", "instance-id": "a", "manage": word})


def test_an_instance_is_restarted_always_unless_it_says_otherwise():
    entry = {"agent-class": "A", "instance-id": "a"}
    assert InstanceConfig.from_dict(entry).restart == "always"
    for word in RESTART_WORDS:
        assert InstanceConfig.from_dict({**entry, "restart": word}).restart == word


NESTED = st.recursive(st.text(max_size=4), lambda inner: st.lists(inner, max_size=3), max_leaves=10)


@given(st.lists(NESTED, max_size=5))
def test_nested_arguments_become_flat_in_order(arguments):
    def flat(item):
        return [item] if isinstance(item, str) else [word for part in item for word in flat(part)]

    instance = InstanceConfig.from_dict({"agent-class": "A", "instance-id": "a", "arguments": arguments})
    assert instance.arguments == flat(arguments)


# Mistakes in the file

INSTANCES = HUB + "hosts:\n  h:\n    agent-instances:\n"
ENTRY = "    - {agent-class: A, instance-id: a}\n"


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        ("hub: [1, 2", "2:1", "expected ',' or ']'"),
        ("hub:\n\ta: 1", "2:1", "spaces, not tabs"),
        ("", "1", "mapping, not empty"),
        ("- hub", "1", "mapping, not a list"),
        ("hosts: {}", "1", "'hub' is missing"),
        (HUB, "1", "'hosts' is missing"),
        ("hub:\n  wamp_server: a\nhosts: {}", "1", "'wamp_http' is missing"),
        ("hub:\n  wamp_server: [a]\nhosts: {}", "2", "hub.wamp_server: has to be text, not a list"),
        (HUB + "hosts:\n  h:\n    agent_instances: []", "8", "write it 'agent-instances'"),
        (HUB + "hosts:\n  h: {agent-instances: []}\n  h: {agent-instances: []}", "9:3", "'h' is given a second time"),
        (HUB + "hosts:\n  h:\n    crossbar: 3\n    agent-instances: []", "9", "crossbar has to be a mapping"),
        (HUB + "hosts:\n  h:\n    crossbar_timeout: soon\n    agent-instances: []", "9", "number of seconds"),
        (HUB + "hosts:\n  h:\n    crossbar_timeout: -1\n    agent-instances: []", "9", "not -1"),
        (HUB + "hosts:\n  h:\n    agent-instances: 4", "9", "has to be a list, not 4"),
        (INSTANCES + "    - {agent-class: A}", "10", "'instance-id' is missing"),
        (INSTANCES + "    - {instance-id: a}", "10", "'agent-class' is missing"),
        (INSTANCES + "    - {agent-class: A, instance-id: ''}", "10", "must not be empty"),
        (INSTANCES + "    - {agent-class: A, instance-id: on}", "10", "put it in quotes"),
        (
            INSTANCES + "    - agent-class: A\n      instance-id: a\n      manage: perhaps",
            "12",
            "'perhaps' is no manage word",
        ),
        (INSTANCES + "    - {agent-class: A, instance-id: a, arguments: --mode acq}", "10", "list like [--mode, acq]"),
        (INSTANCES + "    - {agent-class: A, instance-id: a, arguments: [--mode: acq]}", "10", "[--word, value]"),
        (INSTANCES + "    - {agent-class: A, instance-id: a, arguments: &x [*x]}", "10", "nested more than"),
        (INSTANCES + "    - {agent-class: A, instance-id: a, start-level: -1}", "10", "whole number"),
        (INSTANCES + "    - {agent-class: A, instance-id: a, restart: no}", "10", "known: always, on-failure, manual"),
        (INSTANCES + "    - {agent-class: A, instance-id: a, restart: [x]}", "10", "known: always, on-failure, manual"),
        (
            INSTANCES + "    - {agent-class: A, instance-id: a}\n    - {agent-class: B, instance-id: a}",
            "11",
            "'a' is used a second time; the first is on this host",
        ),
        (INSTANCES + ENTRY + "  i:\n    agent-instances:\n" + ENTRY, "13", "the first is on host 'h'"),
    ],
)
def test_a_mistake_is_told_in_one_line_with_its_place(write, text, place, told):
    path = write(text)
    with pytest.raises(SiteConfigError) as caught:
        SiteConfig.from_yaml(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:{place}: ")
    assert told in message
    assert "\n" not in message


def test_one_instance_may_be_described_again_where_it_is_ignored(write):
    words = {"h": "ignore", "i": "up", "j": "no"}
    entry = "{{agent-instances: [{{agent-class: A, instance-id: a, manage: {}}}]}}"
    hosts = "hosts:\n" + "".join(f"  {host}: {entry.format(word)}\n" for host, word in words.items())
    assert len(SiteConfig.from_yaml(write(HUB + hosts)).hosts) == 3


def test_merge_keys_are_no_duplicates(write):
    hosts = "  h: &h {agent-instances: [], log-dir: a}\n  i: &i {<<: *h, log-dir: b}\n  j: {<<: *i, log-dir: c}\n"
    hosts = SiteConfig.from_yaml(write(f"{HUB}hosts:\n{hosts}")).hosts
    assert [host.log_dir for host in hosts.values()] == ["a", "b", "c"]


@given(st.text(max_size=60))
def test_no_text_whatever_is_taken_for_a_site_or_raises_another_error(text):
    with pytest.raises(SiteConfigError) as caught:
        SiteConfig.from_dict(reading.parse(text, "site.yaml"))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_text_is_told(tmp_path):
    path = tmp_path / "default.yaml"
    path.write_bytes(b"hub: \xff\xfe")
    with pytest.raises(SiteConfigError, match="is not UTF-8"):
        SiteConfig.from_yaml(path)


# Finding file, host and instance


def test_a_missing_file_says_where_it_was_looked_for(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"Site file not found: .*no.yaml .*--site-file"):
        parse_args("*control*", args=["--site-file", str(tmp_path / "no.yaml")])
    monkeypatch.setenv("OCS_CONFIG_DIR", str(tmp_path))
    with pytest.raises(SiteConfigError, match=rf"{tmp_path}/lab.yaml .*OCS_CONFIG_DIR and --site"):
        parse_args("*control*", args=["--site", "lab"])
    monkeypatch.delenv("OCS_CONFIG_DIR")
    with pytest.raises(SiteConfigError, match="neither --site-file nor OCS_CONFIG_DIR"):
        parse_args("*control*", args=[])


def test_the_site_names_a_file_of_the_config_folder(write, monkeypatch, tmp_path):
    write(SITE), write(SITE.replace("test_realm", "lab_realm"), "lab.yaml")
    monkeypatch.setenv("OCS_CONFIG_DIR", str(tmp_path))
    assert parse_args("*control*", args=[]).site_realm == "test_realm"
    assert parse_args("*control*", args=["--site", "lab"]).site_realm == "lab_realm"
    assert parse_args("*control*", args=[]).site_file == str(tmp_path / "default.yaml")


def test_the_systems_name_then_localhost_are_looked_up(write):
    name = os.uname().nodename
    text = HUB + "hosts:\n  localhost: {log-dir: any, agent-instances: []}\n"
    assert parse_args("*host*", args=["--site-file", write(text)]).log_dir == "any"
    assert parse_args("*host*", args=["--site-file", write(text), "--site-host", "made-up"]).log_dir == "any"
    named = text + f"  {name}: {{log-dir: own, agent-instances: []}}\n"
    assert parse_args("*host*", args=["--site-file", write(named)]).log_dir == "own"


def test_an_unknown_host_names_what_was_tried(site_file):
    with pytest.raises(KeyError) as caught:
        parse_args("*host*", args=["--site-file", site_file, "--site-host", "nowhere"])
    assert isinstance(caught.value, OCSError)
    assert "neither host 'nowhere' nor 'localhost'; it has: host-1, host-2" in str(caught.value)


def test_a_client_needs_no_host(site_file):
    args = parse_args("*control*", args=["--site-file", site_file, "--site-host", "nowhere"])
    assert (args.site_hub, args.crossbar_timeout, args.log_dir) == ("ws://127.0.0.1:8001/ws", 10, None)


@pytest.mark.parametrize(
    ("agent_class", "words", "told"),
    [
        ("FakeDataAgent", [], "give --instance-id, one of fake-1, fake-2"),
        ("NoAgent", [], "no instance of class NoAgent on host 'host-1'; it has: aggregator, fake-1, fake-2"),
        ("FakeDataAgent", ["--instance-id", "fake-9"], "no instance 'fake-9' on host 'host-1'; it has"),
        ("RegistryAgent", ["--instance-id", "registry"], "but on host 'host-2'"),
        (None, [], "Give --instance-id, one of aggregator, fake-1, fake-2"),
    ],
)
def test_an_instance_that_is_not_found_or_not_clear_is_told(site_file, agent_class, words, told):
    with pytest.raises(RuntimeError) as caught:
        parse_args(agent_class, args=on_host_1(site_file, *words))
    assert isinstance(caught.value, OCSError)
    assert told in str(caught.value)


def test_an_instance_is_found_by_its_class_where_it_is_the_only_one(site_file, agent_parser):
    args = parse_args("AggregatorAgent", agent_parser, on_host_1(site_file))
    assert (args.instance_id, args.agent_class) == ("aggregator", "AggregatorAgent")


def test_get_config_gives_a_named_triple(site_file):
    args = site_config.add_arguments().parse_args(on_host_1(site_file, "--instance-id", "fake-1"))
    context = site_config.get_config(args, "FakeDataAgent")
    assert context == (context.site, context.host, context.instance)
    assert context.instance.instance_id == "fake-1"
    assert site_config.get_config(args, "*host*").instance is None


# Precedence


def test_the_files_arguments_go_through_the_agents_parser(site_file, agent_parser):
    args = parse_args("AggregatorAgent", agent_parser, on_host_1(site_file))
    assert (args.initial_state, args.time_per_file, args.flag, args.rep) == ("record", 3600.0, True, ["1", "2"])


def test_the_command_line_overrides_the_files_arguments(site_file, agent_parser):
    words = on_host_1(site_file, "--rep", "7", "--time-per-file=1")
    args = parse_args("AggregatorAgent", agent_parser, words)
    assert (args.initial_state, args.time_per_file, args.flag, args.rep) == ("record", 1.0, True, ["7"])


@pytest.mark.parametrize(
    ("instance", "words", "hub", "timeout"),
    [
        ("fake-1", [], "ws://10.0.0.1:8001/ws", 20),
        ("fake-2", [], "ws://own", 0),
        ("fake-2", ["--site-hub", "ws://given", "--crossbar-timeout", "3"], "ws://given", 3),
    ],
)
def test_command_line_over_instance_over_host_over_hub(site_file, instance, words, hub, timeout):
    args = parse_args("FakeDataAgent", args=on_host_1(site_file, "--instance-id", instance, *words))
    assert (args.site_hub, args.crossbar_timeout) == (hub, timeout)
    assert (args.site_http, args.access_policy) == ("http://127.0.0.1:8001/call", "director:access-dir")
    assert (args.log_dir, args.address_root, args.site_realm) == ("logs", "observatory", "test_realm")


@pytest.mark.parametrize(
    ("host", "environment", "words", "found"),
    [
        ("", {}, [], "/home/me/.local/state/ocs"),
        ("", {"XDG_STATE_HOME": "/xdg"}, [], "/xdg/ocs"),
        ("", {"HOME": "relative"}, [], None),
        ("state-dir: host, ", {"XDG_STATE_HOME": "/xdg"}, [], "host"),
        ("state-dir: host, ", {"OCS_STATE_DIR": "env"}, [], "env"),
        ("state-dir: host, ", {"OCS_STATE_DIR": "env"}, ["--state-dir", "given"], "given"),
        ("state-dir: host, ", {"OCS_STATE_DIR": ""}, ["--state-dir=given"], "given"),
    ],
)
def test_where_agents_keep_what_recorders_lack(write, monkeypatch, host, environment, words, found):
    for name in ("XDG_STATE_HOME", "OCS_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **environment}.items():
        monkeypatch.setenv(name, value)
    instance = "{agent-class: A, instance-id: a}"
    file = write(HUB + f"hosts:\n  localhost: {{{host}agent-instances: [{instance}]}}\n")
    assert parse_args("A", args=["--site-file", file, *words]).state_dir == found


def test_a_wrong_argument_from_the_file_names_the_file_as_its_source(site_file, capsys):
    with pytest.raises(SystemExit):
        parse_args("AggregatorAgent", args=on_host_1(site_file))
    assert "the site config file gives instance 'aggregator' the arguments: --initial-state" in capsys.readouterr().err


def test_help_needs_no_file(monkeypatch, capsys):
    monkeypatch.delenv("OCS_CONFIG_DIR", raising=False)
    with pytest.raises(SystemExit) as caught:
        parse_args("FakeDataAgent", args=["--help"])
    assert caught.value.code == 0
    assert "--site-file" in capsys.readouterr().out


def test_arguments_may_be_added_twice_and_an_agents_own_wins():
    parser = argparse.ArgumentParser()
    parser.add_argument("--log-dir", default="mine")
    site_config.add_arguments(site_config.add_arguments(parser))
    assert parser.parse_args([]).log_dir == "mine"


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "soon"])
def test_a_timeout_that_is_no_length_of_time_is_refused(value, capsys):
    with pytest.raises(SystemExit):
        site_config.add_arguments().parse_args([f"--crossbar-timeout={value}"])
    assert "--crossbar-timeout" in capsys.readouterr().err


def test_without_a_site_the_command_line_says_everything(monkeypatch):
    monkeypatch.delenv("OCS_CONFIG_DIR", raising=False)
    words = ["--site", "none", "--site-hub", "ws://h", "--site-realm", "r", "--address-root", "o"]
    with pytest.raises(SiteConfigError, match="--instance-id"):
        parse_args("A", args=words)
    args = parse_args("A", args=[*words, "--instance-id", "a"])
    assert (args.site_hub, args.instance_id, args.crossbar_timeout) == ("ws://h", "a", 10)


def test_add_site_attributes_fills_only_what_is_open(site_file):
    site = SiteConfig.from_yaml(site_file)
    args = argparse.Namespace(site_hub="mine", log_dir=None)
    site_config.add_site_attributes(args, site, host=site.hosts["host-1"])
    assert (args.site_hub, args.log_dir, args.site_realm) == ("mine", "logs", "test_realm")


# Clients


def test_a_client_is_made_from_a_site_a_list_or_a_namespace(site_file):
    pytest.importorskip("ocs.client_http")
    words = ["--site-file", site_file]
    for source in (
        {"site": SiteConfig.from_yaml(site_file)},
        {"args": words},
        {"args": parse_args("*control*", args=words)},
    ):
        client = site_config.get_control_client("fake-1", start=False, **source)
        assert client.agent_addr == "observatory.fake-1"


def test_an_unknown_client_type_is_told(site_file):
    with pytest.raises(OCSError, match="known: 'http'"):
        site_config.get_control_client("fake-1", args=["--site-file", site_file], client_type="smoke")


def test_a_client_leaves_the_command_line_of_its_script_alone(write, tmp_path, monkeypatch):
    write(SITE)
    monkeypatch.setenv("OCS_CONFIG_DIR", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["script.py", "--not-ours", "3"])
    assert site_config.get_control_client("fake-1", start=False).agent_addr.endswith(".fake-1")


def test_importing_loads_nothing_heavy(run_python):
    heavy = "{'twisted', 'numpy', 'pydantic', 'yaml', 'pathlib', 'shutil', 'dataclasses', 'importlib.metadata'}"
    assert run_python(f"import ocs.site_config, sys; print(sorted({heavy} & set(sys.modules)))").stdout.strip() == "[]"


@pytest.fixture
def run_python():
    def run(code):
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

    return run


# The guide

GUIDE = Path(__file__).parents[2] / "docs" / "user" / "site-config.md"


def examples(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


def test_the_guides_site_is_valid_and_its_program_lists_it(write, monkeypatch, tmp_path, capsys):
    [text] = examples("yaml")
    write(text)
    monkeypatch.chdir(tmp_path)
    lists_instances, parses_arguments = examples("python")
    exec(lists_instances, {})
    assert "daq-1 fake-1 FakeDataAgent host/down ['--mode', 'acq', '--num-channels', '16']" in capsys.readouterr().out
    agent = {}
    exec(parses_arguments, agent)
    agent["main"](["--site-file", "default.yaml", "--site-host", "daq-1"])
    assert capsys.readouterr().out == "fake-1 ws://127.0.0.1:8001/ws 16\n"


def test_the_guide_has_every_manage_word():
    for word in MANAGE_WORDS:
        assert not isinstance(word, str) or f"`{word}`" in GUIDE.read_text()


def test_the_guide_has_every_way_to_restart():
    assert [word for word in RESTART_WORDS if f"`{word}`" not in GUIDE.read_text()] == []
