"""The program that starts agents: as a process, with scripts that tell what they were started with."""

import argparse
import json
import os
import subprocess
import sys

import pytest

from ocs import agent_cli
from ocs.cli.agent_cli import agent_arguments

SITE = """\
hub: {wamp_server: ws://h/ws, wamp_http: http://h/call, wamp_realm: r, address_root: o}
hosts:
  localhost:
    agent-instances:
      - {agent-class: TellAgent, instance-id: tell, arguments: [--mode, idle]}
      - {agent-class: NoAgent, instance-id: none}
      - {agent-class: BrokenAgent, instance-id: broken}
"""

TELL = """\
import argparse, json, sys
from ocs import site_config
from ocs.errors import OCSError

def main(args=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", help="what to do")
    parser.add_argument("--fail", action="store_true")
    args = site_config.parse_args("TellAgent", parser, args)
    if args.fail:
        raise OCSError("the router is away")
    with open("/proc/self/cmdline") as file:
        title = file.read().strip("\\0 ")
    heavy = sorted({"importlib.metadata", "twisted", "numpy", "ocs.agents"} & set(sys.modules))
    print(json.dumps({"title": title, "heavy": heavy, **vars(args)}))
"""

PLUGIN = """\
package_name = "tell"
agents = {name: {"module": module, "entry_point": "main"}
          for name, module in {"TellAgent": "tell_agent", "BrokenAgent": "broken_agent"}.items()}
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with a site config file, two agents, and the plugin that offers them."""
    (tmp_path / "default.yaml").write_text(SITE)
    (tmp_path / "tell_agent.py").write_text(TELL)
    (tmp_path / "tell_plugin.py").write_text(PLUGIN)
    (tmp_path / "broken_agent.py").write_text("import no_such_module_here\n")
    info = tmp_path / "tell-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tell\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ocs.plugins]\ntell = tell_plugin\n")
    return tmp_path


@pytest.fixture
def run(folder):
    def run(*words, **environment):
        command = [sys.executable, "-m", "ocs.agent_cli", *words]
        clean = {name: value for name, value in os.environ.items() if name not in ("INSTANCE_ID", "LOGLEVEL")}
        env = {**clean, "OCS_CONFIG_DIR": str(folder), "PYTHONPATH": str(folder), **environment}
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, check=False, cwd=folder)

    return run


@pytest.fixture
def told(run):
    def told(*words, **environment):
        done = run(*words, **environment)
        assert done.stderr == ""
        assert done.returncode == 0
        return json.loads(done.stdout)

    return told


def one_line(done):
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_plugins_agent_is_started_by_its_instance_id(told):
    args = told("--instance-id", "tell")
    assert (args["instance_id"], args["mode"], args["site_hub"]) == ("tell", "idle", "ws://h/ws")
    assert args["title"] == "ocs-agent:tell"


def test_the_instance_id_may_come_from_the_environment(told):
    assert told(INSTANCE_ID="tell")["instance_id"] == "tell"


def test_the_agents_own_options_go_to_the_agent(told):
    assert told("--instance-id", "tell", "--mode", "acq", "--log-dir", "logs")["mode"] == "acq"


def test_the_environment_gives_way_to_the_command_line_only(told):
    variables = {"SITE_HUB": "ws://env", "SITE_HTTP": "", "CROSSBAR_TIMEOUT": "3"}
    args = told("--instance-id", "tell", "--site-hub", "ws://given", **variables)
    assert (args["site_hub"], args["site_http"], args["crossbar_timeout"]) == ("ws://given", "http://h/call", 3)


def test_a_script_that_is_no_plugin_is_started_without_a_look_at_plugins(told):
    args = told("--agent", "tell_agent.py", "--instance-id", "tell")
    assert (args["instance_id"], args["heavy"]) == ("tell", [])


def test_an_agent_that_the_site_file_does_not_list_has_the_hub_of_it(told, folder):
    args = told("--agent-class", "TellAgent", "--instance-id", "another", "--mode", "acq", "--site-hub", "ws://given")
    assert (args["instance_id"], args["mode"]) == ("another", "acq")
    assert (args["site_hub"], args["site_http"], args["site_realm"]) == ("ws://given", "http://h/call", "r")
    assert (args["address_root"], args["site_file"], args["title"]) == ("o", None, "ocs-agent:another")


def test_an_agent_of_a_class_keeps_its_restart_policies(told):
    restarts = ["--restart-process", "acq", "--restart-process=other=always"]
    args = told("--agent-class", "TellAgent", "--instance-id", "another", *restarts)
    assert args["restart_process"] == [["acq", "on-failure"], ["other", "always"]]


def test_an_agent_without_any_site_file_has_what_it_is_told(told):
    site = ["--site", "none", "--site-hub", "ws://x/ws", "--site-realm", "r2", "--address-root", "o2"]
    args = told("--agent-class", "TellAgent", "--instance-id", "another", *site)
    assert (args["site_hub"], args["site_realm"], args["address_root"]) == ("ws://x/ws", "r2", "o2")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--agent-class", "TellAgent"], "give --instance-id too"),
        (["--agent-class", "TellAgent", "--instance-id", "tell"], "start it without --agent-class"),
        (["--agent-class", "Nonsense", "--instance-id", "x"], "no installed plugin has the agent class"),
    ],
)
def test_an_agent_of_a_class_is_refused_in_one_line(run, words, message):
    assert message in one_line(run(*words))


def test_an_agents_options_are_shown_by_its_class_or_its_instance(run):
    for words in (["--agent-help", "TellAgent"], ["--instance-id", "tell", "--agent-help"]):
        done = run(*words)
        assert done.returncode == 0
        assert "what to do" in done.stdout


def test_help_names_the_options_and_variables(run):
    done = run("--help")
    assert done.returncode == 0
    for word in ("--instance-id", "--agent FILE", "--entrypoint", "CROSSBAR_TIMEOUT", "OCS_CONFIG_DIR"):
        assert word in done.stdout


def test_the_installed_classes_are_listed_with_their_plugins(run):
    lines = run("--list-agents").stdout.splitlines()
    assert ["TellAgent", "tell", "tell_agent"] in [line.split() for line in lines]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Give --instance-id, or set INSTANCE_ID"),
        (["--instance-id", "zap"], "it has: tell, none, broken"),
        (
            ["--instance-id", "none"],
            "no installed plugin has the agent class 'NoAgent'; known: AccessDirector, AggregatorAgent",
        ),
        (
            ["--instance-id", "broken"],
            "(agent class BrokenAgent) cannot be imported: the module no_such_module",
        ),
        (["--instance-id", "tell", "--site-file", "no.yaml"], "Site file not found"),
        (["--instance-id", "tell", "--fail"], "the router is away"),
        (["--agent", "no.py"], "no.py: there is no such file"),
        (["--agent", "default.yaml"], "is not a Python file"),
        (["--agent", "broken_agent.py"], "the module no_such_module_here is missing"),
        (["--agent", "tell_agent.py", "--entrypoint", "begin"], "has no function 'begin'"),
        (["--site", "none", "--instance-id", "tell"], "--agent FILE"),
    ],
)
def test_a_failure_is_told_in_one_line(run, words, message):
    assert message in one_line(run(*words))


def test_the_traceback_of_a_failed_import_is_shown_for_debugging(run):
    done = run("--instance-id", "broken", LOGLEVEL="debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].endswith("(no_such_module_here)")


def test_a_broken_plugin_does_not_keep_other_agents_from_starting(run, folder):
    (folder / "entry_points.txt").write_text("")
    (folder / "tell-1.0.dist-info" / "entry_points.txt").write_text(
        "[ocs.plugins]\nabad = no_such_plugin_module\ntell = tell_plugin\n"
    )
    done = run("--instance-id", "tell")
    assert done.returncode == 0
    assert "plugin 'abad' is skipped" in done.stderr


def test_empty_variables_count_as_absent():
    own = argparse.Namespace(instance_id=None, site_host=None, site_hub="ws://x", site_http=None, crossbar_timeout=None)
    environment = {"INSTANCE_ID": "a", "SITE_HOST": "", "SITE_HUB": "ws://y"}
    words = agent_arguments(own, ["--mode", "acq"], environment)
    assert words == ["--instance-id", "a", "--site-hub", "ws://x", "--mode", "acq"]


def test_the_old_module_name_has_the_public_names():
    assert agent_cli.__all__ == ["build_agent_list", "main"]
    assert "FakeDataAgent" in agent_cli.build_agent_list()
