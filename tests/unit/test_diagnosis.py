"""The checks of `ocs doctor`, each against what it is to find."""

import os
import socket
import sys
from pathlib import Path

import pytest

from ocs import diagnosis
from ocs.diagnosis import Level
from ocs.router.ports import free_port
from ocs.scf.model import HostConfig

REQUIREMENTS = [
    "autobahn[serialization,twisted]>=25.9",
    "cbor2>=5.6",
    "crossbar>=26.1; extra == 'router'",
    "so3g>=0.2.3; extra == 'hk'",
    "pyOpenSSL>=22; extra == 'keys'",
    "pytest>=8.3; extra == 'dev'",
    "fastapi>=0.115; extra == 'agent-service'",
]


def host(*instances, **keys):
    return HostConfig.from_dict({"agent-instances": list(instances), **keys}, name="here")


def instance(agent_class, *arguments, **keys):
    return {"agent-class": agent_class, "instance-id": agent_class.lower(), "arguments": list(arguments), **keys}


def packages(installed, needed=()):
    found = diagnosis.check_packages(REQUIREMENTS, installed.get, dict(needed))
    return {finding.subject: finding for finding in found}


@pytest.mark.parametrize(("version", "level"), [((3, 10, 12), Level.FAIL), ((3, 11, 0), Level.OK), ((3, 13), Level.OK)])
def test_python(version, level):
    assert diagnosis.check_python(version, "python").level is level


def test_packages_that_are_new_enough():
    installed = {
        "autobahn": "25.9",
        "cbor2": "5.10.1",
        "crossbar": "26.1.1",
        "pyOpenSSL": "26.1",
        "so3g": "0.2.3.post1",
    }
    assert {finding.level for finding in packages(installed).values()} == {Level.OK}


@pytest.mark.parametrize("version", ["25.8.99", "24.12", "5"])
def test_a_package_that_is_too_old_comes_with_the_command_that_helps(version):
    finding = packages({"autobahn": version})["autobahn"]
    assert finding.level is Level.FAIL
    assert "25.9" in finding.message
    assert "pip install" in finding.advice


def test_a_package_of_an_extra_may_be_absent_where_nothing_needs_it():
    assert packages({})["crossbar"].level is Level.OK
    assert packages({})["autobahn"].level is Level.FAIL


def test_a_package_of_an_extra_that_is_needed_names_who_needs_it():
    finding = packages({}, {"hk": "recording by aggregator"})["so3g"]
    assert (finding.level, finding.advice) == (Level.FAIL, "run `pip install --upgrade 'ocs[hk]'`")
    assert "recording by aggregator" in finding.message


def test_a_closed_site_needs_what_tls_takes():
    assert packages({})["pyOpenSSL"].level is Level.OK
    finding = packages({}, {"keys": "each agent of a closed site"})["pyOpenSSL"]
    assert (finding.level, finding.advice) == (Level.FAIL, "run `pip install --upgrade 'ocs[keys]'`")


def test_tools_of_developers_are_nobody_s_trouble():
    assert {"pytest", "fastapi"}.isdisjoint(packages({}))


def test_the_packages_of_this_very_installation_are_found():
    assert diagnosis.installed_version("autobahn")
    assert diagnosis.installed_version("no-such-package-anywhere") is None


def test_recording_that_does_not_load_is_told_in_one_line(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'Traceback' >&2\necho 'ImportError: libGL.so.1' >&2\nexit 1\n")
    python.chmod(0o755)
    finding = diagnosis.check_recording(str(python))
    assert finding.level is Level.FAIL
    assert finding.message.endswith("ImportError: libGL.so.1")


def test_recording_that_hangs_is_not_waited_for(tmp_path):
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    python.chmod(0o755)
    assert diagnosis.check_recording(str(python), timeout=0.2).level is Level.WARN


@pytest.mark.parametrize(
    ("now", "written", "level"),
    [
        (1_800_000_000, None, Level.OK),
        (1_800_000_000, 1_700_000_000, Level.OK),
        (1_800_000_000, 1_800_000_030, Level.OK),
        (1_800_000_000, 1_800_001_000, Level.WARN),
        (0, None, Level.FAIL),
        (5_000_000_000, None, Level.FAIL),
    ],
)
def test_clock(now, written, level):
    assert diagnosis.check_clock(now, written).level is level


@pytest.mark.parametrize(
    ("answers", "level"),
    [
        ({}, Level.UNKNOWN),
        ({"timedatectl": "yes\n"}, Level.OK),
        ({"timedatectl": "no\n"}, Level.WARN),
        ({"timedatectl": "no\n", "chronyc": "A,b,3,0.1,Normal\n"}, Level.OK),
        ({"chronyc": ",0,0,Not synchronised"}, Level.WARN),
        ({"timedatectl": "", "chronyc": ""}, Level.UNKNOWN),
    ],
)
def test_clock_synchronised(answers, level):
    assert diagnosis.check_clock_synchronised(lambda command: answers.get(command[0])).level is level


def test_a_program_that_is_not_there_or_fails_has_no_answer():
    assert diagnosis.ask_program(["no-such-program-anywhere"]) is None
    assert diagnosis.ask_program(["false"]) is None
    assert diagnosis.ask_program(["echo", "yes"]) == "yes\n"


def test_an_unknown_class_is_named_with_its_instance():
    (finding,) = diagnosis.check_instances(host(instance("FakeDataAgent"), instance("NoSuchAgent")))
    assert finding.level is Level.FAIL
    assert "nosuchagent" in finding.message
    assert "NoSuchAgent" in finding.message


def test_a_class_that_runs_in_a_container_need_not_be_installed():
    (finding,) = diagnosis.check_instances(host(instance("NoSuchAgent", manage="docker/up")))
    assert finding.level is Level.OK


def test_folders_that_can_be_written_or_made(tmp_path):
    (tmp_path / "log").mkdir()
    there = host(instance("AggregatorAgent", "--data-dir", "data/hk"), **{"log-dir": "log", "state-dir": "state"})
    found = list(diagnosis.check_folders(there, tmp_path))
    assert [finding.level for finding in found] == [Level.OK, Level.OK, Level.OK]
    assert "will be made" in found[1].message
    assert "will be made" in found[2].message


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "log").write_text("")
    (finding,) = diagnosis.check_folders(host(**{"log-dir": "log"}), tmp_path)
    assert finding.level is Level.FAIL


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_closed(tmp_path):
    tmp_path.chmod(0o500)
    (finding,) = diagnosis.check_folders(host(**{"log-dir": "log"}), tmp_path)
    assert finding.level is Level.FAIL
    assert "chown" in finding.advice


def test_a_nearly_full_disk_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(diagnosis, "LEAST_FREE_BYTES", 10**18)
    (finding,) = diagnosis.check_folders(host(**{"log-dir": "."}), tmp_path)
    assert finding.level is Level.WARN


@pytest.mark.parametrize("arguments", [["--data-dir", "/hk"], [["--data-dir", "/hk"]], ["--x", "1", "--data-dir=/hk"]])
def test_the_data_folder_is_found_however_it_is_written(arguments):
    (one,) = host({**instance("AggregatorAgent"), "arguments": arguments}).instances
    assert diagnosis.data_folder(one) == "/hk"


def test_only_aggregators_record():
    (one,) = host(instance("FakeDataAgent", "--data-dir", "/x")).instances
    assert diagnosis.data_folder(one) is None


def router(port, *, ours=True):
    urls = f"ws://127.0.0.1:{port}/ws", f"http://127.0.0.1:{port}/call"
    return list(diagnosis.check_router(*urls, "test_realm", ours=ours, timeout=0.3))


def test_a_free_port_of_a_router_that_is_ours_to_start_is_fine():
    (finding,) = router(free_port())
    assert finding.level is Level.OK


def test_no_router_where_another_machine_should_run_it():
    (finding,) = router(free_port(), ours=False)
    assert finding.level is Level.FAIL


def test_a_port_that_something_else_holds():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (finding,) = router(taken.getsockname()[1])
    assert finding.level is Level.FAIL


def test_every_finding_that_is_to_be_repaired_says_how(tmp_path):
    (tmp_path / "log").write_text("")
    found = [
        *packages({}).values(),
        diagnosis.check_clock(0, None),
        *diagnosis.check_instances(host(instance("NoSuchAgent"))),
        *diagnosis.check_folders(host(**{"log-dir": "log"}), Path(tmp_path)),
        *router(free_port(), ours=False),
    ]
    assert all(finding.advice for finding in found if finding.level in (Level.FAIL, Level.WARN))
