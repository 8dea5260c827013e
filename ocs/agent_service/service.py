"""What becomes of a request to the agent service: let in, noted, carried out, counted."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, Protocol

from ocs.agent_service.audit import NoAuditLog
from ocs.agent_service.handling import Handling
from ocs.agent_service.location import Location
from ocs.agent_service.metrics import Metrics
from ocs.agent_service.models import GetAgentStatus, Request, request_of
from ocs.agent_service.security import Guard, Identity
from ocs.errors import AuthorisationError, BusyError, MalformedRequestError, RouterAwayError

__all__ = ["AgentService", "Caller", "Reply"]

MOST_AT_ONCE: Final = 100
"""Spawns and kills that are under way at the same time."""

_COME_BACK: Final = {"Retry-After": "2"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a request has come from.

    Attributes:
        address: of the other end of the connection.
        forwarded_for: whom a proxy says it asks for; anybody can say so.
        authorization: the request's Authorization headers.
    """

    address: str
    forwarded_for: str = ""
    authorization: Sequence[str] = ()

    def noted(self) -> dict[str, str]:
        """Return it for the audit log."""
        claimed = {"forwarded_for": self.forwarded_for[:200]} if self.forwarded_for else {}
        return {"from": self.address, **claimed}


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered over HTTP.

    Attributes:
        status: the status.
        content: the body, as JSON has it.
        headers: those that belong to this answer.
    """

    status: int
    content: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def refusal(cls, status: int, message: str, headers: Mapping[str, str] | None = None) -> "Reply":
        """Return the answer to what is not carried out.

        Args:
            status: the status.
            message: why, for a person.
            headers: those that belong to it.
        """
        return cls(status, {"_type": _KINDS.get(status, "Refused"), "msg": message}, headers or {})


_KINDS: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    408: "RequestTimeout",
    413: "ContentTooLarge",
    500: "InternalError",
    503: "ServiceUnavailable",
}


class Audit(Protocol):
    """Remembers; see `ocs.agent_service.audit.AuditLog`."""

    trouble: str

    def note(self, event: str, **fields: Any) -> None:
        """Add a line."""

    def close(self) -> None:
        """Write what waits."""


class AgentService:
    """Takes requests in, whatever they are, and answers them.

    Args:
        location: knows what is there.
        guard: knows who may.
        audit: remembers who has asked for what.
    """

    def __init__(self, location: Location, guard: Guard, audit: Audit | None = None) -> None:
        self.guard = guard
        self.metrics = Metrics()
        self._location = location
        self._audit = audit or NoAuditLog()
        self._handling = Handling(location)
        self._numbers = count(1)
        self._running: set[asyncio.Task[Reply]] = set()
        self._changing = 0

    async def post(self, body: bytes, caller: Caller) -> Reply:
        """Answer a request; one that has been begun is carried out also if nobody waits for the answer any more.

        Args:
            body: what has come.
            caller: from where.
        """
        try:
            request, identity = await self._admit(body, caller)
        except MalformedRequestError as error:
            return self.refuse(Reply.refusal(400, str(error)), caller, error.kind)
        except AuthorisationError as error:
            return self.refuse(Reply.refusal(error.status, str(error), error.headers), caller)
        except (RouterAwayError, BusyError) as error:
            return self.refuse(Reply.refusal(503, str(error), _COME_BACK), caller)
        work = self._carry_out(request) if identity is None else self._change(request, identity, caller)
        return await asyncio.shield(self._begin(work, is_change=identity is not None))

    def refuse(self, reply: Reply, caller: Caller, kind: str = "") -> Reply:
        """Count and remember that a request is not carried out.

        Args:
            reply: the answer.
            caller: who gets it.
            kind: what was asked for, where that is known.

        Returns:
            The answer.
        """
        self.metrics.refused(reply.status)
        known = {"request": kind} if kind else {}
        self._audit.note("refused", status=reply.status, msg=str(reply.content["msg"])[:500], **known, **caller.noted())
        return reply

    async def drain(self) -> None:
        """Wait until nothing is being carried out."""
        while self._running:
            await asyncio.wait(set(self._running))

    # Letting in

    async def _admit(self, body: bytes, caller: Caller) -> tuple[Request, Identity | None]:
        """Return the request, and who asks for it where it changes something.

        Raises:
            MalformedRequestError: it makes no sense, and who asks may know why.
            AuthorisationError: who asks may not.
            RouterAwayError: nothing can be done now.
            BusyError: too much is being done now.
        """
        try:
            request = request_of(body)
        except MalformedRequestError as error:
            if error.kind and error.kind != GetAgentStatus.__name__:
                await self.guard.authorise(caller.authorization)
            raise
        changes = not isinstance(request, GetAgentStatus)
        identity = await self.guard.authorise(caller.authorization) if changes else None
        self._check_capacity(changes=changes)
        return request, identity

    def _check_capacity(self, *, changes: bool) -> None:
        if not self._location.connected:
            raise RouterAwayError("there is no connection to the router now; try again in a moment")
        if changes and self._changing >= MOST_AT_ONCE:
            raise BusyError(f"{MOST_AT_ONCE} requests are under way; try again in a moment")

    # Carrying out

    def _begin(self, work: Coroutine[Any, Any, Reply], *, is_change: bool) -> "asyncio.Task[Reply]":
        """Begin work that goes on if nobody waits for it any more."""

        def done(_: Any) -> None:
            self._running.discard(task)
            self._changing -= is_change
            self.metrics.running = len(self._running)

        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        self._changing += is_change
        self.metrics.running = len(self._running)
        task.add_done_callback(done)
        return task

    async def _change(self, request: Request, identity: Identity, caller: Caller) -> Reply:
        number, begun = next(self._numbers), time.monotonic()
        who = {"number": number, "user": identity.name, "subject": identity.subject, **caller.noted()}
        self._audit.note("request", **who, request=request.model_dump(mode="json", by_alias=True, exclude_none=True))
        reply = await self._carry_out(request)
        self._audit.note(
            "result", **who, status=reply.status, answer=reply.content, seconds=round(time.monotonic() - begun, 3)
        )
        return reply

    async def _carry_out(self, request: Request) -> Reply:
        begun = time.monotonic()
        try:
            answer = await self._handling.answer(request)
        except Exception:  # whatever is wrong with this one, the next are answered
            _log.exception("a request could not be carried out: %s", request)
            self.metrics.refused(500)
            return Reply.refusal(500, "the agent service has stumbled over this request; its log says how")
        self.metrics.answered(type(request).__name__, answer["_type"], time.monotonic() - begun)
        return Reply(200, answer)

    # Telling how it is

    def health(self) -> Reply:
        """Return whether all is well: 200 when requests can be carried out, 503 when not."""
        works = self._location.connected and self._location.complete
        troubles = {"audit": self._audit.trouble, "keys": self.guard.trouble}
        content = {
            "status": "trouble" if any(troubles.values()) or not works else "ok",
            "router": {"connected": self._location.connected},
            "location": {"complete": self._location.complete, "trouble": self._location.trouble},
            **{name: {"trouble": trouble} for name, trouble in troubles.items()},
            "running": len(self._running),
        }
        return Reply(200 if works else 503, content, {} if works else _COME_BACK)

    def metrics_text(self) -> str:
        """Return all that is counted, in Prometheus's text."""
        gauges = {
            "router_connected": ("Whether there is a connection to the router.", float(self._location.connected)),
            "location_complete": ("Whether all that is registered is known.", float(self._location.complete)),
            "audit_trouble": ("Whether the audit log cannot be written.", float(bool(self._audit.trouble))),
            "keys_trouble": ("Whether the keys for tokens cannot be had.", float(bool(self.guard.trouble))),
        }
        return self.metrics.text(gauges, self._location.counts())
