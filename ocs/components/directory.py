"""The directory of components: what the router has said of its registrations, and what that comes to."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from ocs.components.description import Description
from ocs.components.names import ComponentId, agent_of, component_of

__all__ = ["Directory"]

_REMEMBERED = 1000
"""Registrations that are known to be gone: what is heard of them late is not believed."""


class Directory:
    """Which components are registered, and how they describe themselves. It is told all, and asks nothing itself.

    A registration is first `expect`-ed (its number is known) or heard of at its making, then `add`-ed (its procedure
    is known), then `describe`-d, if it is a component's; a plain agent needs no description. It ends with `drop`.

    Args:
        root: the site's address root.

    Attributes:
        revision: another number after each change of what can be found here.
    """

    def __init__(self, root: str) -> None:
        self.revision = 0
        self._root = root
        self._forget()

    def _forget(self) -> None:
        self._asked: dict[int, tuple[ComponentId, str]] = {}
        self._known: dict[int, Description] = {}
        self._components: dict[ComponentId, Description] = {}
        self._agents: dict[ComponentId, Description] = {}
        self._gone: deque[int] = deque(maxlen=_REMEMBERED)
        self._initial: set[int] | None = None

    def clear(self) -> None:
        """Forget all: the connection to the router is another one."""
        self._forget()
        self.revision += 1

    # What the router says

    def expect(self, registrations: Iterable[int]) -> list[int]:
        """Take the list of all registrations; from then on it is known when the directory is complete.

        Args:
            registrations: their numbers.

        Returns:
            Those whose procedures are to be asked for.
        """
        unknown = [number for number in registrations if not self.has(number) and number not in self._gone]
        self._initial = {*unknown, *self.undescribed}
        self.revision += 1
        return unknown

    def add(self, registration: int, uri: str) -> bool:
        """Take the procedure of a registration.

        Args:
            registration: its number.
            uri: the procedure.

        Returns:
            Whether it is a component's that is to be asked for its description.
        """
        if self.has(registration) or registration in self._gone:
            return False
        if component := component_of(self._root, uri):
            self._asked[registration] = (component, uri)
            return True
        self._settle(registration)
        if agent := agent_of(self._root, uri):
            self._enter(registration, Description(agent, uri, {"instanceId": agent.prefix.name}), self._agents)
        return False

    def describe(self, registration: int, words: Any) -> None:
        """Take what a component has answered; a later answer takes the place of an earlier one.

        Args:
            registration: its number; of one that is gone by now, nothing is taken.
            words: the answer; anything, since it is a stranger's. Without ``metadata`` that make sense it has none.
        """
        if registration not in self._asked:
            return
        metadata = words.get("metadata") if isinstance(words, Mapping) else None
        found = Description(*self._asked[registration], dict(metadata) if isinstance(metadata, Mapping) else {})
        self._settle(registration)
        self._enter(registration, found, self._components)

    def drop(self, registration: int) -> None:
        """Take that a registration is gone."""
        self._gone.append(registration)
        asked = self._asked.pop(registration, None)
        self._settle(registration)
        found = self._known.pop(registration, None)
        self.revision += bool(asked and not found)
        for table in (self._components, self._agents):
            if found and table.get(found.component) is found:
                del table[found.component]
                self.revision += 1

    # What that comes to

    @property
    def is_complete(self) -> bool:
        """Whether all that was registered when the list was taken is known and described."""
        return self._initial is not None and not self._initial

    @property
    def undescribed(self) -> set[int]:
        """Registrations of components that have been asked, and have not answered yet."""
        return self._asked.keys() - self._known.keys()

    def find(self, component: ComponentId) -> Description | None:
        """Return a component that is registered and described; None if there is none."""
        return self._components.get(component) or self._agents.get(component)

    def serves(self, component: ComponentId) -> bool:
        """Tell whether a component is registered, and one that is an agent at its own address too."""
        return component in (self._agents if component.component_type == "Agent" else self._components)

    def of_type(self, component_type: str) -> list[Description]:
        """Return all components of a type, by name."""
        both = {**self._agents, **self._components} if component_type == "Agent" else self._components
        return [both[component] for component in sorted(both) if component.component_type == component_type]

    def counts(self) -> dict[str, int]:
        """Return how many components of each type there are."""
        found: dict[str, int] = {}
        for component in {**self._agents, **self._components}:
            found[component.component_type] = found.get(component.component_type, 0) + 1
        return found

    def has(self, registration: int) -> bool:
        """Tell whether a registration is a component's or an agent's, and lasts."""
        return registration in self._asked or registration in self._known

    def _enter(self, registration: int, found: Description, table: dict[ComponentId, Description]) -> None:
        self._known[registration] = found
        table[found.component] = found
        self.revision += 1

    def _settle(self, registration: int) -> None:
        if self._initial and registration in self._initial:
            self._initial.discard(registration)
            self.revision += not self._initial
