"""Docker Compose services: what the compose files describe, watched, started and stopped through docker's programs.

`Compose` is what the manager uses. Everything is asked and done by calls of ``docker`` and of Compose (`calls`), whose
answers (`answers`) become records (`model`) and these what is shown (`state`).
"""

from ocs.agents.host_manager.docker.compose import Compose
from ocs.agents.host_manager.docker.drivers import DockerContainerHelper, parse_docker_state
from ocs.agents.host_manager.docker.tools import Limits

__all__ = ["Compose", "DockerContainerHelper", "Limits", "parse_docker_state"]
