"""Which agents a rule is for, and what it gives or takes away."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal, overload

from ocs.access.fields import (
    NOT_ON_THE_WIRE,
    Checks,
    CredLevel,
    Record,
    flag,
    level,
    levels,
    optional,
    record,
    records,
    text,
)
from ocs.access.passwords import HashedPass

__all__ = ["SCOPE_CHECKS", "AccessRule", "ActionContext", "AgentAccessRules", "AgentSpec", "ScopeSpec", "pattern_match"]


@overload
def pattern_match(target: str, pattern: str, raw: Literal[False] = False) -> bool: ...
@overload
def pattern_match(target: str, pattern: str, raw: Literal[True]) -> tuple[list[bool], list[bool]]: ...
def pattern_match(target: str, pattern: str, raw: bool = False) -> bool | tuple[list[bool], list[bool]]:
    """Compare a name with a comma-separated list of shell globs, where ``!`` before one excludes.

    Args:
        target: the name of a class or an instance.
        pattern: for example ``compute*,login*,!*9``; blanks around a glob and empty ones do not count.
        raw: return the two lists of single answers.

    Returns:
        True if no excluding glob fits, and an including one does or there is none. With ``raw``: for each including
        and each excluding glob, in their order, whether it fits.
    """
    globs = [glob for part in pattern.split(",") if (glob := part.strip())]
    positive = [fnmatchcase(target, glob) for glob in globs if not glob.startswith("!")]
    excluded = [glob[1:].strip() for glob in globs if glob.startswith("!")]
    negative = [fnmatchcase(target, glob) for glob in excluded if glob]
    if raw:
        return positive, negative
    return (any(positive) or not positive) and not any(negative)


@dataclass(frozen=True)
class AgentSpec(Record):
    """The agent that a rule is held against.

    Attributes:
        instance_id: its name in the site config file.
        agent_class: its class.
        superuser_key: an object that only the agent itself holds; given as a password it reaches level 4.
    """

    instance_id: str
    agent_class: str
    superuser_key: object | None = field(default=None, repr=False, metadata=NOT_ON_THE_WIRE)

    checks: ClassVar[Checks] = {"instance_id": text, "agent_class": text}


SCOPE_CHECKS = {"default": flag, "agent_class": optional(text), "instance_id": optional(text)}


@dataclass(frozen=True)
class ScopeSpec(Record):
    """The agents that something is for: all of them, or those whose class and instance-id fit both patterns."""

    default: bool = False
    agent_class: str | None = None
    instance_id: str | None = None

    checks: ClassVar[Checks] = SCOPE_CHECKS

    @property
    def empty(self) -> bool:
        """Whether it names nothing, and so is for no agent."""
        return not self.default and self.agent_class is None and self.instance_id is None

    def check(self, agent: AgentSpec) -> bool:
        """Tell whether an agent is within this scope; see `pattern_match`."""
        if self.default or self.empty:
            return self.default
        return pattern_match(agent.agent_class, self.agent_class or "") and pattern_match(
            agent.instance_id, self.instance_id or ""
        )

    def get_specificity(self) -> int:
        """Tell how narrow the scope is: of several that fit an agent, the highest is the one that was meant for it.

        Returns:
            0 for ``default``; else 8 if the instance-id is given by including globs, plus 4 for the class, plus 2 and
            1 for excluding ones of instance-id and class; -1 where neither is named.
        """
        if self.default:
            return 0
        by_class, not_class = pattern_match("", self.agent_class or "", raw=True)
        by_id, not_id = pattern_match("", self.instance_id or "", raw=True)
        named = 8 * bool(by_id) + 4 * bool(by_class) + 2 * bool(not_id) + bool(not_class)
        return named or -1


@dataclass(frozen=True)
class AccessRule(Record):
    """A password, the level that it gives, and the levels that are taken from those who do not have it.

    Attributes:
        hashed_pass: who it is for; None fits nobody, so that the rule can only lock out.
        cred_level: the level given; None gives none.
        scope_spec: the agents that the rule is for.
        lockout_id: name of the exclusive grant that the rule belongs to.
        lockout_owner: who holds that grant.
        lockout_levels: what everybody else loses.
    """

    hashed_pass: HashedPass | None
    cred_level: CredLevel | None
    scope_spec: ScopeSpec = field(default_factory=lambda: ScopeSpec(default=True))
    lockout_id: str | None = None
    lockout_owner: str | None = None
    lockout_levels: list[CredLevel] = field(default_factory=list)

    checks: ClassVar[Checks] = {
        "hashed_pass": optional(record(HashedPass)),
        "cred_level": optional(level),
        "scope_spec": record(ScopeSpec),
        "lockout_id": optional(text),
        "lockout_owner": optional(text),
        "lockout_levels": levels,
    }

    def matches(self, password: Any) -> bool:
        """Tell whether a clear password is the one of this rule."""
        return self.hashed_pass is not None and self.hashed_pass.check(password)

    @property
    def asks_for_password(self) -> bool:
        """Whether there is a password that it is for."""
        return self.hashed_pass is not None and not self.hashed_pass.free and self.hashed_pass.hash != "blocked"

    @property
    def lock_name(self) -> str:
        """What a locked-out person is told: the grant and who holds it."""
        return f"{self.lockout_id or 'unnamed'} (held by {self.lockout_owner or 'nobody named'})"


@dataclass(frozen=True)
class ActionContext(Record):
    """What a client is about to do: the operation, and one of start, stop, abort, wait, status."""

    op_name: str | None = None
    action: str | None = None

    checks: ClassVar[Checks] = {"op_name": optional(text), "action": optional(text)}


@dataclass(frozen=True)
class AgentAccessRules(Record):
    """All that an agent needs to judge a password.

    Attributes:
        policy: ``none``, ``override`` or ``director``.
        director_id: the instance-id of the Access Director, with policy ``director``.
        agent: the agent that the rules were picked for.
        rules: in any order: the highest level that a password gives wins.
    """

    policy: str | None = None
    director_id: str | None = None
    agent: AgentSpec | None = None
    rules: list[AccessRule] = field(default_factory=list)

    checks: ClassVar[Checks] = {
        "policy": optional(text),
        "director_id": optional(text),
        "agent": optional(record(AgentSpec)),
        "rules": records(AccessRule),
    }

    @property
    def enforced(self) -> bool:
        """Whether levels are compared at all; with policy ``none`` every operation may be used."""
        return self.policy != "none"

    def knows(self, password: str) -> bool | None:
        """Tell whether a password is one that some rule asks for; None where no rule asks for any."""
        asked = [rule for rule in self.rules if rule.asks_for_password] if self.enforced else []
        return any(rule.matches(password) for rule in asked) if asked else None

    def is_slow(self, password: Any) -> bool:
        """Tell whether judging this password takes long enough (some 30 ms a salt) to belong in a thread."""
        return self.enforced and any(
            rule.hashed_pass is not None and rule.hashed_pass.is_slow(password) for rule in self.rules
        )
