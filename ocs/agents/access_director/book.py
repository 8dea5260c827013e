"""What the director knows: the rules of its configuration and the grants that are held. No network, no clock."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from ocs.access.agent import agent_filter_rules
from ocs.access.controls import AC_VERSION
from ocs.access.grants import Grant, without_expired
from ocs.access.rules import AccessRule, AgentSpec
from ocs.agents.access_director.config_file import Config

__all__ = ["Book"]

_REMEMBERED = 1024
"""Agents whose rules are kept ready, in case they ask again."""


class Book:
    """The rules in force, and the grants.

    Attributes:
        config: the configuration; None until it has been read for the first time.
        held: the grants that are held, by name.
        step: counts the changes.
    """

    def __init__(self) -> None:
        self.config: Config | None = None
        self.held: dict[str, Grant] = {}
        self.step = 0
        self._ready: OrderedDict[tuple[str, str], dict[str, Any]] = OrderedDict()

    def configure(self, config: Config) -> list[Grant]:
        """Go by another configuration; return the grants that it does not know any more, which end by it."""
        self.config = config
        gone = [grant for name, grant in self.held.items() if name not in config.blocks]
        self.held = {name: grant for name, grant in self.held.items() if name in config.blocks}
        self._changed()
        return gone

    def restore(self, grants: Iterable[Grant], now: float) -> None:
        """Take up the grants of an earlier run, but for those that have expired."""
        self.held = without_expired({grant.name: grant for grant in grants}, now)
        self._changed()

    def put(self, name: str, grant: Grant | None, *, new_rules: bool) -> None:
        """Note how a grant is from now on; None: nobody holds it."""
        if grant is None:
            self.held.pop(name, None)
        else:
            self.held[name] = grant
        if new_rules:
            self._changed()

    def expire(self, now: float) -> list[Grant]:
        """Drop the grants that have expired, and return them."""
        lasting = without_expired(self.held, now)
        gone = [grant for name, grant in self.held.items() if name not in lasting]
        if gone:
            self.held = lasting
            self._changed()
        return gone

    @property
    def next_end(self) -> float:
        """When the next grant expires, unix seconds."""
        return min((grant.expire_at for grant in self.held.values()), default=float("inf"))

    def to_all(self) -> dict[str, Any]:
        """Return the message that gives all agents their rules."""
        return {"reset": True, **self._message(self._rules())}

    def to_one(self, instance_id: str, agent_class: str) -> dict[str, Any]:
        """Return the message that gives one agent its rules, and no others."""
        key = (instance_id, agent_class)
        if key not in self._ready:
            rules = agent_filter_rules(self._rules(), AgentSpec(instance_id, agent_class))
            self._ready[key] = {"target": instance_id, **self._message(rules)}
            while len(self._ready) > _REMEMBERED:
                self._ready.popitem(last=False)
        return self._ready[key]

    def encoded(self) -> list[dict[str, Any]]:
        """Return what everybody may see of the grants."""
        return [grant.encoded() for grant in self.held.values()]

    def _rules(self) -> list[AccessRule]:
        configured = self.config.rules if self.config else []
        return [*configured, *(rule for grant in self.held.values() for rule in grant.rules)]

    def _message(self, rules: list[AccessRule]) -> dict[str, Any]:
        return {"ac_version": AC_VERSION, "step": self.step, "rules": [rule.to_dict() for rule in rules]}

    def _changed(self) -> None:
        self.step += 1
        self._ready.clear()
