"""What to do about one instance, decided from its record and what its runner says; nothing here starts or waits.

The way of an instance that is wanted up, and one that is wanted down::

    down -> start -> wait_start -> up      (it ends by itself) up -> start_at -> start
    up -> wait_dead -> down                (restart)           up -> wait_dead -> start

``?`` is left as soon as the runner knows whether it runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ocs.agents.host_manager.instances import HOSTED, ManagedInstance, steady_time
from ocs.supervisor import Policy

__all__ = ["resolve_child_state", "stability_factor"]

LAUNCH_PATIENCE = 15.0
"""How long it may take until something launched is seen running, in seconds."""
STOP_PATIENCE = 20.0
"""How long it may take until it has gone, before it is told again, in seconds: a runner's signals take 15."""
_POLICY = Policy()
LONGEST_DELAY = _POLICY.longest_delay
"""Between an end that nobody asked for and the next start, in seconds, at most."""
STABLE_AFTER = _POLICY.stable_after
"""What has run this long starts again at once, its earlier failures forgotten, in seconds."""

_MOST_FAILURES = 100
_MOST_STEPS = 8


def stability_factor(
    times: Sequence[float], window: float = 120, now: float | None = None
) -> tuple[list[float], float]:
    """Tell how stable something is that failed at these times.

    Args:
        times: when it failed (unix s), increasing.
        window: what is older is forgotten, in seconds.
        now: unix s; the present unless given.

    Returns:
        The times that still count, and a number from 0 to 1: 1 without failures, 0.5 for one 10 s ago.
    """
    present = steady_time() if now is None else now
    recent = [time for time in times if present - time <= window]
    weight = sum(5.0 / max(present - time, 1e-3) for time in recent)
    return recent, max(0.0, 1.0 - weight)


@dataclass
class _Look:
    """One instance at one moment."""

    minst: ManagedInstance
    running: bool | None
    code: int | None
    now: float
    messages: list[str] = field(default_factory=list)
    launch: bool = False
    terminate: bool = False
    sleep: float | None = None

    @property
    def acted(self) -> bool:
        """Whether something is to be done, after which all has to be looked at again."""
        return self.launch or self.terminate

    @property
    def busy(self) -> bool:
        """Whether the runner still carries out what it was told last."""
        return bool(getattr(self.minst.prot, "busy", False))

    @property
    def failed(self) -> str:
        """Why the last start came to nothing."""
        return str(getattr(self.minst.prot, "failed", "") or "")

    def say(self, text: str) -> None:
        self.messages.append(text)

    def wait_until(self, when: float) -> None:
        self.sleep = max(0.0, when - self.now)


def resolve_child_state(minst: ManagedInstance, now: float | None = None) -> dict[str, Any]:
    """Decide what is to be done about an instance now.

    Args:
        minst: its record, which is changed in place.
        now: unix s by `steady_time`; the present unless given.

    Returns:
        ``messages`` (list of str, for people); ``launch`` and ``terminate`` (bool): call the runner's ``up`` or
        ``down``; ``sleep``: after how many seconds to look again at the latest, None if only an event matters.
    """
    running, code = minst.prot.status if minst.prot else (False, None)
    look = _Look(minst, running, code, steady_time() if now is None else now)
    for _ in range(_MOST_STEPS):
        following = _STATES.get(minst.next_action, _unknown)(look)
        if following is None:
            break
        minst.next_action = following
        if look.acted:
            break
    _settle(look)
    return {"messages": look.messages, "launch": look.launch, "terminate": look.terminate, "sleep": look.sleep}


def _settle(look: _Look) -> None:
    minst = look.minst
    if minst.passive_tracking and minst.next_action == minst.target_state:
        minst.target_state = "passive"
    minst.retired = minst.management == "retired" and minst.next_action == "down"


def _down(look: _Look) -> str | None:
    if look.running is None:
        return "?"
    if look.running:
        return _seen_up(look)
    return "start" if look.minst.target_state == "up" else None


def _start(look: _Look) -> str | None:
    minst = look.minst
    if look.running is not False:
        return "?" if look.running is None else _seen_up(look)
    if minst.target_state != "up":
        return "down"
    if minst.held:
        return None
    look.launch = True
    look.say(f"Starting {minst.full_name}.")
    minst.bounce = minst.restart_required = minst.changed = minst.ready = False
    minst.launched, minst.up_since = look.now, None
    minst.at = look.now + LAUNCH_PATIENCE
    look.wait_until(minst.at)
    return "wait_start"


def _start_at(look: _Look) -> str | None:
    minst = look.minst
    if look.running is not False:
        return "?" if look.running is None else _seen_up(look)
    if minst.target_state != "up":
        return "down"
    minst.at = min(minst.at, look.now + LONGEST_DELAY)
    if minst.bounce or look.now >= minst.at:
        return "start"
    look.wait_until(minst.at)
    return None


def _wait_start(look: _Look) -> str | None:
    minst = look.minst
    if look.running:
        return _seen_up(look)
    if look.running is False and minst.agent_script != HOSTED and look.failed and not look.busy:
        look.say(f"{minst.full_name} could not be started: {look.failed}")
        return _failed(look)
    if look.running is False and minst.agent_script == HOSTED and look.code is not None:
        return _ended(look)
    minst.at = look.now + LAUNCH_PATIENCE if look.busy else min(minst.at, look.now + LAUNCH_PATIENCE)
    if look.now < minst.at:
        look.wait_until(minst.at)
        return None
    if look.running is None:
        return "?"
    look.say(f"{minst.full_name} did not start within {LAUNCH_PATIENCE:g} s.")
    return _failed(look)


def _up(look: _Look) -> str | None:
    minst = look.minst
    if look.running is None:
        return "?"
    if not look.running:
        return _ended(look)
    if minst.up_since is None:
        minst.up_since = look.now
    if minst.target_state == "down" or minst.bounce:
        return _terminate(look)
    return None


def _wait_dead(look: _Look) -> str | None:
    minst = look.minst
    if look.running is False and not look.busy:
        look.say(f"{minst.full_name} has ended.")
        minst.up_since = None
        minst.bounce = False
        return "start" if minst.target_state == "up" else "down"
    minst.at = look.now + STOP_PATIENCE if look.busy else min(minst.at, look.now + STOP_PATIENCE)
    if look.now < minst.at:
        look.wait_until(minst.at)
        return None
    return "?" if look.running is None else _terminate(look)


def _unknown(look: _Look) -> str | None:
    if look.running is None:
        return None
    if look.running:
        return _seen_up(look)
    look.minst.up_since = None
    return "start" if look.minst.target_state == "up" else "down"


_STATES: dict[str, Callable[[_Look], str | None]] = {
    "down": _down,
    "start": _start,
    "start_at": _start_at,
    "wait_start": _wait_start,
    "up": _up,
    "wait_dead": _wait_dead,
    "?": _unknown,
}


def _seen_up(look: _Look) -> str:
    minst = look.minst
    if minst.launched is None:
        minst.launched = look.now
    minst.up_since = look.now
    return "up"


def _terminate(look: _Look) -> str:
    minst = look.minst
    look.terminate = True
    look.say(f"Stopping {minst.full_name}.")
    minst.ready = False
    minst.at = look.now + STOP_PATIENCE
    look.wait_until(minst.at)
    return "wait_dead"


def _ended(look: _Look) -> str:
    """Go on from an end that nobody asked for."""
    minst = look.minst
    how = "in a way nobody knows" if look.code is None else f"with code {look.code}"
    if minst.target_state != "up":
        minst.up_since = None
        return "down"
    look.say(f"{minst.full_name} ended {how}.")
    if minst.restart == "manual" or (minst.restart == "on-failure" and look.code == 0):
        look.say(f"{minst.full_name} stays down (restart: {minst.restart}).")
        minst.target_state, minst.wished, minst.up_since = "down", True, None
        return "down"
    return _failed(look)


def _failed(look: _Look) -> str:
    """Have it started again later, or at once if it had been stable."""
    minst = look.minst
    minst.fail_times = [*minst.fail_times, look.now][-_MOST_FAILURES:]
    stable = minst.up_since is not None and look.now - minst.up_since >= STABLE_AFTER
    minst.failures = 0 if stable else minst.failures + 1
    minst.up_since = None
    minst.ready = False
    if minst.passive_tracking or minst.target_state != "up":
        minst.target_state = "passive" if minst.passive_tracking else minst.target_state
        return "down"
    minst.at = look.now + _POLICY.delay(minst.failures)
    if stable:
        return "start"
    look.say(f"{minst.full_name} is started again in {minst.at - look.now:g} s.")
    return "start_at"
