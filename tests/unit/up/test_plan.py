"""What is going to run."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ocs.errors import AgentClassError, DataFolderError, RouterError, SiteConfigError
from ocs.site_config import SiteConfig
from ocs.up.folder import DataFolder, shown_path
from ocs.up.hub import Choice, hub_of
from ocs.up.manager import manager_command
from ocs.up.plan import (
    Options,
    demo_site_file,
    find_manager,
    make_plan,
    recording_folder,
    router_config,
    select_instances,
    write_site_file,
)


@pytest.fixture
def busy_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def free_port(busy_port):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def folder(tmp_path):
    folder = DataFolder(tmp_path / "data")
    folder.open()
    yield folder
    folder.close()


def write_site(tmp_path, port, instances, **host):
    path = tmp_path / "mine.yaml"
    hub = {
        "wamp_server": f"ws://127.0.0.1:{port}/ws",
        "wamp_http": f"http://127.0.0.1:{port}/call",
        "wamp_realm": "test_realm",
        "address_root": "observatory",
    }
    path.write_text(yaml.safe_dump({"hub": hub, "hosts": {"localhost": {"agent-instances": instances, **host}}}))
    return path


FAKE = {"agent-class": "FakeDataAgent", "instance-id": "fake-1"}


def test_the_packaged_demonstration_is_a_valid_site_with_all_it_promises():
    site = SiteConfig.from_yaml(demo_site_file())
    classes = [instance.agent_class for instance in site.hosts["localhost"].instances]
    assert classes.count("FakeDataAgent") >= 2
    assert {"RegistryAgent", "AggregatorAgent"} <= set(classes)
    assert site.hosts["localhost"].crossbar is not None


EXAMPLES = sorted((Path(__file__).parents[3] / "site-config").glob("*/default.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_sites_to_start_from_can_be_run(path, folder):
    host = next(iter(SiteConfig.from_yaml(path).hosts))
    plan = make_plan(Options(site_file=path, site_host=host, port="auto"), folder)
    assert plan.instances


def test_there_are_sites_to_start_from():
    assert EXAMPLES


def test_the_demonstration_is_planned_in_the_data_folder(folder):
    plan = make_plan(Options(port="auto"), folder)
    write_site_file(plan, folder)
    site = SiteConfig.from_yaml(plan.site_file)
    assert hub_of(site, site.hosts["localhost"]) == plan.hub
    assert plan.site_file == folder.site_file
    assert "#" in folder.site_file.read_text()
    assert plan.records_to == folder.recorded
    assert router_config(plan) is not None
    assert site.hosts["localhost"].instances[0].instance_id == plan.manager == "hm-localhost"


HM = {"agent-class": "HostManager", "instance-id": "my-manager", "arguments": ["--initial-state", "down"]}


def test_a_site_that_has_its_host_manager_is_run_as_it_is(tmp_path, folder, free_port):
    path = write_site(tmp_path, free_port, [FAKE, HM])
    plan = make_plan(Options(site_file=path), folder)
    write_site_file(plan, folder)
    assert (plan.manager, plan.site_file) == ("my-manager", path)
    assert [instance.instance_id for instance in plan.instances] == ["fake-1"]
    assert not folder.site_file.exists()


def test_the_manager_is_started_as_any_agent_and_keeps_its_files_in_the_data_folder(tmp_path, folder, free_port):
    path = write_site(tmp_path, free_port, [FAKE, HM])
    command = manager_command(make_plan(Options(site_file=path), folder), folder)
    words = (sys.executable, "-m", "ocs.agent_cli", "--instance-id", "my-manager", "--site-file", str(path))
    assert command.argv[:9] == (*words, "--site-host", "localhost")
    assert command.argv[9:13] == ("--working-dir", str(folder.root), "--output-dir", str(folder.logs))
    assert command.env["OCS_STATE_DIR"] == str(folder.state)


def test_agents_take_their_own_keys_not_the_user_s(tmp_path, folder, free_port, monkeypatch):
    monkeypatch.setenv("OCS_KEYS", "/mine")
    monkeypatch.setenv("OCS_KEY_FILE", "/mine/private/client.key")
    plan = make_plan(Options(site_file=write_site(tmp_path, free_port, [FAKE])), folder)
    env = manager_command(plan, folder).env
    assert env is not None
    assert not {"OCS_KEYS", "OCS_KEY_FILE"} & set(env)


def test_a_site_that_is_to_be_closed_has_its_keys_in_the_data_folder_and_tls(tmp_path, folder, free_port):
    plan = make_plan(Options(site_file=write_site(tmp_path, free_port, [FAKE]), secure=True), folder)
    assert plan.hub.keys == str(folder.keys)
    assert plan.hub.wamp_server == f"wss://127.0.0.1:{free_port}/ws"
    write_site_file(plan, folder)
    hub = yaml.safe_load(folder.site_file.read_text())["hub"]
    assert (hub["keys"], hub["wamp_http"]) == (str(folder.keys), f"https://127.0.0.1:{free_port}/call")


def test_a_site_without_a_host_manager_is_given_one_in_a_copy(tmp_path, folder, free_port):
    path = write_site(tmp_path, free_port, [FAKE])
    plan = make_plan(Options(site_file=path), folder)
    write_site_file(plan, folder)
    copy = SiteConfig.from_yaml(plan.site_file).hosts["localhost"]
    assert [instance.instance_id for instance in copy.instances] == [plan.manager, "fake-1"]
    assert plan.site_file == folder.site_file
    assert "HostManager" not in path.read_text()


def test_another_port_is_told_to_everybody_in_a_copy(tmp_path, folder, busy_port):
    path = write_site(tmp_path, busy_port, [FAKE, HM])
    plan = make_plan(Options(site_file=path, port="auto"), folder)
    write_site_file(plan, folder)
    assert plan.hub.port != busy_port
    assert SiteConfig.from_yaml(plan.site_file).hub.wamp_http == plan.hub.wamp_http


@pytest.mark.parametrize(
    ("host", "others", "name"),
    [
        ("daq", [], "hm-daq"),
        ("daq.example.org", [], "hm-daq-example-org"),
        ("daq", ["hm-daq", "hm-daq-2"], "hm-daq-3"),
    ],
)
def test_the_manager_s_name_is_one_part_of_an_address_and_nobody_else_s(host, others, name):
    hosts = {
        host: {"agent-instances": [FAKE]},
        "other": {"agent-instances": [{"agent-class": "A", "instance-id": other} for other in others]},
    }
    site = site_of(hosts)
    assert find_manager(site, site.hosts[host]) == (name, None)


def test_a_busy_port_of_a_site_of_one_s_own_is_an_error_with_port_and_remedy(tmp_path, folder, busy_port):
    path = write_site(tmp_path, busy_port, [FAKE])
    with pytest.raises(RouterError, match=f"{busy_port}.*--port"):
        make_plan(Options(site_file=path), folder)


def test_a_busy_port_asked_for_is_an_error(tmp_path, folder, busy_port, free_port):
    path = write_site(tmp_path, free_port, [FAKE])
    with pytest.raises(RouterError, match=str(busy_port)):
        make_plan(Options(site_file=path, port=busy_port), folder)


def test_an_unknown_class_is_told_with_its_instance(tmp_path, folder, free_port):
    path = write_site(tmp_path, free_port, [{"agent-class": "NoSuchAgent", "instance-id": "x-1"}])
    with pytest.raises(AgentClassError, match=r"x-1.*NoSuchAgent"):
        make_plan(Options(site_file=path), folder)


def test_an_unknown_host_is_told(tmp_path, folder, free_port):
    path = write_site(tmp_path, free_port, [FAKE])
    path.write_text(path.read_text().replace("localhost", "elsewhere"))
    with pytest.raises(SiteConfigError, match="elsewhere"):
        make_plan(Options(site_file=path), folder)


def test_a_missing_router_program_is_told_with_the_remedy(tmp_path, folder, free_port, monkeypatch):
    path = write_site(tmp_path, free_port, [FAKE])
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(RouterError, match=r"pip install 'ocs\[router\]'"):
        make_plan(Options(site_file=path), folder)


def test_the_router_of_the_site_is_used_if_it_answers(tmp_path, folder, router):
    path = write_site(tmp_path, router.port, [FAKE])
    plan = make_plan(Options(site_file=path), folder)
    assert plan.choice is Choice.USE
    assert router_config(plan) is None
    assert any(router.ws_url in note for note in plan.notes)


def site_of(hosts):
    hub = {"wamp_server": "ws://h:1/ws", "wamp_http": "http://h:1/c", "wamp_realm": "r", "address_root": "o"}
    return SiteConfig.from_dict({"hub": hub, "hosts": hosts})


def instances(*described):
    return site_of({"h": {"agent-instances": list(described)}}).hosts["h"].instances


MIXED = (
    {**FAKE, "start-level": 5},
    {"agent-class": "A", "instance-id": "down", "manage": "host/down"},
    {"agent-class": "A", "instance-id": "box", "manage": "docker/up"},
    {"agent-class": "A", "instance-id": "not", "manage": "ignore"},
    {"agent-class": "HostManager", "instance-id": "hm-2"},
    {"agent-class": "RegistryAgent", "instance-id": "registry"},
)


def names(chosen_and_left_out):
    return tuple([each.instance_id for each in part] for part in chosen_and_left_out)


def test_only_what_the_host_is_to_run_is_started_in_order_of_start_level():
    found = names(select_instances(instances(*MIXED), has_so3g=True))
    assert found == (["registry", "fake-1"], ["down", "box", "not", "hm-2"])


@pytest.mark.parametrize("words", [["--docker-compose", "compose.yaml"], ["--docker-compose=a.yaml,b.yaml"]])
def test_docker_services_are_left_to_a_manager_that_knows_compose_files(words):
    manager, *rest = instances({"agent-class": "HostManager", "instance-id": "hm", "arguments": words}, *MIXED)
    found = names(select_instances([manager, *rest], manager, has_so3g=True))
    assert found == (["box", "registry", "fake-1"], ["down", "not", "hm-2"])


def test_without_so3g_the_aggregator_is_left_out_with_the_remedy():
    described = instances(FAKE, {"agent-class": "AggregatorAgent", "instance-id": "agg"})
    chosen, (left_out,) = select_instances(described, has_so3g=False)
    assert [instance.instance_id for instance in chosen] == ["fake-1"]
    assert "pip install 'ocs[hk]'" in left_out.why


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        (["--data-dir", "hk"], Path("/w/hk")),
        ([["--data-dir", "/data/hk"]], Path("/data/hk")),
        ([], None),
        (["--data-dir"], None),
    ],
)
def test_where_the_aggregator_writes(arguments, folder):
    described = instances({"agent-class": "AggregatorAgent", "instance-id": "agg", "arguments": arguments})
    assert recording_folder(described, Path("/w")) == folder


def test_a_data_folder_has_one_user_at_a_time(folder):
    with pytest.raises(DataFolderError, match=f"pid {os.getpid()}.*--data-dir"):
        DataFolder(folder.root).open()
    folder.close()
    again = DataFolder(folder.root)
    again.open()
    again.close()


def test_the_lock_goes_with_its_owner(tmp_path):
    script = f"""
import os
from pathlib import Path
from ocs.up.folder import DataFolder
folder = DataFolder(Path({str(tmp_path)!r}))
folder.open()
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=30).returncode == -9
    folder = DataFolder(tmp_path)
    folder.open()
    folder.close()


@pytest.mark.parametrize("place", ["file/data", "/proc/nowhere"])
def test_a_data_folder_that_cannot_be_made_is_told(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataFolderError, match="--data-dir") as error:
        DataFolder(tmp_path / place).open()
    assert place.split("/")[-1] in str(error.value)


def test_paths_are_shown_as_one_would_type_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / "ocs-data" / "hk") == "ocs-data/hk"
    assert shown_path(tmp_path / "my data") == "'my data'"
    assert shown_path(Path("/somewhere/else")) == "/somewhere/else"
