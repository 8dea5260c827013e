"""Which events are those of a recorded feed."""

from collections.abc import Sequence
from typing import Any, TypeGuard

__all__ = ["is_recorded"]


def is_recorded(event: object) -> TypeGuard[Sequence[Any]]:
    """Tell whether the event is of a recorded feed; cheap, for the reactor's thread."""
    if not isinstance(event, list | tuple) or len(event) != 2:  # noqa: PLR2004 - the pair of data and envelope
        return False
    feed = event[1]
    return isinstance(feed, dict) and feed.get("record") is True
