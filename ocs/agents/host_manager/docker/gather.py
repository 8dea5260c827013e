"""Wishes of many, carried out together: those that come while a lot is under way make the next."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred

from ocs.errors import DockerError

__all__ = ["Gatherer"]


class Gatherer:
    """Gathers names, and has them carried out in lots; a name that waits already is not entered again.

    Args:
        reactor: the wishes of one of its turns make one lot.
        carry_out: carries out a lot; gives, by name, why it failed.
        at_once: how many lots may be under way.
    """

    def __init__(
        self, reactor: Any, carry_out: Callable[[tuple[str, ...]], Awaitable[Mapping[str, str]]], at_once: int = 1
    ) -> None:
        self._reactor = reactor
        self._carry_out = carry_out
        self._free = at_once
        self._planned = False
        self._waiting: dict[str, list[Deferred[None]]] = {}

    async def add(self, name: str) -> None:
        """Wait until a name has been carried out.

        Raises:
            DockerError: that failed, for this reason.
        """
        done: Deferred[None] = Deferred()
        self._waiting.setdefault(name, []).append(done)
        self._plan()
        await done

    def _plan(self) -> None:
        if self._waiting and self._free and not self._planned:
            self._planned = True
            self._reactor.callLater(0, self._begin)

    def _begin(self) -> None:
        self._planned = False
        self._free -= 1
        lot, self._waiting = self._waiting, {}
        ensureDeferred(self._work(lot))

    async def _work(self, lot: Mapping[str, list["Deferred[None]"]]) -> None:
        try:
            errors = await self._carry_out(tuple(lot))
        except DockerError as error:
            errors = dict.fromkeys(lot, str(error))
        except Exception as error:  # a mistake of ours must not leave those waiting for ever
            errors = dict.fromkeys(lot, f"{type(error).__name__}: {error}")
        self._free += 1
        for name, waiting in lot.items():
            for done in waiting:
                _tell(done, errors.get(name, ""))
        self._plan()


def _tell(done: "Deferred[None]", error: str) -> None:
    if error:
        done.errback(DockerError(error))
    else:
        done.callback(None)
