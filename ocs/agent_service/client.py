"""A client of the agent service, for scripts and agents; it needs the standard library alone."""

import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from ocs.components.names import ComponentId
from ocs.errors import AgentServiceError

__all__ = ["AgentServiceClient"]

_CONTAINERS_TIMEOUT: Final = 65.0
"""Starting all that a file lists takes the service 60 s at most."""
_LARGEST_ANSWER: Final = 64 << 20
_LONGEST_SHOWN: Final = 500

Answer = dict[str, Any]


class AgentServiceClient:
    """Asks an agent service. Each call blocks; calls from several threads do not hinder each other.

    Every method returns what the service has answered with status 200: what could not be done is among that, as
    ``{"_type": "Failed", "msg": ...}``. Every method raises `AgentServiceError`, in one line, where there is no answer
    or a refusal.

    Args:
        url: where the service is, as in ``http://127.0.0.1:8300``; a path before ``/post-endpoint`` may follow.
        token: lets this client spawn and kill; None: it only looks.
        timeout: how long to wait for an answer, in seconds. A spawn takes 20 s at most, a kill 25.

    Raises:
        AgentServiceError: the address is none.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 30.0) -> None:
        self.url = url
        self.timeout = timeout
        self._parts = _checked(url)
        self._token = token

    def spawn_sequence_component(self, agent_prefix: str, name: str, version: str | None = None) -> Answer:
        """Have a sequence component started.

        Args:
            agent_prefix: the SpawnAgent of the machine, as in ``ESW.machine1``.
            name: the component's; its subsystem is that of the SpawnAgent.
            version: of what is spawned; None: whichever that machine has.
        """
        return self._ask("SpawnSequenceComponent", agentPrefix=str(agent_prefix), componentName=name, version=version)

    def spawn_sequence_manager(
        self, agent_prefix: str, path: str, is_local: bool, version: str | None = None
    ) -> Answer:
        """Have the sequence manager started.

        Args:
            agent_prefix: the SpawnAgent of the machine.
            path: the file of observing modes.
            is_local: whether that is on the SpawnAgent's machine, and not below its folder of configuration.
            version: of what is spawned; None: whichever that machine has.
        """
        return self._ask(
            "SpawnSequenceManager",
            agentPrefix=str(agent_prefix),
            obsModeConfigPath=path,
            isConfigLocal=is_local,
            version=version,
        )

    def spawn_agent(self, agent_prefix: str, instance_id: str) -> Answer:
        """Have an OCS agent started that the site config file describes.

        Args:
            agent_prefix: the SpawnAgent of the machine.
            instance_id: of an instance of that host.
        """
        return self._ask("SpawnAgent", agentPrefix=str(agent_prefix), instanceId=instance_id)

    def spawn_containers(self, agent_prefix: str, path: str, is_local: bool) -> Answer:
        """Have all components started that a file lists; the answer's ``res`` has what became of each.

        Args:
            agent_prefix: the SpawnAgent of the machine.
            path: the file.
            is_local: whether that is on the SpawnAgent's machine, and not below its folder of configuration.
        """
        timeout = max(self.timeout, _CONTAINERS_TIMEOUT)
        fields = {"agentPrefix": str(agent_prefix), "hostConfigPath": path, "isConfigLocal": is_local}
        return self._ask("SpawnContainers", timeout, **fields)

    def kill_component(self, component_id: ComponentId | Mapping[str, str]) -> Answer:
        """Have a component ended.

        Args:
            component_id: the component, also as ``{"prefix": ..., "componentType": ...}``.
        """
        found = component_id.to_json() if isinstance(component_id, ComponentId) else dict(component_id)
        return self._ask("KillComponent", componentId=found)

    def agent_status(self) -> Answer:
        """Return which SpawnAgents there are, their sequence components, and what these have loaded."""
        return self._ask("GetAgentStatus")

    def _ask(self, kind: str, timeout: float | None = None, /, **fields: Any) -> Answer:
        given = {name: value for name, value in fields.items() if value is not None}
        link = self._link(timeout or self.timeout)
        try:
            link.request("POST", f"{self._parts.path.rstrip('/')}/post-endpoint", *self._request(kind, given))
            reply = link.getresponse()
            return self._answer(reply.status, reply.read(_LARGEST_ANSWER))
        except TimeoutError:
            raise self._error(f"has not answered within {timeout or self.timeout:g} s") from None
        except (OSError, http.client.HTTPException) as error:
            raise self._error(f"cannot be asked: {getattr(error, 'strerror', None) or error or repr(error)}") from None
        finally:
            link.close()

    def _request(self, kind: str, fields: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
        headers = {"Content-Type": "application/json", "Connection": "close"}
        if self._token is not None:
            if not self._token.isascii() or not self._token.isprintable():
                raise self._error("is not asked: the token is none")
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            return json.dumps({"_type": kind, **fields}).encode(), headers
        except TypeError as error:
            raise self._error(f"is not asked: {error}") from None

    def _link(self, timeout: float) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context())
        return http.client.HTTPConnection(host, port, timeout=timeout)

    def _answer(self, status: int, body: bytes) -> Answer:
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or not isinstance(answer.get("_type"), str):
            text = ascii(body[:60])[2:-1]
            raise self._error(f"has answered with status {status} and what is none of its answers: {text}", status)
        if status != http.HTTPStatus.OK:
            raise self._error(f"refuses ({status}): {_line(answer)}", status, answer)
        return answer

    def _error(self, what: str, status: int = 0, answer: Answer | None = None) -> AgentServiceError:
        return AgentServiceError(f"the agent service at {self.url} {what}", status=status, answer=answer)


def _line(answer: Answer) -> str:
    words = " ".join(str(answer.get("msg") or answer["_type"]).split())
    return words if len(words) <= _LONGEST_SHOWN else f"{words[:_LONGEST_SHOWN]}..."


def _checked(url: str) -> SplitResult:
    """Return the parts of an address.

    Raises:
        AgentServiceError: it is none.
    """
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or not url.isascii() or not url.isprintable() or " " in url:
        raise AgentServiceError(f"{url!r} is no address of an agent service, such as http://127.0.0.1:8300")
    return parts
