"""What is answered to whoever wants a component spawned or killed."""

from typing import Any, Final

__all__ = ["KILLED", "SPAWNED", "Answer", "failed"]

Answer = dict[str, Any]

SPAWNED: Final[Answer] = {"_type": "Spawned"}
KILLED: Final[Answer] = {"_type": "Killed"}


def failed(reason: str) -> Answer:
    """Return the answer to what has come to nothing.

    Args:
        reason: one line; what the component has printed may follow it.
    """
    return {"_type": "Failed", "msg": reason}
