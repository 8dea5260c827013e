"""How an agent judges a password: the site's policy, the rules in force, and what they come to."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from ocs.access.fields import CredLevel
from ocs.access.passwords import HashedPass
from ocs.access.rules import AccessRule, ActionContext, AgentAccessRules, AgentSpec
from ocs.errors import AccessError

__all__ = [
    "AccessDecision",
    "agent_authorize",
    "agent_filter_rules",
    "agent_get_creds",
    "agent_get_policy_default",
    "agent_rejection_message",
]

DEFAULT_DIRECTOR = "access-director"
"""Instance-id that ``director:`` alone stands for."""

_LEVELS = (CredLevel.BASIC, CredLevel.ADVANCED, CredLevel.FULL)


def agent_get_policy_default(policy: str | None) -> AgentAccessRules:
    """Read a site's access policy into the rules that an agent starts with.

    Args:
        policy: None, empty or ``none``: no enforcement. ``override:pw2,pw3``: these passwords give levels 2 and 3, and
            everybody has level 1. ``director:{instance-id}``: everybody is blocked until that Access Director's rules
            arrive.

    Raises:
        AccessError: the policy is none of these. Passwords are not repeated in the message.
    """
    name, colon, detail = (policy or "").partition(":")
    name = name.strip() or "none"
    if name == "none" and not colon:
        return AgentAccessRules(policy="none", rules=_one_rule_a_level([HashedPass.create_free()] * 3))
    if name == "override" and colon:
        return AgentAccessRules(policy=name, rules=_one_rule_a_level(_override_passwords(detail)))
    if name == "director" and colon:
        rules = _one_rule_a_level([HashedPass.create_blocked()] * 3)
        return AgentAccessRules(policy=name, director_id=detail.strip() or DEFAULT_DIRECTOR, rules=rules)
    raise AccessError(
        f"access policy {name!r:.40} is not known: use none, override:PASSWORD2,PASSWORD3 or director:INSTANCE-ID"
    )


def _override_passwords(detail: str) -> list[HashedPass]:
    passwords = detail.split(",")
    if len(passwords) != 2:  # noqa: PLR2004 - one for each level above basic
        raise AccessError(
            f"access policy override takes two passwords, for levels 2 and 3, as in override:PASSWORD2,PASSWORD3; "
            f"{len(passwords)} given (a password here cannot contain a comma)"
        )
    if not all(passwords):
        raise AccessError("access policy override has an empty password, which would let everybody in; fill in both")
    return [HashedPass.create_free(), *(HashedPass("none", password) for password in passwords)]


def _one_rule_a_level(passwords: Iterable[HashedPass]) -> list[AccessRule]:
    return [AccessRule(password, level) for password, level in zip(passwords, _LEVELS, strict=True)]


def agent_filter_rules(rules: Iterable[AccessRule], agent: AgentSpec) -> list[AccessRule]:
    """Return the rules whose scope the agent is in."""
    return [rule for rule in rules if rule.scope_spec.check(agent)]


def agent_get_creds(
    password: Any,
    access_rules: AgentAccessRules,
    agent: AgentSpec,
    action: ActionContext | None = None,  # noqa: ARG001 - the contract's; no rule of version 1 looks at the action
) -> tuple[CredLevel, str]:
    """Judge a password.

    Every rule is looked at: a matching one gives its level, of which the highest counts; one that does not match takes
    its ``lockout_levels`` away, and the level goes down until it is one that nobody took.

    Args:
        password: what came with the request: a string, None, the agent's own key, or anything that a client sent.
        access_rules: the rules in force.
        agent: who asks; only rules whose scope it is in count.
        action: what is to be done.

    Returns:
        The level, and why it is lower than might be expected (else an empty string).
    """
    if not access_rules.enforced:
        return CredLevel.BASIC, "No access policy is set: level 1 for everybody."
    if agent.superuser_key is not None and password is agent.superuser_key:
        return CredLevel.SUPERUSER, "The agent itself."
    granted, locks = CredLevel.BLOCKED, []
    rules = agent_filter_rules(access_rules.rules, agent)
    for rule in rules:
        if rule.matches(password):
            granted = max(granted, rule.cred_level or CredLevel.BLOCKED)
        elif rule.lockout_levels:
            locks.append(rule)
    if _awaits_director(access_rules):
        return granted, f"No rules have come from the access director {access_rules.director_id!r} yet."
    return _step_down(granted, locks)


def _awaits_director(access_rules: AgentAccessRules) -> bool:
    blocked = HashedPass.create_blocked()
    rules = access_rules.rules
    return access_rules.policy == "director" and bool(rules) and all(rule.hashed_pass == blocked for rule in rules)


def _step_down(granted: CredLevel, locks: list[AccessRule]) -> tuple[CredLevel, str]:
    taken = {level for rule in locks for level in rule.lockout_levels}
    level = next(CredLevel(n) for n in range(granted, -1, -1) if n not in taken or n == CredLevel.BLOCKED)
    passed_over = range(level + 1, granted + 1)
    names = sorted({rule.lock_name for rule in locks if any(n in passed_over for n in rule.lockout_levels)})
    return level, f"Lowered from {granted} by exclusive access: {', '.join(names)}." if names else ""


def agent_rejection_message(cred_level: int, required_level: int, lockout_detail: str = "") -> str:
    """Return what a client is told whose level does not suffice: both levels, and the lockout if there is one."""
    message = f"This needs level {CredLevel(required_level)}; the password given reaches {CredLevel(cred_level)}."
    return f"{message} {lockout_detail}".rstrip()


class AccessDecision(NamedTuple):
    """What a request may do."""

    cred_level: CredLevel
    refusal: str
    """Why it is refused; empty where it is allowed."""


def agent_authorize(
    password: Any,
    access_rules: AgentAccessRules,
    agent: AgentSpec,
    required_level: int,
    action: ActionContext | None = None,
) -> AccessDecision:
    """Decide on a request; with policy ``none`` every operation may be used, whatever level it asks for.

    Args:
        password: as in `agent_get_creds`.
        access_rules: the rules in force.
        agent: who asks.
        required_level: the operation's ``min_privs``; below 1 counts as 1.
        action: what is to be done.
    """
    level, detail = agent_get_creds(password, access_rules, agent, action)
    needed = max(required_level, CredLevel.BASIC)
    if level >= needed or not access_rules.enforced:
        return AccessDecision(level, "")
    return AccessDecision(level, agent_rejection_message(level, needed, detail))
