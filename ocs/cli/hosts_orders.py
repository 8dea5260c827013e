"""Which instances a person means, what their HostManagers are asked for it, and when it has come true."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ocs.cli.hosts_model import Answer, Condition, HostView, Row, each_row
from ocs.errors import UnknownInstanceError

__all__ = ["ALL", "Aim", "Order", "Wanted", "aims_of", "find_row", "orders", "run_of", "unreached"]

ALL = "all"
"""What a HostManager understands as every instance of its own."""


@dataclass(frozen=True, slots=True)
class Order:
    """What one HostManager is asked for.

    Attributes:
        manager: the HostManager.
        instances: instance-ids; ``("all",)`` for every one of its own.
        answer: how the HostManager is.
    """

    manager: str
    instances: tuple[str, ...]
    answer: Answer

    @property
    def obstacle(self) -> str:
        """Why it cannot be asked; empty where it can."""
        if self.answer.condition is Condition.RUNNING:
            return ""
        if self.answer.condition is Condition.AWAY:
            return f"{self.manager} does not answer: it is not running, or has no connection to the router"
        return self.answer.message


@dataclass(frozen=True, slots=True)
class Aim:
    """Where an instance is to get to.

    Attributes:
        target: ``up`` or ``down``.
        manager: its HostManager.
        run: the run that has to be over before, as `run_of` names it; None where it does not matter.
    """

    target: str
    manager: str
    run: tuple[object, ...] | None = None


Wanted = Mapping[str, Aim]
"""Instance-id to where it is to get to."""


def orders(views: Sequence[HostView], words: Sequence[str], *, everything: bool = False) -> list[Order]:
    """Return what is to be asked of whom.

    Args:
        views: the hosts.
        words: instance-ids; one of a HostManager means all of its instances.
        everything: whether all instances of all hosts are meant.

    Raises:
        UnknownInstanceError: nobody manages one of them, or nobody knows it.
    """
    answers = {answer.instance_id: answer for view in views for answer in view.answers}
    if everything:
        return [Order(name, (ALL,), answer) for name, answer in answers.items()]
    asked: dict[str, list[str]] = {}
    for word in dict.fromkeys(words):
        manager, instance = (word, ALL) if word in answers else (_manager_of(views, word), word)
        asked.setdefault(manager, []).append(instance)
    return [
        Order(manager, (ALL,) if ALL in instances else tuple(instances), answers[manager])
        for manager, instances in asked.items()
    ]


def _manager_of(views: Sequence[HostView], word: str) -> str:
    view, row = find_row(views, word)
    if row.manager is not None:
        return row.manager
    if row.agent_class.endswith("[unman]"):
        raise UnknownInstanceError(f"{word} is not managed: the site file says `manage: ignore`")
    raise UnknownInstanceError(f"{word} is not managed: the site file describes no HostManager for {view.name}")


def find_row(views: Sequence[HostView], instance_id: str) -> tuple[HostView, Row]:
    """Return an instance, the one that is managed where several hosts describe it, and its host.

    Raises:
        UnknownInstanceError: there is none; the text names the one that may be meant.
    """
    found = [(view, row) for view in views for row in view.rows if row.instance_id == instance_id]
    if found:
        return max(found, key=lambda pair: (bool(pair[1].child), pair[1].manager is not None))
    known = [row.instance_id for row in each_row(views)]
    near = difflib.get_close_matches(instance_id, known, 1)
    hint = f"; did you mean '{near[0]}'?" if near else f"; there are: {_some(known)}"
    raise UnknownInstanceError(f"there is no instance '{instance_id}'{hint}")


def _some(names: Sequence[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "none at all") + more


def run_of(row: Row) -> tuple[object, ...]:
    """Return what differs between two runs of an instance."""
    return row.child.get("started"), row.child.get("pid")


def aims_of(views: Sequence[HostView], given: Iterable[Order], target: str, *, anew: bool = False) -> dict[str, Aim]:
    """Return where each instance that was asked for is to get to.

    Args:
        views: the hosts as they were before.
        given: what was asked.
        target: ``up`` or ``down``.
        anew: whether the run of then has to be over.
    """
    asked = {order.manager: order.instances for order in given}
    rows = [(row, asked.get(str(row.manager), ())) for row in each_row(views) if row.child]
    return {
        row.instance_id: Aim(target, str(row.manager), run_of(row) if anew else None)
        for row, instances in rows
        if row.instance_id in instances or (ALL in instances and row.target in ("up", "down"))
    }


def unreached(views: Sequence[HostView], wanted: Wanted) -> dict[str, str]:
    """Return the instances that are not yet where they are to get to, with what is known of each.

    Args:
        views: the hosts as they are now.
        wanted: where each is to get to.
    """
    running = {a.instance_id for view in views for a in view.answers if a.condition is Condition.RUNNING}
    rows = {row.instance_id: row for row in each_row(views) if row.child}
    return {
        name: _where(rows.get(name), aim, known=aim.manager in running)
        for name, aim in wanted.items()
        if not _reached(rows.get(name), aim, known=aim.manager in running)
    }


def _reached(row: Row | None, aim: Aim, *, known: bool) -> bool:
    if row is None:
        return known and aim.target == "down"  # its manager has no such instance any more
    over = aim.run is None or run_of(row) != aim.run
    there = row.child.get("next_action") == aim.target and row.state != "starting"  # also one that failed of late
    return there and over and row.target in (aim.target, "passive")


def _where(row: Row | None, aim: Aim, *, known: bool) -> str:
    if row is None:
        return f"{aim.manager} does not have it" if known else f"{aim.manager} does not answer"
    trouble = row.child.get("trouble")
    return f"{row.child.get('next_action')}{f': {trouble}' if trouble else ''}"
