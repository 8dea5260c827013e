"""A site of several machines: router and agent service on the hub, a spawn agent on each of the others.

What one asks is asked over HTTP, as an operator's script does. Sequence components are naughty: see
`tests.harness.naughty_component`.
"""

import http.client
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from ocs.router.config import crossbar_config
from ocs.router.server import Router
from tests.harness import naughty_component
from tests.harness.hosts import HUB, HUB_ADDRESS, Network, Program, network
from tests.harness.waiting import wait_for

_ROUTER_PORT, _SERVICE_PORT = 8101, 8301  # of a network of its own: nobody else is there
_URL = f"//{HUB_ADDRESS}:{_ROUTER_PORT}"
_SITE_HUB = {
    "wamp_server": f"ws:{_URL}/ws",
    "wamp_http": f"http:{_URL}/call",
    "wamp_realm": "test_realm",
    "address_root": "observatory",
}
LONGEST_ANSWER = 30.0
"""More than the contract allows: how long it took is for the test to judge, in seconds."""


class Pings:
    """How long the router bears with a peer that is silent, in milliseconds."""

    def __init__(self, interval: int, timeout: int) -> None:
        self.interval, self.timeout = interval, timeout

    def set_in(self, config: dict[str, Any]) -> None:
        for transport in config["workers"][0]["transports"]:
            for path in transport["paths"].values():
                if path["type"] == "websocket":
                    path["options"].update(auto_ping_interval=self.interval, auto_ping_timeout=self.timeout)


QUICK_PINGS = Pings(1_000, 2_000)
"""A machine that is cut off is missed within 3 s; with the usual pings within 70 s."""


class SeveralMachines:
    """The site, while it runs.

    Args:
        hosts: the network, with its hosts.
        folder: where everything is written.
        pings: of the router; None for the usual ones.
    """

    def __init__(self, hosts: Network, folder: Path, pings: Pings | None) -> None:
        self.network, self.folder = hosts, folder
        self.names = [name for name in hosts.hosts if name != HUB]
        self.spawn_agents: dict[str, Program] = {}
        self._env = {**os.environ, **naughty_component.install(folder / "plugins"), "OCS_CONFIG_DIR": str(folder)}
        self._write_site()
        config = crossbar_config(SimpleNamespace(**_SITE_HUB))
        if pings:
            pings.set_in(config)
        self.router = Router({**config}, folder / "router")

    def _write_site(self) -> None:
        hosts = {name: {"agent-instances": [self._instance(name)]} for name in self.names}
        site = {"hub": _SITE_HUB, "hosts": hosts}
        (self.folder / "default.yaml").write_text(yaml.safe_dump(site))

    def _instance(self, name: str) -> dict[str, Any]:
        words = ["--sequence-component", "NaughtyComponent", "--working-dir", str(self.folder / name)]
        return {"agent-class": "SpawnAgent", "instance-id": f"spawner-{name}", "arguments": words}

    def begin(self) -> None:
        """Start it all, and wait until it is there."""
        with self.network.hub.inside():
            self.router.start()
        self._start(HUB, "ocs.cli.agent_service", "start", "--no-auth", "--port", str(_SERVICE_PORT))
        for name in self.names:
            self.start_spawn_agent(name)
        self.wait_for_machines(*self.names)

    def end(self) -> None:
        """End the router; all else ends with its host."""
        self.router.stop()

    def start_spawn_agent(self, name: str) -> Program:
        """Start the spawn agent of a host, and return at once."""
        program = self._start(name, "ocs.agent_cli", "--instance-id", f"spawner-{name}")
        self.spawn_agents[name] = program
        return program

    def _start(self, name: str, module: str, *words: str) -> Program:
        env = {**self._env, "OCS_STATE_DIR": str(self.folder / name / "state"), "PYTHONUNBUFFERED": "1"}
        return self.network[name].start(f"{module}.{time.monotonic_ns()}", [sys.executable, "-m", module, *words], env)

    # Over HTTP

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Ask the agent service.

        Raises:
            OSError: it is not there.
        """
        with self.network.hub.inside():
            link = http.client.HTTPConnection("127.0.0.1", _SERVICE_PORT, timeout=LONGEST_ANSWER)
            link.connect()
        link.request("POST", "/post-endpoint", json.dumps(request), {"Content-Type": "application/json"})
        try:
            return json.loads(link.getresponse().read())
        finally:
            link.close()

    def spawn(self, host: str, component: str) -> dict[str, Any]:
        """Have a sequence component spawned."""
        request = {"_type": "SpawnSequenceComponent", "agentPrefix": f"ESW.{host}", "componentName": component}
        return self.ask(request)

    def kill(self, component: str) -> dict[str, Any]:
        """Have a sequence component killed."""
        name = {"prefix": f"ESW.{component}", "componentType": "SequenceComponent"}
        return self.ask({"_type": "KillComponent", "componentId": name})

    def begin_to(self, work: Any, *args: Any) -> "Future[Timed]":
        """Do it in a thread, which ends with it."""
        done: Future[Timed] = Future()
        threading.Thread(target=_fulfil, args=(done, work, *args)).start()
        return done

    def status(self) -> dict[str, list[str]]:
        """Return the components of each SpawnAgent by the name of its host; those without one by an empty name."""
        told = self.ask({"_type": "GetAgentStatus"})
        if told["_type"] != "Success":
            return {"": [str(told)]}
        found = {_name(each["agentId"]): each["seqCompsStatus"] for each in told["agentStatus"]}
        found[""] = told["seqCompsWithoutAgent"]
        return {host: [_name(each["seqCompId"]) for each in components] for host, components in found.items()}

    def where(self, component: str) -> list[str]:
        """Return who has a component, as the status has it."""
        return [host for host, components in self.status().items() if component in components]

    # On the machines

    def wait_for_machines(self, *names: str, within: float = 30.0) -> None:
        """Wait until the SpawnAgents of these hosts are known."""
        try:
            wait_for(lambda: self._knows(names), within)
        except AssertionError:
            print(self.all_output())
            raise

    def _knows(self, names: Sequence[str]) -> bool:
        try:
            return set(names) <= set(self.status())
        except OSError:
            return False

    def living(self, component: str) -> list[str]:
        """Return the hosts on which processes of a component are, once for each process."""
        words = {f"--prefix=ESW.{component}", f"ocs-agent:seqcomp-esw-{component}"}  # at first, and once it has a title
        lines = [(name, line) for name in self.names for line in self.network[name].running().values()]
        return [name for name, line in lines if words.intersection(line.split())]

    def spawn_agent_says(self, host: str, component: str) -> dict[str, Any]:
        """Return what the SpawnAgent of a host tells of a component that it has started."""
        address = f"observatory.spawner-{host}.ops"
        with self.network.hub.inside():
            link = http.client.HTTPConnection(HUB_ADDRESS, _ROUTER_PORT, timeout=5)
            link.connect()
        call = {"procedure": address, "args": ["status", "main"], "kwargs": {}}
        link.request("POST", "/call", json.dumps(call), {"Content-Type": "application/json"})
        try:
            reply = json.loads(link.getresponse().read())
        finally:
            link.close()
        # Before it is there, or has begun to tell, there is less in the answer.
        session = reply["args"][0][2] if "error" not in reply else {}
        return session.get("data", {}).get("children", {}).get(f"SequenceComponent.ESW.{component}", {})

    def output_of(self, host: str, component: str) -> str:
        """Return all that a component has printed on a host."""
        return "".join(path.read_text() for path in (self.folder / host).rglob(f"*ESW.{component}.log"))

    def all_output(self) -> str:
        """Return all that has been printed, for a test that fails."""
        files = sorted(self.folder.glob("*/*.out"))
        return "\n".join(f"--- {path.relative_to(self.folder)} ---\n{path.read_text()}" for path in files)


class Timed:
    """An answer, and how long it took, in seconds."""

    def __init__(self, answer: dict[str, Any], took: float) -> None:
        self.answer, self.took = answer, took
        self.kind, self.text = answer["_type"], answer.get("msg", "")


def _fulfil(done: "Future[Timed]", work: Any, *args: Any) -> None:
    begun = time.monotonic()
    try:
        done.set_result(Timed(work(*args), time.monotonic() - begun))
    except Exception as error:
        done.set_exception(error)


def _name(component: dict[str, str]) -> str:
    return component["prefix"].partition(".")[2]


@contextmanager
def several_machines(
    folder: Path, names: Sequence[str], pings: Pings | None = QUICK_PINGS
) -> Iterator[SeveralMachines]:
    """Have a site of several machines for the time of the context."""
    with network(names, folder) as hosts:
        site = SeveralMachines(hosts, folder, pings)
        try:
            site.begin()
            yield site
        finally:
            print(site.all_output())
            site.end()
