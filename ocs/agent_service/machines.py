"""Requests to SpawnAgents: each is answered in time, also by one that vanishes."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from ocs.agent_service.location import Location
from ocs.agent_service.models import ANSWERS
from ocs.components.description import Description
from ocs.errors import CallLostError

__all__ = ["CONTAINERS", "KILL", "SPAWN", "Machines", "Procedure", "failed"]

_LAST_WORD: Final = 0.3
"""How long (s) the answer of a SpawnAgent that has just gone may be under way."""
_TAKES_REQUESTS: Final = 2.0
"""How long (s) one that has just come, or come back, may take until it takes requests."""
_AGAIN: Final = 0.05
"""When (s) one that does not take requests is asked again."""

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Procedure:
    """What SpawnAgents do when they are called."""

    name: str
    """What follows a SpawnAgent's address."""
    within: float
    """How long the answer may take, in seconds."""
    good: str
    """The kind of the answer when all went well."""
    done: str
    """The same in words."""


SPAWN: Final = Procedure("spawn", 19.5, "Spawned", "spawned")
"""A SpawnAgent answers within 19.5 s, so that the HTTP answer is there within 20."""
KILL: Final = Procedure("kill", 25.0, "Killed", "killed")
"""SIGTERM, 10 s, SIGKILL, 5 s, and some for all else."""
CONTAINERS: Final = Procedure("containers", 60.0, "Completed", "spawned")


def failed(reason: str) -> Answer:
    """Return the answer to what has not been done.

    Args:
        reason: why, for a person.
    """
    return {"_type": "Failed", "msg": reason}


class Machines:
    """Calls SpawnAgents, and has an eye on whether they are still there.

    Args:
        location: knows them.
    """

    def __init__(self, location: Location) -> None:
        self._location = location
        self._watched: dict[asyncio.Future[None], Description] = {}
        location.on_change(self._look)

    async def ask(self, machine: Description, procedure: Procedure, request: Any, what: str) -> Answer:
        """Have a SpawnAgent do something.

        Args:
            machine: the SpawnAgent, as it is registered now.
            procedure: what it is to do.
            request: what it is given.
            what: the same in words, for a person: which component.

        Returns:
            Its answer, or ``Failed``.
        """
        address = machine.metadata.get("address")
        if not isinstance(address, str):
            return failed(f"{_named(machine)} does not say where it takes requests: it does not answer")
        try:
            answer = await self._answer(machine, f"{address}.{procedure.name}", request, procedure.within)
        except CallLostError as error:
            unknown = f"; {_unknown(what, procedure)}" if error.may_be_done else ""
            return failed(f"{_named(machine)}: {error}{unknown}")
        except TimeoutError:
            return failed(
                f"{_named(machine)} has not answered within {procedure.within:g} s; {_unknown(what, procedure)}"
            )
        return _checked(machine, procedure, answer)

    async def _answer(self, machine: Description, address: str, request: Any, within: float) -> Any:
        """Return what a SpawnAgent answers.

        Raises:
            CallLostError: it has gone, or the router.
            TimeoutError: it takes too long.
        """
        calling = asyncio.ensure_future(self._call(address, request))
        gone = asyncio.get_running_loop().create_future()
        self._watched[gone] = machine
        try:
            self._look()
            await asyncio.wait({calling, gone}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                await asyncio.wait({calling}, timeout=_LAST_WORD)
            return self._result(calling, is_gone=gone.done())
        finally:
            del self._watched[gone]
            gone.cancel()
            calling.cancel()

    async def _call(self, address: str, request: Any) -> Any:
        """Return what a SpawnAgent answers; one that cannot have heard of the request is asked again for a while.

        Raises:
            CallLostError: it has gone, or the router, or it takes no requests.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + _TAKES_REQUESTS
        while True:
            try:
                return await self._location.call(address, request)
            except CallLostError as error:
                if error.may_be_done or loop.time() > until:
                    raise
                await asyncio.sleep(_AGAIN)

    def _result(self, calling: "asyncio.Future[Any]", *, is_gone: bool) -> Any:
        if calling.done():
            return calling.result()
        if is_gone:
            why = "it has gone away" if self._location.connected else "the connection to the router was lost"
            raise CallLostError(why, may_be_done=True)
        raise TimeoutError

    def _look(self) -> None:
        for gone, machine in list(self._watched.items()):
            if not gone.done() and self._location.find(machine.component) != machine:
                gone.set_result(None)


def _named(machine: Description) -> str:
    host = machine.metadata.get("host")
    return f"SpawnAgent {machine.component.prefix}{f' on {host}' if host else ''}"


def _unknown(what: str, procedure: Procedure) -> str:
    return f"whether {what} has been {procedure.done} is not known: GetAgentStatus tells, once it is back"


def _checked(machine: Description, procedure: Procedure, answer: Any) -> Answer:
    """Return a SpawnAgent's answer if it is one."""
    try:
        ANSWERS.validate_python(answer)
    except ValidationError:
        return failed(f"{_named(machine)} has answered something that makes no sense")
    if answer["_type"] not in (procedure.good, "Failed"):
        return failed(f"{_named(machine)} has answered {answer['_type']} to a request for {procedure.name}")
    return dict(answer)
