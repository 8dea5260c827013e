"""What an agent does with the messages of its Access Director: take their rules, or say why not."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, NamedTuple

from ocs.access.agent import agent_filter_rules, agent_get_policy_default
from ocs.access.rules import AccessRule, AgentAccessRules, AgentSpec
from ocs.errors import AccessError

__all__ = [
    "AC_VERSION",
    "AccessState",
    "ControlsOutcome",
    "ControlsVerdict",
    "agent_apply_controls",
    "agent_start_access",
]

AC_VERSION = 1
"""Version of the protocol between Access Director and agents."""

MAX_RULES = 10_000
"""Most rules that a director's message may carry."""


@dataclass(frozen=True)
class AccessState:
    """The rules that an agent goes by, and how it came by them.

    Attributes:
        rules: what `agent_get_creds` takes.
        step: the director's count of changes, of the last message taken.
        director_session: the ``session_id`` of the feed that it came by: one run of the director.
        update_count: messages taken.
        update_timestamp: when the last was taken, or the policy read; unix seconds.
    """

    rules: AgentAccessRules
    step: int = 0
    director_session: str | None = None
    update_count: int = 0
    update_timestamp: float = 0.0

    def encoded(self) -> dict[str, Any]:
        """Return the map that ``get_api`` gives as ``access_control``."""
        return {
            "version": AC_VERSION,
            "policy": self.rules.policy,
            "update_timestamp": self.update_timestamp,
            "update_count": self.update_count,
            "step": self.step,
        }


class ControlsVerdict(Enum):
    """What became of a director's message."""

    APPLIED = "applied"
    """The rules of this agent changed."""
    REFRESHED = "refreshed"
    """Taken, and the rules are as they were: the director repeats them every minute."""
    NOT_FOR_US = "not for us"
    STALE = "stale"
    """Older than what is in force; passed over."""
    REFUSED = "refused"
    """Malformed or of another version; what was in force stays in force."""


class ControlsOutcome(NamedTuple):
    """The state after a director's message, what became of it, and a line for the log."""

    state: AccessState
    verdict: ControlsVerdict
    note: str


def agent_start_access(policy: str | None, agent: AgentSpec, now: float) -> AccessState:
    """Return the state of an agent that has just started.

    Args:
        policy: as in `agent_get_policy_default`.
        agent: the agent, with its key.
        now: unix seconds.

    Raises:
        AccessError: the policy has a mistake in it.
    """
    return AccessState(replace(agent_get_policy_default(policy), agent=agent), update_timestamp=now)


def agent_apply_controls(
    message: Any, state: AccessState, *, now: float, director_session: str | None = None
) -> ControlsOutcome:
    """Take a message from the director's ``controls`` feed: all of it or nothing.

    That it was the director who published it is for the caller to make sure.

    Args:
        message: ``{"reset": true | "target": instance_id, "ac_version", "step", "rules"}``, as it came.
        state: what is in force; its rules name the agent.
        now: unix seconds.
        director_session: ``session_id`` of the feed's envelope. Within one the step never goes back; a director that
            has started anew counts anew.

    Returns:
        The state from now on, the verdict, and a line that says what happened. Nothing is raised for a bad message.
    """
    agent = state.rules.agent
    if state.rules.policy != "director" or agent is None:
        return ControlsOutcome(state, ControlsVerdict.REFUSED, "This agent takes no rules from an access director.")
    try:
        step, rules = _read_controls(message, agent)
    except AccessError as error:
        note = f"Access rules from {state.rules.director_id!r} refused, the old ones stay in force: {error}"
        return ControlsOutcome(state, ControlsVerdict.REFUSED, note)
    if rules is None:
        return ControlsOutcome(state, ControlsVerdict.NOT_FOR_US, "Access rules for another agent.")
    if state.update_count and director_session == state.director_session and step < state.step:
        note = f"Access rules of step {step} passed over, those of step {state.step} are in force."
        return ControlsOutcome(state, ControlsVerdict.STALE, note)
    return _take(state, rules, step, director_session, now)


def _take(
    state: AccessState, rules: list[AccessRule], step: int, director_session: str | None, now: float
) -> ControlsOutcome:
    changed = rules != state.rules.rules
    after = AccessState(
        replace(state.rules, rules=rules) if changed else state.rules,
        step=step,
        director_session=director_session,
        update_count=state.update_count + 1,
        update_timestamp=now,
    )
    verdict = ControlsVerdict.APPLIED if changed else ControlsVerdict.REFRESHED
    note = f"Access rules of step {step} from {state.rules.director_id!r} {verdict.value}: {len(rules)} for this agent."
    return ControlsOutcome(after, verdict, note)


def _read_controls(message: Any, agent: AgentSpec) -> tuple[int, list[AccessRule] | None]:
    """Return a message's step and the rules for this agent, None if they are for another one.

    Raises:
        AccessError: the message is malformed; which rule, which field.
    """
    if not isinstance(message, Mapping):
        raise AccessError(f"the message is of type {type(message).__name__}, it must be a map")
    version, step = message.get("ac_version"), message.get("step")
    if version != AC_VERSION:
        raise AccessError(f"ac_version is {version!r:.40}, this agent knows {AC_VERSION}")
    if not isinstance(step, int) or isinstance(step, bool) or step < 0:
        raise AccessError(f"step is {step!r:.40}, it must be a whole number from 0")
    if message.get("reset") is not True:
        target = message.get("target")
        if not isinstance(target, str):
            raise AccessError("neither reset nor a target is given")
        if target != agent.instance_id:
            return step, None
    return step, agent_filter_rules(_read_rules(message.get("rules")), agent)


def _read_rules(rules: Any) -> list[AccessRule]:
    if not isinstance(rules, list | tuple):
        raise AccessError(f"rules is of type {type(rules).__name__}, it must be a list")
    if len(rules) > MAX_RULES:
        raise AccessError(f"{len(rules)} rules are too many, {MAX_RULES} is the most")
    return [AccessRule.from_dict(rule, f"access rule {i}") for i, rule in enumerate(rules)]
