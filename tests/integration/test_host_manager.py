"""The host manager with real agents: started in order, kept, ended, taken over, whatever happens to it or its files."""

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.harness.managing import LIMIT, Managed, end_all, kill, processes_of
from tests.harness.waiting import wait_for

pytestmark = pytest.mark.slow

BROKEN = "hub: {wamp_server: [\n"


@pytest.fixture
def site(site):
    """A site with a manager; what it leaves behind is ended with the test."""
    site.add_instance("HostManager", "hm-1")
    yield site
    end_all(site.directory)


@pytest.fixture
def add_fakes(site):
    def add(*names, **keys):
        for name in names:
            site.add_instance("FakeDataAgent", name, ["--mode", "acq"], **keys)

    return add


@pytest.fixture
def manage(run_agent):
    """Start the site's manager; arguments and keywords as for `run_agent`."""

    def start(*arguments, **keywords):
        return Managed(run_agent("hm-1", *arguments, **keywords))

    return start


def test_instances_are_started_level_by_level(site, add_fakes, manage):
    add_fakes("late", **{"start-level": 5})
    add_fakes("early-1", "early-2")
    states = manage().wait_ready("late", "early-1", "early-2")
    assert [states[name]["start_level"] for name in ("late", "early-1", "early-2")] == [5, 0, 0]
    assert states["late"]["started"] > max(states["early-1"]["started"], states["early-2"]["started"])
    assert list(states) == ["late", "early-1", "early-2"]


def test_what_is_shown_of_an_instance(site, add_fakes, manage):
    add_fakes("fake-1")
    managed = manage()
    state = managed.wait_ready("fake-1")["fake-1"]
    documented = {
        "next_action": "up",
        "target_state": "up",
        "stability": 1.0,
        "agent_class": "FakeDataAgent",
        "instance_id": "fake-1",
        "operable": True,
        "restart_required": False,
    }
    assert {key: state[key] for key in documented} == documented
    assert (state["management"], state["restart"], state["restarts"], state["exits"]) == ("host", "always", 0, [])
    assert processes_of("fake-1", site.directory) == [state["pid"]]
    assert state["uptime_s"] < LIMIT
    data = managed.data
    ok, when, text = data["config_parse_status"]["[SCF]"]
    assert (ok, text) == (True, "1 instances")
    assert when == pytest.approx(data["started"], abs=LIMIT)
    assert data["docker"] == {"ok": True, "message": ""}
    assert (data["orphans"], data["new_tags"]) == ({}, {})
    assert data["host"]["name"] == "localhost"


def test_processor_memory_and_disk_are_watched(site, add_fakes, manage):
    add_fakes("fake-1")
    managed = manage()
    managed.wait(lambda states: states["fake-1"]["memory_bytes"] and states["fake-1"]["cpu_percent"] is not None)
    assert managed.states["fake-1"]["memory_bytes"] > 1e6
    assert managed.data["host"]["memory_bytes"] > managed.data["host"]["memory_used_bytes"] > 0
    assert managed.data["host"]["disk_free_bytes"] > 0


def test_neither_managers_nor_what_is_to_be_ignored_are_managed(site, add_fakes, manage):
    site.add_instance("HostManager", "hm-2")
    add_fakes("ours")
    add_fakes("not-ours", manage="ignore")
    managed = manage()
    managed.wait_ready("ours")
    assert list(managed.states) == ["ours"]


def test_a_killed_agent_comes_back_and_its_end_is_remembered(site, add_fakes, manage):
    add_fakes("fake-1")
    managed = manage()
    managed.wait_ready("fake-1")
    old = managed.pid("fake-1")
    kill(old)
    managed.wait_new_pid("fake-1", old)
    state = managed.states["fake-1"]
    assert state["restarts"] == 1
    assert state["stability"] < 1
    assert [(end["code"], end["signal"], end["text"]) for end in state["exits"]] == [(None, 9, "killed by SIGKILL")]
    assert any("acq" in line for line in state["exits"][0]["lines"])
    assert any(message.startswith("fake-1> ") for message in managed.messages)


def test_an_agent_that_cannot_run_is_tried_again_later_and_tells_why(site, manage):
    site.add_instance("FakeDataAgent", "fake-1", ["--no-such-option"])
    managed = manage()
    state = managed.wait_action("fake-1", "start_at")
    assert state["next_start"] > state["exits"][-1]["time"]
    assert "--no-such-option" in " ".join(state["exits"][-1]["lines"])
    assert state["stability"] < 1


def test_targets_can_be_set_and_what_is_not_known_is_named(site, add_fakes, manage):
    add_fakes("fake-1", "fake-2")
    managed = manage()
    managed.wait_ready("fake-1", "fake-2")
    client = managed.handle.client
    reply = client.update(requests=[["fake-1", "down"], ["nobody", "up"]])
    assert not reply.session["success"]
    assert "nobody" in reply.session["messages"][-2][1]
    managed.wait_action("fake-1", "down")
    assert processes_of("fake-1", site.directory) == []
    assert managed.states["fake-2"]["next_action"] == "up"
    assert client.update(requests=[["all", "down"], ["fake-1", "up"]]).session["success"]
    managed.wait_action("fake-2", "down")
    managed.wait_ready("fake-1")


def test_bad_requests_are_refused_with_a_reason(site, manage):
    client = manage().handle.client
    status, message, _session = client.update.start(requests=[["fake-1", "sideways"]])
    assert int(status) == -1
    assert message == (
        "Did not start \"update\": requests has ['fake-1', 'sideways']; "
        "an entry is (instance_id or 'all', 'up' or 'down')."
    )


def test_update_and_restart_need_the_manager(site, add_fakes, manage):
    add_fakes("fake-1")
    managed = manage()
    managed.wait_ready("fake-1")
    client = managed.handle.client
    client.manager.stop()
    client.manager.wait(timeout=LIMIT)
    for reply in (client.update(requests=[["fake-1", "up"]]), client.restart(instances=["fake-1"])):
        assert not reply.session["success"]
        assert "does not run" in reply.session["messages"][-2][1]


def test_a_stop_brings_all_down_and_a_start_takes_all_anew(site, add_fakes, manage):
    add_fakes("fake-1")
    add_fakes("off", manage="host/down")
    managed = manage()
    managed.wait_ready("fake-1")
    client = managed.handle.client
    client.update(requests=[["off", "up"], ["fake-1", "down"]])
    managed.wait_ready("off")
    client.manager.stop()
    assert client.manager.wait(timeout=LIMIT).session["success"]
    assert processes_of("off", site.directory) == processes_of("fake-1", site.directory) == []
    client.manager.start()
    managed.wait_ready("fake-1")
    assert managed.states["off"]["target_state"] == "down"


def test_the_manager_can_be_started_with_requests(site, add_fakes, manage):
    add_fakes("fake-1", "fake-2")
    managed = manage()
    managed.wait_ready("fake-1", "fake-2")
    client = managed.handle.client
    client.manager.stop()
    client.manager.wait(timeout=LIMIT)
    client.manager.start(requests=[["all", "down"], ["fake-2", "up"]], reload_config=False)
    managed.wait_ready("fake-2")
    assert managed.states["fake-1"]["next_action"] == "down"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_brings_all_down_before_the_manager_ends(site, add_fakes, manage, number):
    add_fakes("fake-1", "fake-2")
    managed = manage()
    managed.wait_ready("fake-1", "fake-2")
    assert managed.handle.stop(number, timeout=LIMIT) == 0
    assert processes_of("fake-1", site.directory) == processes_of("fake-2", site.directory) == []


def test_die_brings_all_down_and_ends_the_agent(site, add_fakes, manage):
    add_fakes("fake-1")
    managed = manage()
    managed.wait_ready("fake-1")
    assert managed.handle.client.die().session["success"]
    assert managed.handle.process.wait(LIMIT) == 0
    assert processes_of("fake-1", site.directory) == []


def test_restart_ends_an_agent_and_starts_it_again_at_once(site, add_fakes, manage):
    add_fakes("fake-1", "fake-2")
    managed = manage()
    managed.wait_ready("fake-1", "fake-2")
    old, other = managed.pid("fake-1"), managed.pid("fake-2")
    assert managed.handle.client.restart(instances=["fake-1"]).session["success"]
    managed.wait_new_pid("fake-1", old)
    assert managed.pid("fake-2") == other
    assert managed.states["fake-1"]["stability"] == 1.0


@pytest.mark.parametrize(
    ("restart", "number", "comes_back"),
    [("on-failure", signal.SIGINT, False), ("on-failure", signal.SIGKILL, True), ("manual", signal.SIGKILL, False)],
)
def test_restart_policies(site, add_fakes, manage, restart, number, comes_back):
    add_fakes("fake-1", restart=restart)
    managed = manage()
    managed.wait_ready("fake-1")
    old = managed.pid("fake-1")
    os.kill(old, number)
    if comes_back:
        managed.wait_new_pid("fake-1", old)
    else:
        state = managed.wait_action("fake-1", "down")
        assert state["target_state"] == "down"
        assert len(state["exits"]) == 1


def test_the_last_lines_of_an_agent_can_be_read_on(site, add_fakes, manage):
    add_fakes("fake-1")
    managed = manage()
    managed.wait_ready("fake-1")
    client = managed.handle.client
    data = client.logs(instance_id="fake-1").session["data"]
    assert data["instance_id"] == "fake-1"
    assert any("joined" in line for line in data["lines"])
    assert client.logs(instance_id="fake-1", position=data["position"]).session["data"]["lines"] == []
    assert wait_for(lambda: "joined" in Path(data["log_file"]).read_text())
    assert not client.logs(instance_id="nobody").session["success"]


def test_output_is_kept_beside_the_log_files(site, add_fakes, manage):
    site.host["log-dir"] = str(site.directory / "log")
    (site.directory / "log").mkdir()
    add_fakes("fake-1")
    managed = manage()
    managed.wait_ready("fake-1")
    assert wait_for(lambda: "joined" in (site.directory / "log" / "output" / "fake-1.log").read_text())


# The site config file


def test_a_reload_follows_the_file(site, add_fakes, manage):
    add_fakes("stays", "goes")
    managed = manage()
    managed.wait_ready("stays", "goes")
    pid = managed.pid("stays")
    site.instances = [entry for entry in site.instances if entry["instance-id"] != "goes"]
    add_fakes("comes")
    assert managed.handle.client.update(reload_config=True).session["success"]
    managed.wait_ready("comes")
    managed.wait(lambda states: "goes" not in states)
    assert processes_of("goes", site.directory) == []
    assert managed.pid("stays") == pid
    assert "goes has been removed in the site config file." in managed.messages


def test_a_broken_file_changes_nothing_until_it_is_mended(site, add_fakes, manage):
    add_fakes("fake-1")
    managed = manage()
    managed.wait_ready("fake-1")
    pid, client = managed.pid("fake-1"), managed.handle.client
    site.path.write_text(BROKEN)
    assert not client.update(reload_config=True).session["success"]
    ok, _when, text = wait_for(lambda: _parse_status(managed, ok=False))
    assert not ok
    assert f"{site.path}:2:1" in text
    assert any(text in message for message in managed.messages)
    assert managed.session["op_code"] == 8
    assert managed.pid("fake-1") == pid
    add_fakes("fake-2")
    assert client.update(reload_config=True).session["success"]
    managed.wait_ready("fake-1", "fake-2")
    assert managed.data["config_parse_status"]["[SCF]"][0]
    assert managed.session["op_code"] == 3
    assert managed.pid("fake-1") == pid


def _parse_status(managed, *, ok):
    status = managed.data["config_parse_status"]["[SCF]"]
    return status if status[0] == ok else None


def test_an_agent_that_dies_while_the_file_is_broken_comes_back_on_the_last_good_one(site, add_fakes, manage):
    add_fakes("fake-1")
    managed = manage()
    managed.wait_ready("fake-1")
    old = managed.pid("fake-1")
    site.path.write_text(BROKEN)
    kill(old)
    managed.wait_new_pid("fake-1", old)


def test_a_manager_that_starts_while_the_file_is_broken_goes_on_from_the_last_good_one(site, add_fakes, manage):
    add_fakes("fake-1")
    first = manage()
    first.wait_ready("fake-1")
    pid = first.pid("fake-1")
    first.handle.kill_alone()
    site.path.write_text(BROKEN)
    second = manage(wait=False)
    second.wait_ready("fake-1")
    assert second.pid("fake-1") == pid
    assert not second.data["config_parse_status"]["[SCF]"][0]
    site.write()
    assert second.handle.client.update(reload_config=True).session["success"]


def test_a_manager_whose_file_was_never_good_says_so_in_a_line(site, run_agent):
    site.path.write_text(BROKEN)
    handle = run_agent("hm-1", wait=False)
    assert handle.process.wait(LIMIT) == 1
    assert len(handle.output.strip().splitlines()) == 1
    assert f"{site.path}:2:1" in handle.output


@pytest.mark.parametrize("state", ["up", "down"])
def test_initial_state_is_that_of_all(site, add_fakes, manage, state):
    add_fakes("fake-1")
    add_fakes("fake-2", manage="host/down")
    managed = manage("--initial-state", state)
    managed.wait(lambda states: {each["next_action"] for each in states.values()} == {state})
    assert {each["target_state"] for each in managed.states.values()} == {state}


# Adoption


def test_a_killed_manager_is_followed_by_one_that_takes_all_over(site, add_fakes, manage):
    add_fakes("fake-1", "fake-2", "fake-3", "gone")
    first = manage()
    pids = {name: state["pid"] for name, state in first.wait_ready("fake-1", "fake-2", "fake-3", "gone").items()}
    first.handle.client.update(requests=[["fake-3", "down"]])
    first.wait_action("fake-3", "down")
    first.handle.kill_alone()
    site.instances = [entry for entry in site.instances if entry["instance-id"] != "gone"]
    site.write()
    kill(pids["fake-2"])
    second = manage()
    states = second.wait_ready("fake-1", "fake-2")
    assert states["fake-1"]["pid"] == pids["fake-1"]
    assert states["fake-2"]["pid"] != pids["fake-2"]
    assert (states["fake-3"]["target_state"], states["fake-3"]["next_action"]) == ("down", "down")
    second.wait(lambda found: "gone" not in found)
    assert processes_of("gone", site.directory) == processes_of("fake-3", site.directory) == []
    assert processes_of("fake-1", site.directory) == [pids["fake-1"]]


def test_what_was_taken_over_is_kept_and_ended_as_any_other(site, add_fakes, manage):
    add_fakes("fake-1", "fake-2")
    first = manage()
    first.wait_ready("fake-1", "fake-2")
    first.handle.kill_alone()
    second = manage()
    second.wait_ready("fake-1", "fake-2")
    old = second.pid("fake-1")
    kill(old)
    second.wait_new_pid("fake-1", old)
    assert second.handle.stop(signal.SIGTERM, timeout=LIMIT) == 0
    assert processes_of("fake-1", site.directory) == processes_of("fake-2", site.directory) == []


@pytest.mark.parametrize(("restart", "comes_back"), [("on-failure", True), ("manual", False)])
def test_restart_policies_hold_for_what_ends_while_no_manager_is_there(site, add_fakes, manage, restart, comes_back):
    add_fakes("fake-1", restart=restart)
    first = manage()
    first.wait_ready("fake-1")
    old = first.pid("fake-1")
    first.handle.kill_alone()
    kill(old)
    second = manage()
    if comes_back:
        second.wait_new_pid("fake-1", old)
    else:
        assert second.wait_action("fake-1", "down")["target_state"] == "down"
        assert any("restart: manual" in message for message in second.messages)


def test_changed_arguments_are_noticed_of_what_was_taken_over(site, add_fakes, manage):
    add_fakes("fake-1")
    first = manage()
    first.wait_ready("fake-1")
    first.handle.kill_alone()
    site.add_instance("FakeDataAgent", "fake-1", ["--mode", "idle"])
    second = manage()
    assert second.wait_ready("fake-1")["fake-1"]["restart_required"]
    second.handle.client.restart(instances=["fake-1"])
    second.wait(lambda states: states["fake-1"]["ready"] and not states["fake-1"]["restart_required"])


def test_a_clean_stop_forgets_what_people_have_set(site, add_fakes, manage):
    add_fakes("fake-1")
    first = manage()
    first.wait_ready("fake-1")
    first.handle.client.update(requests=[["fake-1", "down"]])
    first.wait_action("fake-1", "down")
    first.handle.stop(signal.SIGTERM, timeout=LIMIT)
    manage().wait_ready("fake-1")


def test_initial_state_counts_more_than_what_a_killed_manager_was_told(site, add_fakes, manage):
    add_fakes("fake-1")
    first = manage()
    first.wait_ready("fake-1")
    first.handle.client.update(requests=[["fake-1", "down"]])
    first.wait_action("fake-1", "down")
    first.handle.kill_alone()
    manage("--initial-state", "up").wait_ready("fake-1")


@pytest.mark.parametrize("how", ["die", "signal"])
def test_agents_can_be_left_running_and_are_taken_over(site, add_fakes, manage, how):
    add_fakes("fake-1")
    first = manage(*(["--leave-running"] if how == "signal" else []))
    first.wait_ready("fake-1")
    pid = first.pid("fake-1")
    if how == "die":
        first.handle.client.die(leave_running=True)
        assert first.handle.process.wait(LIMIT) == 0
    else:
        assert first.handle.stop(signal.SIGTERM, timeout=LIMIT) == 0
    assert processes_of("fake-1", site.directory) == [pid]
    second = manage()
    second.wait_ready("fake-1")
    assert second.pid("fake-1") == pid


def test_a_second_manager_of_the_name_starts_nothing_until_the_first_has_ended(site, add_fakes, manage):
    add_fakes("fake-1")
    first = manage()
    first.wait_ready("fake-1")
    pid = first.pid("fake-1")
    second = manage(wait=False)
    wait_for(lambda: "looks after the children" in second.handle.output, LIMIT)
    assert processes_of("fake-1", site.directory) == [pid]
    first.handle.kill_alone()
    second.wait_ready("fake-1")
    assert processes_of("fake-1", site.directory) == [pid]


# The router


def test_agents_and_manager_outlive_the_router(own_router, make_site, run_agent):
    site = make_site(own_router)
    site.host["crossbar_timeout"] = 0
    site.add_instance("HostManager", "hm-1").add_instance("FakeDataAgent", "fake-1", ["--mode", "acq"])
    managed = Managed(run_agent("hm-1", site=site))
    managed.wait_ready("fake-1")
    pid = managed.pid("fake-1")
    own_router.kill()
    own_router.start()
    managed.wait_ready("fake-1")
    assert managed.pid("fake-1") == pid
    kill(pid)
    managed.wait_new_pid("fake-1", pid)


def test_agents_wait_for_the_router(own_router, make_site, run_agent):
    site = make_site(own_router)
    site.add_instance("HostManager", "hm-1").add_instance("FakeDataAgent", "fake-1", ["--mode", "acq"])
    own_router.kill()
    managed = Managed(run_agent("hm-1", site=site, wait=False))
    wait_for(lambda: "manager:0" in managed.handle.output, LIMIT)
    own_router.start()
    state = managed.wait_ready("fake-1")["fake-1"]
    assert (state["restarts"], state["exits"]) == (0, [])


# systemd, and the rest


def test_systemd_is_told_that_the_manager_is_ready_how_all_do_and_that_it_lives(site, add_fakes, manage, tmp_path):
    add_fakes("fake-1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(LIMIT)
        managed = manage(env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"})
        seen = ""
        while not all(word in seen for word in ("READY=1", "STATUS=1 of 1 agents up", "WATCHDOG=1")):
            seen += listener.recv(1000).decode() + "\n"
        managed.handle.process.send_signal(signal.SIGTERM)
        while "STOPPING=1" not in seen:
            seen += listener.recv(1000).decode() + "\n"
        assert managed.handle.process.wait(LIMIT) == 0


def test_quiet_prints_nothing(site, add_fakes, manage):
    add_fakes("fake-1")
    managed = manage("--quiet")
    managed.wait_ready("fake-1")
    assert managed.handle.output == ""


def test_twenty_agents_are_brought_up_and_down(site, add_fakes, manage):
    names = [f"fake-{number}" for number in range(22)]
    add_fakes(*names)
    managed = manage()
    managed.wait_ready(*names, timeout=100)
    assert managed.handle.stop(signal.SIGTERM, timeout=LIMIT) == 0
    assert [pid for name in names for pid in processes_of(name, site.directory)] == []
