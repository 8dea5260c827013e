"""A host manager in a test: what it says of its instances, and waiting until that is as it should be."""

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.harness.agents import AgentHandle
from tests.harness.waiting import wait_for

State = Mapping[str, Any]

LIMIT = 40.0
"""How long anything may take on a machine that others use too, in seconds."""


class Managed:
    """The instances of a running host manager.

    Args:
        handle: the manager's process.
    """

    def __init__(self, handle: AgentHandle) -> None:
        self.handle = handle

    @property
    def data(self) -> dict[str, Any]:
        """`session.data` of the process `manager`; empty while it is not to be had."""
        with suppress(LookupError):
            reply = self.handle.call(".ops", "status", "manager")
            return reply[2].get("data") or {}
        return {}

    @property
    def session(self) -> dict[str, Any]:
        return self.handle.call(".ops", "status", "manager")[2]

    @property
    def messages(self) -> list[str]:
        return [text for _time, text in self.session["messages"]]

    @property
    def states(self) -> dict[str, State]:
        """The entries of `child_states`, by instance-id."""
        return {state["instance_id"]: state for state in self.data.get("child_states", [])}

    def pid(self, instance_id: str) -> int:
        return self.states[instance_id]["pid"]

    def wait(self, condition: Callable[[dict[str, State]], Any], timeout: float = LIMIT) -> Any:
        """Wait until a condition on `states` holds; shows the last states if it never does."""
        last: dict[str, State] = {}

        def holds() -> Any:
            nonlocal last
            last = self.states
            with suppress(KeyError):
                return condition(last)

        try:
            return wait_for(holds, timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\nlast states: {last}\n{self.handle.output[-6000:]}") from None

    def wait_ready(self, *instance_ids: str, timeout: float = LIMIT) -> dict[str, State]:
        """Wait until these are ready, and return the states."""
        self.wait(lambda states: all(states[name]["ready"] for name in instance_ids), timeout)
        return self.states

    def wait_action(self, instance_id: str, next_action: str, timeout: float = LIMIT) -> State:
        """Wait until an instance is in a state, and return its entry."""
        self.wait(lambda states: states[instance_id]["next_action"] == next_action, timeout)
        return self.states[instance_id]

    def wait_new_pid(self, instance_id: str, old: int, timeout: float = LIMIT) -> int:
        """Wait until an instance is ready again in another process, and return that."""
        self.wait(
            lambda states: states[instance_id]["ready"] and states[instance_id]["pid"] not in (None, old), timeout
        )
        return self.pid(instance_id)


def processes_of(instance_id: str, directory: Path) -> list[int]:
    """Return the ids of all processes that run an instance in a site's folder, whoever has started them."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = process.cmdline() or [""]
            meant = words[0] == f"ocs-agent:{instance_id}" or ("--instance-id" in words and instance_id in words)
            if meant and process.cwd() == str(directory) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def end_all(directory: Path) -> None:
    """Kill every agent that runs in a site's folder: what a manager that was killed has left."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(directory) and process.pid != os.getpid():
                process.kill()
