"""After the router was away: until when the others are waited for, who come back as soon as they notice it."""

from collections.abc import Callable
from typing import Any, Final

__all__ = ["COMES_BACK_WITHIN", "Reunion"]

COMES_BACK_WITHIN: Final = 6.0
"""How long a component that runs may take to register again, in seconds: agents try every 5 s."""


class Reunion:
    """Tells whether the others have had the time to come back; belongs to the reactor's thread.

    Whoever is first to find the router again would else take the others' absence for their end.

    Args:
        reactor: keeps the time.
        on_over: called when the time is over.
    """

    def __init__(self, reactor: Any, on_over: Callable[[], None]) -> None:
        self._reactor = reactor
        self._on_over = on_over
        self._has_joined = False
        self._until = float("-inf")

    def joined(self, *_args: Any, **_kwargs: Any) -> None:
        """Take note that we have joined the router's realm. At the first time there is nobody to wait for."""
        if self._has_joined:
            self._until = self._reactor.seconds() + COMES_BACK_WITHIN
            self._reactor.callLater(COMES_BACK_WITHIN, self._on_over)
        self._has_joined = True

    def is_over(self) -> bool:
        """Tell whether the others have had the time."""
        return bool(self._reactor.seconds() >= self._until)
