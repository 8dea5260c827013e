"""A location service without a router: components, and SpawnAgents that answer as a test wants."""

import asyncio
from typing import Any

from ocs.components.description import Description
from ocs.components.names import ComponentId, Prefix
from ocs.errors import CallLostError


def component_id(name: str, kind: str = "SequenceComponent") -> ComponentId:
    return ComponentId(Prefix.parse(name), kind)


def description(name: str, kind: str = "SequenceComponent", **metadata: Any) -> Description:
    component = component_id(name, kind)
    return Description(component, f"observatory.components.{kind}.{name}", metadata)


class FakeLocation:
    """Knows what a test has put there.

    Attributes:
        calls: all that was called: procedure and arguments.
        answers: what a procedure answers: a value, an error to be raised, or a future to be waited for.
    """

    def __init__(self) -> None:
        self.connected = True
        self.complete = True
        self.trouble = ""
        self.calls: list[tuple[Any, ...]] = []
        self.answers: dict[str, Any] = {}
        self._there: dict[ComponentId, Description] = {}
        self._callbacks: list[Any] = []

    def add(self, name: str, kind: str = "SequenceComponent", **metadata: Any) -> Description:
        found = description(name, kind, **metadata)
        self._there[found.component] = found
        self._tell()
        return found

    def add_machine(self, name: str = "ESW.machine1", host: str = "h1") -> Description:
        return self.add(name, "Machine", host=host, pid=10, address=f"observatory.{name.partition('.')[2]}")

    def drop(self, name: str, kind: str = "SequenceComponent") -> None:
        del self._there[component_id(name, kind)]
        self._tell()

    def lose_router(self) -> None:
        self.connected = self.complete = False
        self._there.clear()
        self._tell()

    def _tell(self) -> None:
        for callback in self._callbacks:
            callback()

    async def called(self, times: int = 1) -> None:
        """Wait until so many calls have been made."""
        while len(self.calls) < times:  # noqa: ASYNC110 - what it waits for takes a few turns of the loop
            await asyncio.sleep(0)

    # What the service asks for

    def find(self, component: ComponentId) -> Description | None:
        return self._there.get(component)

    def of_type(self, component_type: str) -> list[Description]:
        return [self._there[each] for each in sorted(self._there) if each.component_type == component_type]

    def counts(self) -> dict[str, int]:
        kinds = [each.component_type for each in self._there]
        return {kind: kinds.count(kind) for kind in kinds}

    def on_change(self, callback: Any) -> None:
        self._callbacks.append(callback)

    async def ready(self, timeout: float) -> bool:  # noqa: ASYNC109 - as the locator has it
        return self.complete

    async def call(self, procedure: str, *args: Any) -> Any:
        self.calls.append((procedure, *args))
        answer = self.answers.get(procedure, CallLostError("it does not take requests", may_be_done=False))
        if isinstance(answer, Exception):
            raise answer
        return await answer if isinstance(answer, asyncio.Future) else answer
