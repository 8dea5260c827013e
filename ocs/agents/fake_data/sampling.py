"""When samples are due, and what they read: the fake instrument, free of WAMP, threads and the time of day."""

import math
import random

__all__ = ["MAX_SKEW", "Channels", "SampleClock"]

MAX_SKEW = 1.0
"""Seconds that the wall clock may run apart from the sample clock before sampling begins anew."""


class SampleClock:
    """Counts out samples at a constant rate: sample ``i`` is taken ``i / rate`` seconds after the start, exactly.

    A steady clock says how many are due, so that a loop that comes late misses none. The wall clock, which can be set
    while sampling goes on, only says when the start was.

    Args:
        rate: samples per second (Hz).
        wall: the start, by the wall clock (unix s).
        steady: the start, by the steady clock (s).
    """

    def __init__(self, rate: float, wall: float, steady: float) -> None:
        self.rate = rate
        self.taken = 0
        self._wall = wall
        self._steady = steady

    def take(self, steady: float, limit: int) -> list[float]:
        """Take the samples that are due.

        Args:
            steady: now, by the steady clock (s).
            limit: take no more than this at once; the others stay due.

        Returns:
            Their timestamps (unix s).
        """
        due = math.floor((steady - self._steady) * self.rate) + 1
        first, self.taken = self.taken, max(self.taken, min(due, self.taken + limit))
        return [self._wall + i / self.rate for i in range(first, self.taken)]

    def skew(self, wall: float, steady: float) -> float:
        """Return how far the wall clock has run ahead since the start, in seconds; negative if it fell behind."""
        return (wall - self._wall) - (steady - self._steady)


class Channels:
    """Fake thermometers, which wander about 0.1 K like a cold stage whose heater keeps it there.

    Args:
        count: how many there are.
        source: the randomness.

    Attributes:
        names: ``channel_00`` and so on.
        tags: for InfluxDB, name → its tags there and the name of the field: one field, told apart by its channel.
    """

    MEAN = 0.1
    """K"""
    STEP = 0.001
    """Change from sample to sample, K rms."""
    PULL = 0.01
    """Share of the distance from the mean that is regained per sample."""

    def __init__(self, count: int, source: random.Random) -> None:
        self.names = [f"channel_{i:02d}" for i in range(count)]
        self.tags = {name: {"channel": i, "_field": "temperature"} for i, name in enumerate(self.names)}
        self._values = dict.fromkeys(self.names, self.MEAN)
        self._gauss = source.gauss

    def read(self, samples: int) -> dict[str, list[float]]:
        """Return the next values of every channel, in K.

        Args:
            samples: how many of each.
        """
        return {name: self._wander(name, samples) for name in self.names}

    def _wander(self, name: str, samples: int) -> list[float]:
        value, gauss = self._values[name], self._gauss
        values = []
        for _ in range(samples):
            value += self.PULL * (self.MEAN - value) + gauss(0.0, self.STEP)
            values.append(value)
        self._values[name] = value
        return values
