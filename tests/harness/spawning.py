"""A machine with a spawn agent, for tests: what one asks of it, and what it has started."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from tests.harness import naughty_component
from tests.harness.agents import AgentHandle, bridge_call
from tests.harness.processes import runs
from tests.harness.site import Site

LONGEST_CALL = 30.0
"""More than the 20 s of a spawn: what is measured here is not the machine's speed."""


def component(name, component_type="SequenceComponent"):
    return {"prefix": f"ESW.{name}", "componentType": component_type}


class Machine:
    """A spawn agent, and what one asks of it."""

    def __init__(self, site, run_agent, environment, instance_id="spawner-1"):
        self.site, self.instance_id = site, instance_id
        self._run_agent, self._environment = run_agent, environment
        self.agent = self.start()

    def start(self):
        self.agent = self._run_agent(self.instance_id, site=self.site, env=self._environment)
        return self.agent

    def spawn(self, name, **fields):
        return self.request(kind="SequenceComponent", componentName=name, **fields)

    def request(self, **request):
        return bridge_call(self.site.http_url, f"{self.agent.address}.spawn", request, timeout=LONGEST_CALL)

    def containers(self, path, is_local=True):
        request = {"hostConfigPath": str(path), "isConfigLocal": is_local}
        return bridge_call(self.site.http_url, f"{self.agent.address}.containers", request, timeout=LONGEST_CALL)

    def kill(self, name, component_type="SequenceComponent"):
        return self.kill_id(component(name, component_type))

    def kill_id(self, value):
        return bridge_call(self.site.http_url, f"{self.agent.address}.kill", value, timeout=LONGEST_CALL)

    def child(self, name, component_type="SequenceComponent"):
        data = self.agent.call(".ops", "status", "main")[2]["data"]
        return data.get("children", {}).get(f"{component_type}.ESW.{name}", {})

    def is_in_state(self, name, state):
        """Tell whether a component is in a state, as `session.data` has it."""
        return self.child(name).get("state") == state

    @property
    def state_dir(self):
        """What the spawn agent keeps on the disk."""
        return self.site.state_dir / self.site.hub["wamp_realm"] / self.agent.address

    def pids(self, name):
        return naughty_component.pids(self.site.directory, name)

    def registered(self, name):
        address = f"{self.site.address_root}.components.SequenceComponent.ESW.{name}"
        return bridge_call(self.site.http_url, "wamp.registration.match", address) is not None


@contextmanager
def spawning_machine(
    site: Site,
    run_agent: Callable[..., AgentHandle],
    environment: Mapping[str, str],
    instance_id: str = "spawner-1",
    *arguments: str,
) -> Iterator[Machine]:
    """Start a spawn agent whose sequence components are naughty; what it has started is ended at last."""
    options = ["--sequence-component", "NaughtyComponent", "--prefix", f"ESW.{instance_id}", *arguments]
    site.add_instance("SpawnAgent", instance_id, [*options, "--working-dir", str(site.directory)])
    try:
        yield Machine(site, run_agent, environment, instance_id)
    finally:
        for path in site.directory.glob("*.pids"):
            for pid in filter(runs, map(int, path.read_text().split())):
                os.kill(pid, signal.SIGKILL)
