"""Giving orders to HostManagers, and waiting until they have come true."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ocs.cli.hosts import Site, in_parallel
from ocs.cli.hosts_model import site_view
from ocs.cli.hosts_orders import Order, Wanted, unreached
from ocs.errors import OCSError, OperationError

__all__ = ["Outcome", "give", "wait"]

_LOOK_EVERY: Final = 0.5
"""Time between two looks, in s: a HostManager looks at its instances about as often."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an order.

    Attributes:
        order: the order.
        message: why it was not taken; empty where it was.
    """

    order: Order
    message: str = ""


def give(site: Site, orders: Sequence[Order], task: str, params: Callable[[Order], dict[str, Any]]) -> list[Outcome]:
    """Give orders, all at once.

    Args:
        site: the site.
        orders: to whom, about what.
        task: the HostManager's task.
        params: gives the task's parameters.
    """

    def give_one(order: Order) -> Outcome:
        return Outcome(order, order.obstacle or _run(site, order.manager, task, params(order)))

    return in_parallel(give_one, orders)


def _run(site: Site, manager: str, task: str, params: dict[str, Any]) -> str:
    """Run a task; returns what went wrong, or nothing."""
    try:
        operation = getattr(site.client(manager), task, None)
        if operation is None:
            raise OperationError(
                f"{manager} is of a version without the task {task}: `ocsbow down` and `up` do it in steps"
            )
        operation(**params, check=True)
    except OCSError as error:
        return str(error)
    return ""


def wait(
    site: Site,
    wanted: Wanted,
    timeout: float,
    tell: Callable[[str, float], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, str]:
    """Wait until every instance is where it is to get to.

    Args:
        site: the site.
        wanted: where each is to get to.
        timeout: how long to wait at most, in s.
        tell: called with each instance when it has got there, and the time that took (s).
        clock: gives a time that only goes on (s).
        sleep: waits for so many seconds.

    Returns:
        The instances that are not there, with what is known of each; empty when all are.
    """
    began = clock()
    left = dict.fromkeys(wanted, "")
    while left:
        answers = site.ask_all(wanted[name].manager for name in left)
        now = unreached(site_view(site.config, answers), {name: wanted[name] for name in left})
        for name in left.keys() - now.keys():
            tell(name, clock() - began)
        left = now
        if left and clock() - began >= timeout:
            break
        if left:
            sleep(_LOOK_EVERY)
    return left
