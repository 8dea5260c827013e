"""What tests of the publisher's keep need: clocks that are set, and messages to keep."""

from ocs.feeds.outbox import Parcel
from ocs.keep.memory import Keep


class Clock:
    """Two clocks, stepped by the test: `mono` for ages, `wall` for dates."""

    def __init__(self) -> None:
        self.mono = 1000.0
        self.wall_ = 1_700_000_000.0

    def __call__(self) -> float:
        return self.mono

    def wall(self) -> float:
        return self.wall_

    def step(self, seconds: float) -> None:
        self.mono += seconds
        self.wall_ += seconds


def new_keep(clock: Clock, run: str = "100.0", **options: int) -> Keep:
    return Keep(run, clock=clock, wall=clock.wall, **options)


def message(number: int, size: int = 100, feed: str = "temps", samples: int = 2) -> Parcel:
    """A message whose payload ends with its number, as real ones do."""
    payload = b"x" * max(0, size - 8) + number.to_bytes(8, "big")
    return Parcel(f"observatory.test-1.feeds.{feed}", payload, samples, number)


def publish(keep: Keep, count: int = 1, **options: int) -> list[int]:
    """Add messages; return their numbers."""
    numbers = list(range(keep.next, keep.next + count))
    for number in numbers:
        keep.add(message(number, **options))
    return numbers


def numbers(found: object) -> list[int]:
    """The numbers of what `fetch` returned."""
    assert found is not None
    return [kept.parcel.number for kept in found[0]]  # type: ignore[index]
