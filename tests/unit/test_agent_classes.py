"""Which agent classes are installed, and what happens to plugins and agents that cannot be imported."""

import sys
from pathlib import Path

import pytest

from ocs.agent_classes import build_agent_list, find_agent_class, load_entry_point
from ocs.errors import AgentClassError

PLUGIN = "package_name = {package!r}\nagents = {agents!r}\n"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Lay out a plugin as an installed package: its module, and the metadata with its entry point."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def install(name, source):
        (tmp_path / f"{name}_plugin.py").write_text(source)
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[ocs.plugins]\n{name} = {name}_plugin\n")
        return tmp_path

    yield install
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(tmp_path):
            del sys.modules[name]


def agents(**modules):
    return {name: {"module": module, "entry_point": "main"} for name, module in modules.items()}


def test_ocs_lists_its_own_agents():
    found = build_agent_list()
    assert found["FakeDataAgent"] == {"module": "ocs.agents.fake_data.agent", "entry_point": "main"}
    assert {"RegistryAgent", "AggregatorAgent", "BarebonesAgent"} <= set(found)


def test_a_plugins_classes_are_found(install):
    install("aplug", PLUGIN.format(package="aplug", agents=agents(ZapAgent="zap.agent")))
    assert find_agent_class("ZapAgent") == ("ZapAgent", "zap.agent", "main", "aplug")


def test_a_plugin_that_fails_to_import_is_reported_and_the_others_work(install):
    install("aplug", "import no_such_module_here")
    install("bplug", "raise SystemError('broken\\nbadly')")
    install("cplug", PLUGIN.format(package="cplug", agents=agents(ZapAgent="zap.agent")))
    reports = []
    assert "ZapAgent" in build_agent_list(reports.append)
    assert [report.split(",")[0] for report in reports] == ["plugin 'aplug' is skipped", "plugin 'bplug' is skipped"]
    assert "broken badly" in reports[1]


def test_of_two_plugins_with_one_class_the_first_by_name_wins_with_a_warning(install):
    install("bplug", PLUGIN.format(package="bplug", agents=agents(ZapAgent="b.agent")))
    install("aplug", PLUGIN.format(package="aplug", agents=agents(ZapAgent="a.agent")))
    reports = []
    assert build_agent_list(reports.append)["ZapAgent"]["module"] == "a.agent"
    assert reports == ["agent class ZapAgent of plugin 'bplug' is not used: 'aplug' has one too"]


def test_ocs_comes_before_all_other_plugins(install):
    install("aplug", PLUGIN.format(package="aplug", agents=agents(FakeDataAgent="a.agent")))
    reports = []
    assert build_agent_list(reports.append)["FakeDataAgent"]["module"] == "ocs.agents.fake_data.agent"
    assert len(reports) == 1
    assert find_agent_class("FakeDataAgent").plugin == "ocs"


@pytest.mark.parametrize("source", ["", "agents = ['ZapAgent']"])
def test_a_plugin_without_agents_is_reported(install, source):
    install("aplug", source)
    reports = []
    build_agent_list(reports.append)
    assert reports == ["plugin 'aplug_plugin' is skipped, aplug_plugin has no dict 'agents'"]


def test_a_class_without_a_module_is_reported_and_the_rest_of_the_plugin_works(install):
    install("aplug", PLUGIN.format(package="aplug", agents={"Bad": {}, **agents(ZapAgent="zap.agent")}))
    reports = []
    found = build_agent_list(reports.append)
    assert "ZapAgent" in found
    assert "Bad" not in found
    assert reports == ["agent class Bad of plugin 'aplug' is skipped, it names no 'module'"]


def test_the_default_report_is_a_log_line(install, caplog):
    install("aplug", "import no_such_module_here")
    build_agent_list()
    assert "plugin 'aplug' is skipped" in caplog.text


def test_an_unknown_class_names_the_known_ones():
    with pytest.raises(AgentClassError, match=r"'NoAgent'; known: .*BarebonesAgent, .*RegistryAgent"):
        find_agent_class("NoAgent")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            "import no_such_module_here.part",
            "the module no_such_module_here is missing; install",
        ),
        ("from os import no_such_name", "ImportError: cannot import name 'no_such_name'"),
        ("def main(:\n", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("", "has no function 'main'"),
        ("main = 3", "has no function 'main'"),
    ],
)
def test_an_agent_that_cannot_be_imported_is_told_in_one_line(install, source, told):
    folder = install("aplug", PLUGIN.format(package="aplug", agents=agents(ZapAgent="zap_agent_module")))
    (folder / "zap_agent_module.py").write_text(source)
    with pytest.raises(AgentClassError) as caught:
        load_entry_point(find_agent_class("ZapAgent"))
    assert told in str(caught.value)
    assert "zap_agent_module" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_that_its_own_package_lacks_points_at_the_package(install):
    install("aplug", PLUGIN.format(package="aplug", agents=agents(ZapAgent="aplug_plugin.agent")))
    with pytest.raises(AgentClassError, match="is 'aplug_plugin' installed whole"):
        load_entry_point(find_agent_class("ZapAgent"))
