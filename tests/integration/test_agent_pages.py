"""The examples on the agents' pages run as they stand, with their agents on a real router."""

import pytest

from tests.harness.examples import examples

PAGES = [
    ("developer/writing-an-agent.md", "BarebonesAgent", "counter"),
    ("agents/fake-data.md", "FakeDataAgent", "fake-1"),
    ("agents/registry.md", "RegistryAgent", "registry"),
    ("agents/host-manager.md", "HostManager", "hm-1"),
    ("agents/spawn-agent.md", "SpawnAgent", "spawner-1"),
]


@pytest.mark.parametrize(("page", "agent_class", "instance_id"), PAGES)
def test_examples_run(page, agent_class, instance_id, site, run_agent, monkeypatch, capsys):
    site.add_instance(agent_class, instance_id)
    run_agent(instance_id)
    monkeypatch.setenv("OCS_CONFIG_DIR", str(site.directory))
    code = [code for what, code in examples(page) if what == "run with the agent"]
    assert code
    for example in code:
        exec(example, {})
    assert capsys.readouterr().out
