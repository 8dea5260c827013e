"""How agents are started."""

import sys
from pathlib import Path

from ocs.agents.host_manager.commands import AgentCommands, child_environment, given_options


def test_an_agent_is_started_as_the_contract_says(tmp_path):
    commands = AgentCommands("daq-1", tmp_path, ("--site-hub", "ws://h/ws"), tmp_path / "output")
    command = commands.make("a", "/etc/site.yaml")
    assert command.name == "a"
    assert command.argv == (
        *(sys.executable, "-m", "ocs.agent_cli", "--instance-id", "a", "--site-file", "/etc/site.yaml"),
        *("--site-host", "daq-1", "--working-dir", str(tmp_path), "--site-hub", "ws://h/ws"),
    )
    assert command.cwd == tmp_path
    assert command.log_file == tmp_path / "output" / "a.log"


def test_without_a_folder_output_is_not_kept():
    assert AgentCommands("h", Path("/")).make("a", "f").log_file is None


def test_an_id_leads_to_no_other_folder(tmp_path):
    assert AgentCommands("h", tmp_path, log_dir=tmp_path).make("../../a", "f").log_file.parent == tmp_path


def test_children_get_what_the_manager_was_given_of_the_site():
    words = ["--instance-id", "hm", "--site-http", "http://h/call", "--log-dir", "log", "--initial-state", "up"]
    assert given_options(words) == ("--site-http", "http://h/call", "--log-dir", "log")


def test_what_is_meant_for_the_manager_alone_is_kept_from_children():
    own = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "2", "INSTANCE_ID": "hm", "HOME": "/root"}
    assert child_environment(own) == {"HOME": "/root", "PYTHONUNBUFFERED": "1"}
