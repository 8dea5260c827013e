"""From notices to letters on their way: a basket and a courier for each target."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from ocs.agents.watcher.alarms import Key
from ocs.agents.watcher.board import Notice
from ocs.agents.watcher.courier import Courier
from ocs.agents.watcher.letters import Basket, make_letter
from ocs.agents.watcher.rules import Target
from ocs.agents.watcher.ways import send

__all__ = ["PostOffice"]

_JOIN = 2.0
"""How long the couriers may take to end, in seconds, all together."""


class PostOffice:
    """All that is told to anybody. For the reactor's thread, but for `join`.

    Args:
        watcher: the address that letters come from.
        words: returns what there is to say of an alarm by now, which may be more than when its notice was made.
        letters: what an earlier run has not delivered, by target.
        send: delivers a letter; raises `UndeliveredError`.
    """

    def __init__(
        self,
        watcher: str,
        words: Callable[[Key], str | None],
        letters: Mapping[str, list[dict[str, Any]]] | None = None,
        *,
        send: Callable[[Any, dict[str, Any]], None] = send,
    ) -> None:
        self._watcher = watcher
        self._words = words
        self._send = send
        self._left = dict(letters or {})
        self._couriers: dict[str, Courier] = {}
        self._baskets: dict[str, Basket] = {}
        self._ending: list[Courier] = []

    def set_targets(self, targets: Mapping[str, Target]) -> None:
        """Deliver to these from now on; what waits for one that is there no more is forgotten."""
        self._ending = [courier for courier in self._ending if courier.is_alive]
        for name, courier in list(self._couriers.items()):
            if targets.get(name) != courier.target:
                self._left[name] = courier.waiting
                courier.close()
                self._ending.append(self._couriers.pop(name))
        baskets, self._baskets = self._baskets, {}
        for name, target in targets.items():
            self._baskets[name] = self._basket(target, baskets.get(name))
            if name not in self._couriers:
                self._couriers[name] = Courier(target, self._left.pop(name, ()), send=self._send)
        self._left.clear()

    @staticmethod
    def _basket(target: Target, before: Basket | None) -> Basket:
        if before is not None:
            before.target = target
        return before or Basket(target)

    def put(self, notices: Iterable[Notice], now: float) -> None:
        """Have notices told.

        Args:
            notices: each goes to all of its targets.
            now: seconds of the clock of `deliver`.
        """
        for notice in notices:
            for name in notice.targets:
                if name in self._baskets:
                    self._baskets[name].put(notice, now)

    def deliver(self, now: float) -> bool:
        """Hand to the couriers what is due; return whether there was something."""
        sent = False
        for name, basket in self._baskets.items():
            if notices := basket.take(now):
                self._post(name, notices)
                sent = True
        return sent

    def _post(self, name: str, notices: list[Notice]) -> None:
        fresh = [self._in_fresh_words(notice) for notice in notices]
        self._couriers[name].put(make_letter(fresh, self._watcher))

    def _in_fresh_words(self, notice: Notice) -> Notice:
        words = None if notice.what == "resolved" else self._words(notice.key)
        return notice if words is None else replace(notice, message=words)

    def waiting(self) -> dict[str, list[dict[str, Any]]]:
        """Return what has not been delivered, by target."""
        return {name: courier.waiting for name, courier in self._couriers.items()}

    def close(self, now: float) -> None:
        """Deliver nothing more: what is in the baskets becomes letters that wait, and couriers end."""
        for name, basket in self._baskets.items():
            if len(basket):
                self._post(name, basket.empty(now))
        for courier in self._couriers.values():
            courier.close()

    def join(self) -> None:
        """Wait until the couriers have ended, or some time is over. Blocks."""
        couriers = [*self._couriers.values(), *self._ending]
        for courier in couriers:
            courier.join(_JOIN / len(couriers))

    def counts(self) -> dict[str, Any]:
        """Return what has become of all letters."""
        couriers = self._couriers.values()
        return {
            "sent": sum(courier.counts.sent for courier in couriers),
            "retried": sum(courier.counts.retried for courier in couriers),
            "dropped": sum(courier.counts.dropped for courier in couriers),
            "waiting": sum(len(courier.waiting) for courier in couriers),
            "targets": {name: self._counts_of(name, courier) for name, courier in self._couriers.items()},
        }

    def _counts_of(self, name: str, courier: Courier) -> dict[str, Any]:
        return {**asdict(courier.counts), "waiting": len(courier.waiting), "gathered": len(self._baskets[name])}

    def troubles(self) -> list[str]:
        """Return why letters wait, a line for each target where they do."""
        return [
            f"{name}: {courier.counts.trouble} (notifications wait)"
            for name, courier in self._couriers.items()
            if courier.counts.trouble and courier.waiting
        ]
