"""What numbers of ours mean, in words and colours."""

from typing import Final

from dashboards.description import State
from ocs.base import OpCode

__all__ = ["ALARM", "ALIVE", "CONNECTED", "FIRING", "OPERATION", "RUNNING"]

_COLORS: Final = {
    OpCode.NONE: "#6e7079",
    OpCode.STARTING: "light-blue",
    OpCode.RUNNING: "green",
    OpCode.STOPPING: "light-yellow",
    OpCode.SUCCEEDED: "blue",
    OpCode.FAILED: "red",
    OpCode.EXPIRED: "purple",
    OpCode.DEGRADED: "orange",
}
_TEXTS: Final = {OpCode.NONE: "not run"}

OPERATION: Final = {int(code): State(_TEXTS.get(code, code.name.lower()), color) for code, color in _COLORS.items()}
"""Op codes: what is wrong (failed, expired, degraded) stands out of what is well."""

ALIVE: Final = {0: State("expired", "purple"), 1: State("alive", "green")}
CONNECTED: Final = {0: State("away", "red"), 1: State("connected", "green")}
RUNNING: Final = {0: State("down", "red"), 1: State("up", "green")}
FIRING: Final = {0: State("ok", "green"), 1: State("alarm", "red")}
ALARM: Final = {
    "ok": State("ok", "green"),
    "pending": State("pending", "yellow"),
    "firing": State("firing", "red"),
    "acknowledged": State("acknowledged", "orange"),
    "muted": State("muted", "#6e7079"),
    "latched": State("latched", "purple"),
}
"""What the watcher calls the states of an alarm."""
