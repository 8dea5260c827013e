"""What a measurement is: a case, with figures, made by one function for one side at a time."""

from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.sides import OURS, PUBLISHED

__all__ = ["Case", "Figure", "Target"]


@dataclass(frozen=True)
class Target:
    """A promise about a figure.

    Args:
        limit: the bound.
        ratio: whether it bounds ours divided by the published, or our figure itself.
        most: whether the bound is the most allowed, or the least.
    """

    limit: float
    ratio: bool = True
    most: bool = True

    def met(self, value):
        """Whether a value (of ours, or of the ratio) keeps the promise."""
        return value <= self.limit if self.most else value >= self.limit

    def __str__(self):
        return f"{'≤' if self.most else '≥'} {self.limit:g}{'x' if self.ratio else ''}"


@dataclass(frozen=True)
class Figure:
    """One thing that a case measures.

    Args:
        key: its name in what the case's function returns, and in the JSON.
        label: its name for people, with the unit.
        targets: the promises about it.
    """

    key: str
    label: str
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True)
class Case:
    """One measurement.

    Args:
        name: what it is called on the command line's table.
        title: what it does, in half a line.
        measure: ``measure(bench, side)`` makes it once and returns key → value; None stands
            for a figure that it could not get.
        figures: what it returns.
        rounds: how often it is made in a full run.
        quick_rounds: and in a quick one; 0 leaves it out of that.
        sides: whom it can be done to.
    """

    name: str
    title: str
    measure: Callable
    figures: tuple[Figure, ...]
    rounds: int = 3
    quick_rounds: int = 1
    sides: tuple[str, ...] = field(default=(OURS, PUBLISHED))
