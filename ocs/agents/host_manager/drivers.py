"""The public names of the host manager's parts."""

from ocs.agents.host_manager.docker import DockerContainerHelper, parse_docker_state
from ocs.agents.host_manager.instances import ManagedInstance
from ocs.agents.host_manager.process_helper import AgentProcessHelper
from ocs.agents.host_manager.resolve import resolve_child_state, stability_factor

__all__ = [
    "AgentProcessHelper",
    "DockerContainerHelper",
    "ManagedInstance",
    "parse_docker_state",
    "resolve_child_state",
    "stability_factor",
]
