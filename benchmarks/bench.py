"""The bench: one router, one site file, and agents of either package started on it."""

import contextlib
import http.client
import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import yaml

from benchmarks.processes import Child, tree_cpu
from benchmarks.sides import BenchmarkError
from ocs.router.config import crossbar_config
from ocs.router.ports import free_port
from ocs.router.server import Router

__all__ = ["Bench"]

PROGRAMS = Path(__file__).parent / "programs"
REALM, ROOT = "test_realm", "observatory"
LIMITS = ("max_frame_size", "max_message_size")
NO_ANSWER = (OSError, http.client.HTTPException, json.JSONDecodeError, BenchmarkError)


def plain_config(hub):
    """A router as a site of the published package has it: no more than crossbar's own 1 MiB a message."""
    config = crossbar_config(hub, host="127.0.0.1")
    for service in config["workers"][0]["transports"][0]["paths"].values():
        for limit in LIMITS:
            service.get("options", {}).pop(limit, None)
    return config


def hub_of(port):
    """The hub of the site file."""
    return {
        "wamp_server": f"ws://127.0.0.1:{port}/ws",
        "wamp_http": f"http://127.0.0.1:{port}/call",
        "wamp_realm": REALM,
        "address_root": ROOT,
    }


class Bench:
    """A router and a site of its own in ``directory``; a context manager that leaves no process behind.

    Args:
        directory: for configuration, logs and data.
        quick: whether measurements should be short rather than precise.
    """

    def __init__(self, directory, quick=False):
        self.directory = Path(directory)
        self.state = self.directory / "state"
        self.quick = quick
        self.port = free_port()
        self.realm, self.hub = REALM, self._hub()
        self.ws_url, self.http_url = self.hub["wamp_server"], self.hub["wamp_http"]
        self._router = self._new_router(SimpleNamespace(**self.hub))
        self._children = []

    def _hub(self):
        return hub_of(self.port)

    def _new_router(self, hub):
        return Router(plain_config(hub), self.directory / "router")

    def __enter__(self):
        self._router.start()
        return self

    def __exit__(self, *_):
        for child in self._children:
            child.stop(1)
        self._router.stop()

    def restart_router(self):
        """Give the next measurement a router that remembers nothing of the last."""
        self._router.stop()
        self._router.start()

    @property
    def router_pid(self):
        """The process whose tree is the router."""
        return self._router.pid

    def router_cpu(self):
        """CPU seconds of the router, with its worker."""
        return tree_cpu(self.router_pid)

    def site_file(self, *instances):
        """Write the site file with these ``(agent class, instance id)`` and return its path."""
        agents = [{"agent-class": kind, "instance-id": name, "arguments": []} for kind, name in instances]
        site = {
            "hub": self.hub,
            "hosts": {
                "localhost": {
                    "log-dir": str(self.directory),
                    "state-dir": str(self.state),
                    "agent-instances": agents,
                }
            },
        }
        path = self.directory / "site.yaml"
        path.write_text(yaml.safe_dump(site))
        return path

    @contextlib.contextmanager
    def child(self, name, *command):
        """Run a command in the bench's folder; it is ended with the block."""
        running = Child([str(part) for part in command], self.directory, name)
        self._children.append(running)
        try:
            yield running
        finally:
            running.stop()
            self._children.remove(running)

    def program(self, name, *arguments, side=None):
        """Run one of ``benchmarks/programs``, under the interpreter of ``side`` or this one."""
        return self.child(name, side.python if side else sys.executable, PROGRAMS / f"{name}.py", *arguments)

    @contextlib.contextmanager
    def agent(self, side, target, kind, instance_id, *arguments):
        """Run an agent of ``side`` and wait until it answers calls.

        Args:
            side: whose.
            target: a module, or the file of one of ``benchmarks/programs``.
            kind: its agent class.
            instance_id: its instance id.
            arguments: more of its command line.
        """
        with self.starting_agent(side, target, kind, instance_id, *arguments) as running:
            self.wait_for_agent(running, instance_id)
            yield running

    def starting_agent(self, side, target, kind, instance_id, *arguments):
        """The same, without waiting."""
        module = [PROGRAMS / target] if target.endswith(".py") else ["-m", target]
        site = ["--site-file", self.site_file((kind, instance_id)), "--instance-id", instance_id]
        return self.child(f"{instance_id}-{side}", side.python, *module, *site, *arguments)

    def wait_for_agent(self, child, instance_id, timeout=20.0):
        """Wait until the agent answers.

        Raises:
            BenchmarkError: it ends, or does not answer in time.
        """
        deadline = time.time() + timeout
        while time.time() < deadline and child.is_alive:
            with contextlib.suppress(*NO_ANSWER):
                self.call(f"{ROOT}.{instance_id}", "get_agent_class", timeout=2)
                return
            time.sleep(0.05)
        raise BenchmarkError(f"{child.name} does not answer; see {child.output_path}")

    def call(self, procedure, *args, timeout=10.0, **kwargs):
        """Call a procedure through the router's HTTP bridge, with neither package's client.

        Raises:
            BenchmarkError: the call failed.
        """
        body = json.dumps({"procedure": procedure, "args": args, "kwargs": kwargs}).encode()
        request = urllib.request.Request(self.http_url, body, {"Content-Type": "application/json"})
        try:
            with self._open(request, timeout) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            answer = json.load(error)
        if "error" in answer:
            raise BenchmarkError(f"{procedure}: {answer}")
        return answer["args"][0]

    def _open(self, request, timeout):
        return urllib.request.urlopen(request, timeout=timeout)

    def operation(self, instance_id, action, name, timeout=10.0, **kwargs):
        """Use an operation of an agent; returns its session.

        Raises:
            BenchmarkError: the call failed, or the agent refused.
        """
        code, message, session = self.call(f"{ROOT}.{instance_id}.ops", action, name, timeout=timeout, **kwargs)
        if code != 0 and action == "start":
            raise BenchmarkError(f"{instance_id}: {message}")
        return session
