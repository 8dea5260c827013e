"""What keys a site needs, by its site file."""

import pytest

from ocs.components.names import ComponentId, Prefix, uri_of
from ocs.errors import KeysError
from ocs.keys.permissions import may
from ocs.keys.site import identities_of, keys_folder_of, router_names
from ocs.site_config import SiteConfig

ROOT = "observatory"
HUB = {"wamp_server": "ws://daq-1:8001/ws", "wamp_http": "http://daq-1:8001/call", "wamp_realm": "r"}


def site(hub=None, **hosts):
    def entries(own):
        return [{"instance-id": name, "agent-class": agent_class} for name, agent_class in own.items()]

    described = {name: {"agent-instances": entries(own)} for name, own in hosts.items()}
    return SiteConfig.from_dict({"hub": {**HUB, "address_root": ROOT, **(hub or {})}, "hosts": described})


def by_name(described):
    return {each.name: each for each in identities_of(described)}


def test_each_instance_of_all_hosts_and_the_people_get_one():
    found = by_name(site(h1={"registry": "RegistryAgent"}, h2={"ad": "AccessDirector", "fake-1": "FakeDataAgent"}))
    assert {name: (each.role, each.instances) for name, each in found.items()} == {
        "registry": ("agent", ("registry",)),
        "ad": ("director", ("ad",)),
        "fake-1": ("agent", ("fake-1",)),
        "client": ("client", ()),
        "observer": ("observer", ()),
    }


@pytest.mark.parametrize("name", ["client", "observer", "components"])
def test_an_instance_does_not_take_a_name_that_means_something(name):
    with pytest.raises(KeysError, match=f"an instance cannot be called '{name}'"):
        identities_of(site(h1={name: "FakeDataAgent"}))


def test_a_spawn_agents_key_serves_for_what_it_starts():
    found = by_name(site(h1={"spawner": "SpawnAgent", "fake-1": "FakeDataAgent"}, h2={"fake-2": "FakeDataAgent"}))

    def registers(name, uri):
        return may(found[name], "register", uri, root=ROOT)

    component = uri_of(ROOT, ComponentId(Prefix("ESW", "primary"), "SequenceComponent"))
    started = [component, f"{ROOT}.seqcomp-esw-primary.ops", f"{ROOT}.sequence-manager", f"{ROOT}.spawner.ops"]
    assert all(registers("spawner", uri) for uri in started)
    assert not any(registers("spawner", uri) for uri in (f"{ROOT}.fake-1", f"{ROOT}.seqcom", f"{ROOT}.spawner2"))
    own = uri_of(ROOT, ComponentId(Prefix("OCS", "fake-1"), "Agent"))
    assert registers("fake-1", own)
    assert not registers("fake-1", component)
    assert found["fake-2"].instances == ("fake-2",)


@pytest.mark.parametrize("agent_class", ["SequenceManager", "SequenceComponent"])
def test_what_is_a_component_by_its_class_may_be_one(agent_class):
    seq = by_name(site(h1={"seq-1": agent_class}))["seq-1"]
    assert may(seq, "register", f"{ROOT}.components.Service.ESW.x", root=ROOT)


def test_the_routers_names_are_those_of_all_hosts():
    described = site(h1={})
    described.hosts["h1"].wamp_server = "ws://10.0.0.1:8001/ws"
    described.hosts["h1"].wamp_http = "http://[fe80::1]:8001/call"
    assert router_names(described) == ["daq-1", "10.0.0.1", "fe80::1"]


def test_the_folder_is_beside_the_site_file(tmp_path):
    described = site(h1={})
    described.source_file = str(tmp_path / "default.yaml")
    assert keys_folder_of(described) == tmp_path / "keys"
    named = site({"keys": "own/keys"}, h1={})
    named.source_file = described.source_file
    assert keys_folder_of(named) == tmp_path / "own" / "keys"
    named.hosts["h1"].data = {"keys": "/etc/ocs/keys"}
    assert str(keys_folder_of(named, named.hosts["h1"])) == "/etc/ocs/keys"
