"""The client for control scripts and interactive use: an agent's operations as attributes, blocking, over HTTP.

from ocs.ocs_client import OCSClient

faker = OCSClient("faker-1")
faker.acq.start()
print(faker.acq.status())
faker.delay_task(delay=2, check=True)
"""

from collections.abc import Mapping
from typing import Any

from ocs.base import ResponseCode
from ocs.client_http import ControlClient
from ocs.clients.op_handles import Operation, OpSpec, make_operations
from ocs.clients.reply import OCSReply, check_reply
from ocs.errors import (
    ControlClientError,
    OperationError,
    OperationFailedError,
    OperationTimeoutError,
    RequestFailedError,
)
from ocs.site_config import get_control_client

__all__ = [
    "ControlClientError",
    "OCSClient",
    "OCSReply",
    "OperationError",
    "OperationFailedError",
    "OperationTimeoutError",
    "RequestFailedError",
]


class OCSClient:
    """A client of one agent, with an attribute for each of its operations.

    A task has ``start``, ``wait``, ``status``, ``abort``, and calling it starts it and waits for its end; a process has
    ``start``, ``wait``, ``status``, ``stop``, and calling it returns its status. All of them return an `OCSReply`.

    Args:
        instance_id: the agent.
        privs: a password, or a level from 1 to 3 that is looked up in the password file.
        check: raise an `OperationError` when a request or an operation fails, unless a request says ``check=False``.
        timeout: the longest time that a request may take, in seconds; None is the client's default of 30. Waiting for
            an operation is not limited by it.
        kwargs: where the site is: those of `ocs.site_config.get_control_client`, such as
            ``args=["--site-file", "site.yaml"]``.

    Raises:
        ControlClientError: if the agent does not answer.
        OCSError: if the site cannot be found.
    """

    def __init__(
        self,
        instance_id: str,
        privs: str | int | None = None,
        *,
        check: bool = False,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> None:
        self.instance_id = instance_id
        self._client: ControlClient = get_control_client(instance_id, **kwargs)
        if timeout is not None:
            self._client.timeout = timeout
        self._api: dict[str, Any] = self._client.get_api()
        self._password = find_password(privs, self._api, instance_id)
        caller = _BlockingCaller(self._client, instance_id, self._password, check)
        self._operations: dict[str, Operation[OCSReply]] = make_operations(self._api, caller)
        self.__dict__.update(self._operations)

    def __getattr__(self, name: str) -> Operation[OCSReply]:
        operations = ", ".join(sorted(self.__dict__.get("_operations", ())))
        raise AttributeError(f"{self.__dict__.get('instance_id')} has no operation {name!r}; it has: {operations}")

    def __repr__(self) -> str:
        return f"<OCSClient {self.instance_id} ({self._api.get('agent_class')}): {', '.join(sorted(self._operations))}>"


def find_password(privs: str | int | None, api: Mapping[str, Any], instance_id: str) -> str | None:
    """Return the password to send, or None for agents that know of none.

    Args:
        privs: a password, or a level from 1 to 3.
        api: the agent's description of itself.
        instance_id: the agent.

    Raises:
        AccessError: if the level is none, or the password file is missing or wrong.
    """
    if privs is None or "access_control" not in api:
        return None
    from ocs.access import client_get_password  # noqa: PLC0415 - most clients use no passwords

    return client_get_password(privs, api.get("agent_class"), instance_id) or None


class _BlockingCaller:
    """Makes an agent's requests over HTTP; it does not know the client, so that this ends with its last use."""

    def __init__(self, client: ControlClient, instance_id: str, password: str | None, check: bool) -> None:
        self._client = client
        self._instance_id = instance_id
        self._check = check
        self._credentials: dict[str, Any] = {} if password is None else {"password": password}

    def request(
        self, spec: OpSpec, action: str, *, params: Mapping[str, Any], timeout: float | None, check: bool | None
    ) -> OCSReply:
        """Ask for one action and return the reply."""
        if action == "wait":
            return self._wait(spec, timeout, check)
        reply = OCSReply(*self._client.request(action, spec.name, params, **self._credentials))
        return self._checked(reply, spec, action, check)

    def run(self, spec: OpSpec, params: Mapping[str, Any], *, check: bool | None) -> OCSReply:
        """Start an operation and wait for its end."""
        started = self.request(spec, "start", params=params, timeout=None, check=check)
        if started.status != ResponseCode.OK:
            return started
        return self._wait(spec, None, check, started.session)

    def _wait(
        self, spec: OpSpec, timeout: float | None, check: bool | None, session: Mapping[str, Any] | None = None
    ) -> OCSReply:
        reply = OCSReply(*self._client.wait(spec.name, timeout, session=session, **self._credentials))
        return self._checked(reply, spec, "wait", check)

    def _checked(self, reply: OCSReply, spec: OpSpec, action: str, check: bool | None) -> OCSReply:
        if check or (check is None and self._check):
            outcome = action == "wait" or (action == "status" and check is True)
            check_reply(reply, self._instance_id, spec.name, action, outcome=outcome)
        return reply
