"""The published instrument agents run on this ocs unchanged: all are imported, those that need no hardware are run.

What an agent shows over the published ocs, with the same socs, is what it has to show over ours.
"""

import time
from pathlib import Path

import pytest

from tests.harness.agents import start_agent
from tests.harness.peers import SIDES, answers, run

pytestmark = pytest.mark.interop

SCRIPTS = Path(__file__).parent / "scripts"

# Vendors' modules that the package index does not have: class → the module and the error that says so.
NOT_TO_BE_HAD = {
    "ACUAgent": ("soaculib", ["ModuleNotFoundError", "No module named 'soaculib'"]),
    "FPGAAgent": ("casperfpga", ["ModuleNotFoundError", "No module named 'casperfpga'"]),
    # The package is there; the vendor's library that it loads is not.
    "HWPPicoscopeAgent": (
        "picosdk",
        ["CannotFindPicoSDKError", "PicoSDK (ps3000a) not found, check LD_LIBRARY_PATH"],
    ),
    "LATRtXYStageAgent": ("xy_agent", ["ModuleNotFoundError", "No module named 'xy_agent'"]),
    "SynthAgent": ("holog_daq", ["ModuleNotFoundError", "No module named 'holog_daq'"]),
    "ThorlabsMC2000BAgent": (
        "MC2000B_COMMAND_LIB",
        ["ModuleNotFoundError", "No module named 'MC2000B_COMMAND_LIB'"],
    ),
    "WiregridActuatorAgent": ("gclib", ["ModuleNotFoundError", "No module named 'gclib'"]),
}
# With something in the place of the vendor's module they are imported, but for the one that runs on Windows alone.
WINDOWS_ONLY = {"ThorlabsMC2000BAgent": ["AttributeError", "module 'os' has no attribute 'add_dll_directory'"]}

CLASSES = (
    "ACUAgent",
    "BLHAgent",
    "BlueforsAgent",
    "CrateAgent",
    "CryomechCPAAgent",
    "DS378Agent",
    "FPGAAgent",
    "FlowmeterAgent",
    "FLSAgent",
    "FTSAerotechAgent",
    "GalilAxisAgent",
    "GeneratorAgent",
    "Hi6200Agent",
    "HTTPCameraAgent",
    "HWPBBBAgent",
    "HWPGripperAgent",
    "HWPPCUAgent",
    "HWPPicoscopeAgent",
    "HWPPIDAgent",
    "HWPPMXAgent",
    "HWPSupervisor",
    "ibootbarAgent",
    "LabJackAgent",
    "Lakeshore240Agent",
    "Lakeshore336Agent",
    "Lakeshore370Agent",
    "Lakeshore372Agent",
    "Lakeshore425Agent",
    "LATRtXYStageAgent",
    "LDMonitorAgent",
    "MagpieAgent",
    "MeinbergM1000Agent",
    "MeinbergSyncboxAgent",
    "PCR500MAAgent",
    "PfeifferAgent",
    "PfeifferTC400Agent",
    "PysmurfController",
    "PysmurfMonitor",
    "RTSPCameraAgent",
    "ScpiPsuAgent",
    "SmurfFileEmulator",
    "SmurfHammerAgent",
    "SmurfStreamSimulator",
    "SmurfTimingCardAgent",
    "SRSCG635Agent",
    "StimEncAgent",
    "StimThermometerAgent",
    "SupRsync",
    "SynaccessAgent",
    "SynthAgent",
    "TektronixAWGAgent",
    "ThorlabsMC2000BAgent",
    "UCSCRadiometerAgent",
    "UPSAgent",
    "VantagePro2Agent",
    "WiregridActuatorAgent",
    "WiregridEncoderAgent",
    "WiregridKikusuiAgent",
    "WiregridTiltSensorAgent",
)

# Those that come up without hardware: class → arguments; {} is a folder of the instance's own.
WITHOUT_HARDWARE = {
    "HWPSupervisor": ["--no-acu"],
    "HWPGripperAgent": [],
    "HWPPIDAgent": [],
    "HWPPMXAgent": [],
    "LDMonitorAgent": [],
    "MagpieAgent": [],
    "SmurfFileEmulator": ["--stream-id", "crate1slot2", "--base-dir", "{}"],
    "SmurfStreamSimulator": [],
    "SupRsync": [
        "--archive-name=smurf",
        "--remote-basedir={}/remote",
        "--db-path={}/suprsync.db",
        "--suprsync-file-root={}/files",
    ],
    "BlueforsAgent": ["--log-directory", "{}"],
    "CrateAgent": [],
    "GalilAxisAgent": [],
    "Lakeshore372Agent": ["--mode=idle", "--ip-address", "127.0.0.1", "--serial-number", "LSA0000"],
    "RTSPCameraAgent": ["--directory={}", "--address=none", "--user=none", "--password=none", "--fake"],
    "UCSCRadiometerAgent": ["--url", "http://127.0.0.1:9/"],
    "ibootbarAgent": ["--address", "127.0.0.1"],
}


@pytest.fixture(scope="module")
def imports(socs_python, tmp_path_factory):
    """What came of importing each class's module, without and, where that failed, with stand-ins."""
    directory = tmp_path_factory.mktemp("imports")
    (directory / "sys_config.yml").write_text("{}\n")  # one of the modules reads it when it is imported
    names = [module for module, _ in NOT_TO_BE_HAD.values()]
    script = str(SCRIPTS / "import_agents.py")
    env = {"OCS_CONFIG_DIR": str(directory), "PATH": "/usr/bin:/bin", "HOME": str(directory)}
    return answers(socs_python, script, "socs.plugin", *names, timeout=100, cwd=directory, env=env)


def test_the_list_of_classes_is_complete(imports):
    assert sorted(imports) == sorted(CLASSES)


@pytest.mark.parametrize("name", [name for name in CLASSES if name not in NOT_TO_BE_HAD])
def test_class_is_imported(imports, name):
    assert imports[name] == [None]


@pytest.mark.parametrize("name", NOT_TO_BE_HAD)
def test_class_lacks_its_vendors_module_and_nothing_else(imports, name):
    assert imports[name] == [NOT_TO_BE_HAD[name][1], WINDOWS_ONLY.get(name)]


@pytest.fixture(scope="module")
def stacks(published_python, socs_python):
    """How to run the same socs over both; over the published ocs with the modules that were installed for ours."""
    place = run(socs_python, "-c", "import socs, pathlib; print(pathlib.Path(socs.__file__).parents[1])").strip()
    return {"ours": {"python": socs_python}, "published": {"python": published_python, "env": {"PYTHONPATH": place}}}


@pytest.fixture(scope="module")
def registry(start):
    """A registry of ours."""
    handle = start("ours", "registry", "RegistryAgent")
    handle.wait_until_ready()
    return handle


@pytest.fixture
def over_both(stacks, module_site, tmp_path):
    """Start an agent of a class over both; returns side → handle."""
    handles = {}

    def begin(name):
        for side, how in stacks.items():
            folder = tmp_path / side
            folder.mkdir()
            arguments = [each.replace("{}", str(folder)) for each in WITHOUT_HARDWARE[name]]
            module_site.add_instance(name, f"{name.lower()}-{side}", arguments)
            handles[side] = start_agent(module_site, f"{name.lower()}-{side}", **how)
        for handle in handles.values():
            handle.wait_until_ready(30)
        return handles

    yield begin
    for handle in handles.values():
        handle.kill()


def begun(handle):
    """Return which operations have been started."""
    api = handle.call("", "get_api")
    return {name for name, session, _ in api["tasks"] + api["processes"] if session["status"] != "no_history"}


def until(read, wanted, timeout=10.0):
    """Wait until what is read is as wanted; return what was read last."""
    deadline = time.monotonic() + timeout
    while not wanted(found := read()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("name", WITHOUT_HARDWARE)
def test_agent_registers_and_shows_what_it_shows_over_the_published(over_both, registry, name):
    handles = over_both(name)
    ours, published = (handles[side].call("", "get_api") for side in SIDES)

    assert ours["agent_class"] == published["agent_class"]
    for kind in ("tasks", "processes"):
        assert [op for op, _, _ in ours[kind]] == [op for op, _, _ in published[kind]]
        for (_, _, mine), (_, _, other) in zip(ours[kind], published[kind], strict=True):
            assert {key: mine[key] for key in other} == other
    feeds = [{feed: (each["record"], each["agg_params"]) for feed, each in api["feeds"]} for api in (ours, published)]
    assert feeds[0] == feeds[1]

    address = handles["ours"].address
    known = until(lambda: registry.call(".ops", "status", "main")[2]["data"], lambda data: address in data)
    assert known[address]["agent_class"] == ours["agent_class"]
    assert until(lambda: begun(handles["ours"]), lambda ops: ops == begun(handles["published"])) == begun(
        handles["published"]
    )


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        (
            "HWPSupervisor",
            [
                ("query_hwp_state", None),
                ("update_shutdown", {"enable": False}),
                ("brake", {"freq_tol": "x"}),
                ("set_const_voltage", {"voltage": 1.0, "direction": "up"}),
            ],
        ),
        (
            "SmurfFileEmulator",
            [("bias_dets", None), ("take_bgmap", {"wait": False})],
        ),
    ],
)
def test_operations_end_as_over_the_published(over_both, name, runs):
    handles = over_both(name)

    for op, params in runs:
        assert ended(handles["ours"], op, params) == ended(handles["published"], op, params)


def ended(handle, op, params):
    """Run an operation, and return what came of it: the code of its start, and its session without times."""
    code, _, _ = handle.call(".ops", "start", op, params)
    done, message, session = handle.call(".ops", "wait", op, None, 4) if code == 0 else (0, "", {})
    assert done == 0, message
    return code, session.get("success"), session.get("op_code"), sorted(session.get("data") or {})
