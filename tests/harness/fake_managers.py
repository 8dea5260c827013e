"""HostManagers and a registry behind a stand-in for the router's HTTP bridge, which carry out orders at once."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

from tests.harness.bridge import FakeBridge, result, session

TASKS = ("update", "restart", "logs", "die")
NOBODY = {"error": "wamp.error.no_such_procedure", "args": ["nobody"], "kwargs": {}}


def child(instance_id: str, state: str = "up", target: str = "up", **keys: Any) -> dict[str, Any]:
    """An entry of `child_states`, as every version has it, and what `keys` adds."""
    base = {
        "next_action": state,
        "target_state": target,
        "stability": 1.0,
        "agent_class": "FakeDataAgent",
        "instance_id": instance_id,
        "operable": True,
        "restart_required": False,
    }
    return {**base, **keys}


class FakeManager:
    """One HostManager: its process and its tasks.

    Attributes:
        children: instance-id to its entry of `child_states`.
        data: the rest of `session.data`.
        process: the status of the process `manager`; None where it has never run.
        orders: what it was asked, as (task, parameters).
        refusal: what it answers to tasks; empty to carry them out.
        tasks: those that it has.
    """

    def __init__(self, *children: dict[str, Any], tasks: tuple[str, ...] = TASKS, **data: Any) -> None:
        self.children = {entry["instance_id"]: entry for entry in children}
        self.data = data
        self.process: str | None = "running"
        self.degraded = False
        self.orders: list[tuple[str, dict[str, Any]]] = []
        self.refusal = ""
        self.tasks = tasks
        self.messages: list[list[Any]] = []
        self.log: Callable[[dict[str, Any]], dict[str, Any]] = lambda _params: {"lines": [], "position": 0}
        self._last: dict[str, Any] = {}

    def api(self) -> dict[str, Any]:
        operations = {"tasks": self.tasks, "processes": ("manager",)}
        listed = {kind: [[name, None, {"docstring": None}] for name in names] for kind, names in operations.items()}
        return {"agent_class": "HostManager", "instance_hostname": "host", "instance_pid": 1, "feeds": [], **listed}

    def operate(self, action: str, op_name: str, params: dict[str, Any]) -> list[Any]:
        if op_name == "manager":
            return [0, "", self._session()]
        if action == "start":
            return self._start(op_name, params)
        return [0, "", self._last]

    def _session(self) -> dict[str, Any]:
        if self.process is None:
            return {}
        data = {"child_states": list(self.children.values()), **self.data}
        status = {"status": self.process, "degraded": self.degraded, "messages": self.messages}
        return session("manager", data=data, **status)

    def _start(self, task: str, params: dict[str, Any]) -> list[Any]:
        self.orders.append((task, params))
        data = self.log(params) if task == "logs" else {}
        if not self.refusal and task == "update":
            for instance_id, target in params.get("requests") or ():
                for entry in self.children.values() if instance_id == "all" else [self.children[instance_id]]:
                    entry.update(target_state=target, next_action=target)
        if not self.refusal and task == "restart":
            for instance_id in params["instances"]:
                self.children[instance_id].update(next_action="up", target_state="up", started=2.0, pid=2)
        words = [[1.0, self.refusal]] if self.refusal else []
        self._last = session(
            task, number=len(self.orders), status="done", success=not self.refusal, end_time=2000.0, data=data,
            messages=words,
        )  # fmt: skip
        return [0, "", self._last]


class FakeSite:
    """The bridge: `managers` by instance-id; None is one that never answers. `agents`: what the registry tells."""

    def __init__(self) -> None:
        self.managers: dict[str, FakeManager | None] = {}
        self.agents: dict[str, dict[str, Any]] | None = None
        self.bridge = FakeBridge(self.answer)
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return self.bridge.url

    def answer(self, request: dict[str, Any]) -> Any:
        instance_id, _, special = request["procedure"].removeprefix("observatory.").partition(".")
        if instance_id == "registry" and self.agents is not None:
            return result([0, "", session("main", data=self.agents)])
        if instance_id not in self.managers:
            return NOBODY
        manager = self.managers[instance_id]
        if manager is None:
            return self._silence()
        if special != "ops":
            return result(manager.api())
        action, op_name, *_ = request["args"]
        kwargs = request["kwargs"]
        params = kwargs.get("params") or (request["args"][2] if len(request["args"]) > 2 else {}) or {}
        return result(manager.operate(action, op_name, params))

    def _silence(self) -> Iterator[bytes]:
        self.released.wait(30)
        yield b""
