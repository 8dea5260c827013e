"""Whether agents will understand the site's access policy, and whether somebody will tell them the rules."""

from collections.abc import Iterator

from ocs.access.agent import agent_get_policy_default
from ocs.errors import AccessError
from ocs.inspection.problems import Problem, error, warning
from ocs.scf.model import SiteConfig

__all__ = ["check_policy"]

DIRECTOR_CLASS = "AccessDirector"
_PLACE = ("hub", "access_policy")


def check_policy(site: SiteConfig) -> Iterator[Problem]:
    """See whether the policy is one, and whether its director is at the site."""
    try:
        policy = agent_get_policy_default(site.hub.access_policy)
    except AccessError as mistake:
        yield error(f"{mistake}; agents do not start with it", _PLACE)
        return
    if policy.director_id is None:
        return
    classes = {one.instance_id: one.agent_class for host in site.hosts.values() for one in host.instances}
    found = classes.get(policy.director_id)
    if found is None:
        remedy = f"add {{agent-class: {DIRECTOR_CLASS}, instance-id: {policy.director_id}}}"
        yield warning(
            f"no instance '{policy.director_id}' is in this file: until an access director of that name tells the "
            f"rules, nobody may start anything; {remedy}",
            _PLACE,
        )
    elif found != DIRECTOR_CLASS:
        yield warning(f"the rules are to come from '{policy.director_id}', whose class is {found}", _PLACE)
