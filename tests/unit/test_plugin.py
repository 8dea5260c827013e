"""The list of ocs's own agents."""

from importlib.metadata import entry_points

from ocs import plugin


def test_the_plugin_is_registered_under_its_package_name():
    paths = {point.name: point.value for point in entry_points(group="ocs.plugins")}
    assert paths[plugin.package_name] == plugin.__name__


def test_every_agent_lives_in_a_folder_of_its_own():
    for entry in plugin.agents.values():
        package, agents, _folder, module = entry["module"].split(".")
        assert (package, agents, module, entry["entry_point"]) == ("ocs", "agents", "agent", "main")
