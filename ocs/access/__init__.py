"""Access control: credential levels, the rules that give them, and the passwords behind the rules.

Names that start with ``agent_`` are for agents, ``client_`` for control scripts, ``director_`` for the Access Director.
All of it is plain logic: nothing here knows of a network or a reactor. What only clients or only the director use is
loaded when it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ocs.access.agent import (
    AccessDecision,
    agent_authorize,
    agent_filter_rules,
    agent_get_creds,
    agent_get_policy_default,
    agent_rejection_message,
)
from ocs.access.controls import (
    AC_VERSION,
    AccessState,
    ControlsOutcome,
    ControlsVerdict,
    agent_apply_controls,
    agent_start_access,
)
from ocs.access.fields import CredLevel
from ocs.access.passwords import HashedPass
from ocs.access.rules import AccessRule, ActionContext, AgentAccessRules, AgentSpec, ScopeSpec, pattern_match
from ocs.errors import AccessError

if TYPE_CHECKING:
    from ocs.access.client import ExclusiveAccessClient, client_get_password
    from ocs.access.director import (
        AccessDirectorConfig,
        AccessPasswordItem,
        DistributedAccessGrant,
        GrantConfigItem,
        director_get_access_rules,
        director_parse_config,
    )

__all__ = [
    "AC_VERSION",
    "AccessDecision",
    "AccessDirectorConfig",
    "AccessError",
    "AccessPasswordItem",
    "AccessRule",
    "AccessState",
    "ActionContext",
    "AgentAccessRules",
    "AgentSpec",
    "ControlsOutcome",
    "ControlsVerdict",
    "CredLevel",
    "DistributedAccessGrant",
    "ExclusiveAccessClient",
    "GrantConfigItem",
    "HashedPass",
    "ScopeSpec",
    "agent_apply_controls",
    "agent_authorize",
    "agent_filter_rules",
    "agent_get_creds",
    "agent_get_policy_default",
    "agent_rejection_message",
    "agent_start_access",
    "client_get_password",
    "director_get_access_rules",
    "director_parse_config",
    "pattern_match",
]

_LOADED_WHEN_ASKED_FOR = {
    "ExclusiveAccessClient": "ocs.access.client",
    "client_get_password": "ocs.access.client",
    "AccessDirectorConfig": "ocs.access.director",
    "AccessPasswordItem": "ocs.access.director",
    "DistributedAccessGrant": "ocs.access.director",
    "GrantConfigItem": "ocs.access.director",
    "director_get_access_rules": "ocs.access.director",
    "director_parse_config": "ocs.access.director",
}


def __getattr__(name: str) -> Any:
    if name not in _LOADED_WHEN_ASKED_FOR:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_LOADED_WHEN_ASKED_FOR[name]), name)
    return value
