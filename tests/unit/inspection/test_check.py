"""What `ocs config check` finds in a file, each with its line."""

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocs.errors import SiteFileNotFoundError
from ocs.inspection import check, classes
from ocs.inspection.check import check_file

HUB = """\
hub:
  wamp_server: ws://127.0.0.1:8001/ws
  wamp_http: http://127.0.0.1:8001/call
  wamp_realm: test_realm
  address_root: observatory
"""
HOST = HUB + "hosts:\n  localhost:\n    agent-instances:\n    - {agent-class: HostManager, instance-id: hm}\n"
"""Of 9 lines; instances follow."""

TWO_HOSTS = (
    HUB
    + """\
hosts:
  near: {crossbar: {}, agent-instances: [{agent-class: HostManager, instance-id: hm-1}]}
  far: {agent-instances: [{agent-class: HostManager, instance-id: hm-2}]}
"""
)


@pytest.fixture
def found(tmp_path):
    """Return what is found in a text, as lines without the file."""

    def found(text, **options):
        path = tmp_path / "site.yaml"
        path.write_text(text)
        report = check_file(str(path), **{"working_dir": str(tmp_path), **options})
        return [str(one).replace(f"{path}:", "", 1) for one in report.problems]

    return found


def test_nothing_is_found_in_a_good_file(found):
    assert found(HOST + "    - {agent-class: FakeDataAgent, instance-id: a, arguments: [--mode, acq]}\n") == []


def test_mistakes_and_doubts_come_in_the_order_of_the_file(found):
    text = HOST.replace("wamp_realm: test_realm", "wamp_reaml: test_realm")
    lines = found(f"{text}    - {{agent-class: FakeDataAgent, instance-id: a, manage: perhaps}}\nhub: 3\n")
    assert [line.partition(": ")[0].strip() for line in lines] == ["1", "10", "11"]
    lines = found(f"{text}    - {{agent-class: FakeDataAgent, instance-id: a, manage: perhaps}}\n")
    assert [line.split(": ")[:2] for line in lines] == [["1", "error"], ["4", "warning"], ["10", "error"]]
    assert "did you mean 'wamp_realm'?" in lines[1]


@pytest.mark.parametrize(
    ("instance", "told"),
    [
        (
            "agent-class: FakeDateAgent, instance-id: a",
            "10: error: no installed plugin has the agent class FakeDateAgent; did you mean Fake",
        ),
        ("agent-class: Zzz, instance-id: a", "the agent class Zzz; install the package that has it; known: "),
        ("agent-class: FakeDataAgent, instance-id: a b", "10: error: 'a b' cannot be an instance-id"),
        ("agent-class: FakeDataAgent, instance-id: ../a", "10: error: '../a' cannot be an instance-id"),
        ("agent-class: FakeDataAgent, instance-id: a.b", "10: warning: 'a.b': a dot makes two parts"),
        (f"agent-class: FakeDataAgent, instance-id: {'a' * 201}", "10: error: an instance-id of 201 characters"),
        (
            "agent-class: FakeDataAgent, instance-id: a, start-levl: 2",
            "10: warning: start-levl: means nothing to ocs; did you mean 'start-level'",
        ),
        (
            "agent-class: FakeDataAgent, instance-id: a, start-level: x",
            "10: error: start-level: has to be a whole number",
        ),
        ("agent-class: FakeDataAgent, instance-id: a, restart: often", "known: always, on-failure, manual"),
        ("agent-class: FakeDataAgent, instance-id: hm", "10: error: instance-id: 'hm' is used a second time"),
        (
            "agent-class: FakeDataAgent, instance-id: a, arguments: [--mode, on]",
            "10: warning: YAML reads 'on' as a truth value, and the agent gets 'True': put it",
        ),
        ("agent-class: FakeDataAgent, instance-id: a, arguments: [[--num-channels, 0x10]]", "the agent gets '16'"),
        (
            "agent-class: FakeDataAgent, instance-id: a, arguments: [--mode, dance]",
            "10: error: a: FakeDataAgent does not take these arguments: argument --mode: invalid",
        ),
        (
            "agent-class: FakeDataAgent, instance-id: a, arguments: [--speed, 3]",
            "does not take these arguments: unrecognized arguments: --speed 3",
        ),
        ("agent-class: FakeDataAgent, instance-id: a, arguments: [--help]", "they make the agent end at once"),
        (
            "agent-class: HostManager, instance-id: hm-2",
            "10: error: a second HostManager of one host would start everything twice",
        ),
        ("agent-class: FakeDataAgent, instance-id: a, manage: docker", "9: error: hm has no --docker-compose"),
        (
            "agent-class: AggregatorAgent, instance-id: a, arguments: [--data-dir, /proc/self/status]",
            "10: error: data folder of a: /proc/self/status",
        ),
    ],
)
def test_what_is_wrong_with_an_instance(found, instance, told):
    assert any(told in line.strip() for line in found(f"{HOST}    - {{{instance}}}\n"))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "ws://127.0.0.1:8001/ws",
            "http://127.0.0.1:8001/ws",
            "2: error: wamp_server: 'http://127.0.0.1:8001/ws' has to begin with",
        ),
        ("http://127.0.0.1:8001/call", "127.0.0.1:8001", "3: error: wamp_http: '127.0.0.1:8001' "),
        ("127.0.0.1:8001/call", "127.0.0.1:80011/call", "is no URL (Port out of range"),
        ("127.0.0.1:8001/call", ":8001/call", "names no host"),
        ("127.0.0.1:8001/call", "127.0.0.1:0/call", "has the port 0"),
        ("127.0.0.1:8001/call", "[::1/call", "is no URL"),
        ("address_root: observatory", "address_root: my lab", "5: error: 'my lab' cannot begin an address"),
        ("  localhost:\n", "  localhost:\n    wamp_server: wss//x\n", "8: error: wamp_server: 'wss//x'"),
        ("  localhost:\n", "  localhost:\n    log-dir: /proc/self/status/logs\n", "8: error: log folder: "),
        (
            "  localhost:\n",
            "  localhost:\n    crossbar: {bin: /no/crossbar}\n",
            "8: error: bin: /no/crossbar is no program",
        ),
        (
            "HostManager, instance-id: hm",
            "FakeDataAgent, instance-id: a",
            "7: note: no HostManager keeps the 1 instance of host",
        ),
        ("  localhost:\n", "  elsewhere:\n", "6: note: this machine is none of the hosts"),
    ],
)
def test_what_is_wrong_with_hub_and_host(found, old, new, told):
    assert old in HOST
    assert any(told in line.strip() for line in found(HOST.replace(old, new)))


def test_a_yaml_error_is_the_only_one_and_has_its_line(found):
    [mistake] = found(HUB + "hosts: [")
    assert mistake.startswith("7: error: ")
    [mistake] = found("\x00")
    assert mistake.startswith("1: error: has a character that is no text")


def test_a_file_that_cannot_be_read_is_an_error_of_the_whole(found):
    assert found("#" * 3_000_000)[0].strip().startswith("error: is larger than")


def test_all_duplicate_keys_are_told(found):
    lines = found(HOST + "hub: {}\nhosts: {}\n")
    assert [line.partition(": ")[0] for line in lines if "second time" in line] == ["10", "11"]


def test_hosts_that_look_for_the_router_on_themselves(found):
    lines = found(TWO_HOSTS.replace("hm-2}", "hm-2}, {agent-class: A, instance-id: a}"), site_host="near")
    assert [line.partition(":")[0] for line in lines if "on itself" in line] == ["8", "8"]
    lines = found(TWO_HOSTS.replace("127.0.0.1", "near.example"), site_host="near")
    assert not any("on itself" in line for line in lines)


def test_several_hosts_without_a_manager_are_a_warning(found):
    lines = found(TWO_HOSTS.replace("HostManager, instance-id: hm-2", "FakeDataAgent, instance-id: a"))
    assert any("8: warning: no HostManager keeps the 1 instance of host 'far'" in line for line in lines)


def test_another_hosts_classes_and_arguments_are_not_judged_here(found):
    far = "far: {agent-instances: [{agent-class: HostManager, instance-id: hm-2}, {agent-class: Theirs, instance-id: t}"
    text = TWO_HOSTS.replace("far: {agent-instances: [{agent-class: HostManager, instance-id: hm-2}", far)
    assert not any("Theirs" in line for line in found(text, site_host="near"))
    assert any("Theirs" in line for line in found(text, site_host="far"))


def test_a_parser_that_hangs_costs_its_time_and_nothing_else(found, monkeypatch):
    monkeypatch.setattr(classes, "PARSING_TIME", 0.01)
    [line] = found(HOST)
    assert "note: the arguments of agents were not looked at" in line


PLUGIN = """
import argparse
print("I am loud")
def make_parser(parser=None):
    parser = parser or argparse.ArgumentParser()
    parser.add_argument("--speed", type=int, required=True)
    return parser
"""


@pytest.fixture
def foreign_agent(tmp_path, monkeypatch):
    """Return a function that installs an agent class, in a module with the text given."""
    numbers = itertools.count()

    def install(text):
        name = f"foreign_{next(numbers)}_{os.getpid()}"
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        agent = classes.AgentClass("Foreign", name, "main", "foreign")
        known = {**check.installed_classes(lambda _line: None), "Foreign": agent}
        monkeypatch.setattr(check, "installed_classes", lambda _report: known)

    return install


FOREIGN = HOST + "    - {agent-class: Foreign, instance-id: f, arguments: [--speed, fast]}\n"


def test_the_parser_of_somebody_elses_agent_is_asked(found, foreign_agent, capfd):
    foreign_agent(PLUGIN)
    [line] = found(FOREIGN)
    assert "f: Foreign does not take these arguments: argument --speed: invalid int value: 'fast'" in line
    assert "loud" not in capfd.readouterr().out


@pytest.mark.parametrize(
    "text",
    [
        "",
        "raise RuntimeError('broken')",
        "import sys; sys.exit(3)",
        "def make_parser(a, b): pass",
        "def make_parser(parser): return 7",
        PLUGIN.replace("parser or ", "").replace("type=int", "type=str"),
    ],
    ids=["no parser", "raises", "exits", "other arguments", "no parser in return", "a parser of its own"],
)
def test_an_agent_whose_parser_cannot_be_had_is_not_judged(found, foreign_agent, text):
    foreign_agent(text)
    assert found(FOREIGN) == []


def test_an_agent_that_makes_its_own_parser_is_judged_all_the_same(found, foreign_agent):
    foreign_agent(PLUGIN.replace("parser or ", ""))
    assert "invalid int value" in found(FOREIGN)[0]


def test_without_the_file_there_is_nothing_to_check(tmp_path):
    with pytest.raises(SiteFileNotFoundError):
        check_file(str(tmp_path / "none.yaml"))


FRAGMENTS = st.sampled_from(
    [
        *(
            "hub:",
            "hosts:",
            "  h:",
            "    agent-instances:",
            "    - ",
            "\n",
            ": ",
            ", ",
            "[",
            "]",
            "{",
            "}",
            "\t",
            "'",
            "&a ",
            "*a",
        ),
        *("  wamp_server: ", "ws://x", "instance-id: a", "agent-class: HostManager", "arguments: ", "--docker-compose"),
        *("x.yaml", "manage: docker"),
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(st.lists(FRAGMENTS, max_size=30).map("".join))
def test_whatever_the_file_there_are_problems_and_no_traceback(tmp_path, text):
    path = tmp_path / "any.yaml"
    path.write_text(text)
    report = check_file(str(path), site_host="h")
    assert report.problems
    assert all("\n" not in str(found) for found in report.problems)


SAMPLES = sorted(
    path
    for folder in ("site-config", "ocs/demo")
    for path in (Path(__file__).parents[3] / folder).rglob("*.yaml")
    if "compose" not in path.name
)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_samples_have_nothing_wrong_with_them_on_any_of_their_hosts(path):
    hosts = check_file(str(path)).site.hosts
    for host in hosts:
        problems = check_file(str(path), site_host=host, working_dir=str(path.parent)).problems
        assert [str(one) for one in problems if "folder" not in one.message] == []


# The access policy


def directed(policy):
    """As HOST, with a policy in line 6."""
    return HOST.replace("address_root: observatory", f"address_root: observatory\n  access_policy: {policy}", 1)


@pytest.mark.parametrize("policy", ["none", "override:geheim,secret", "'director:hm'"])
def test_a_policy_is_looked_at(found, policy):
    lines = found(directed(policy))
    assert ["whose class is HostManager" in line for line in lines] == ([True] if "director" in policy else [])


@pytest.mark.parametrize("policy", ["open", "override:geheim", "'override:geheim,'", "directed:geheim"])
def test_a_policy_that_is_none_is_an_error_that_repeats_no_password(found, policy):
    (line,) = found(directed(policy))
    assert line.startswith("6: error: access policy")
    assert "geheim" not in line


def test_a_director_has_to_be_at_the_site(found):
    (line,) = found(directed("'director:acc'"))
    assert line.startswith("6: warning: no instance 'acc'")
    assert found(directed("'director:acc'") + "    - {agent-class: AccessDirector, instance-id: acc}\n") == []
