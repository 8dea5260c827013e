"""The agent's part of the audit: it notes each request to start or end something, for a file and for a feed."""

import os
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool

from ocs.audit.masking import Masked, mask, mask_text
from ocs.audit.reading import ENDING
from ocs.audit.record import LEFT_OUT, AuditRecord
from ocs.audit.rotating import RotatingFile
from ocs.audit.writer import AuditWriter
from ocs.base import ERROR, OK
from ocs.core.callers import ITSELF, Caller
from ocs.core.keeping import state_folder
from ocs.core.peers import BRIDGE, Peers
from ocs.op_session import OpSession

__all__ = ["FEED", "AuditTrail", "Auditing", "audit_path", "trail_of"]

FEED: Final = "audit"
_NAME: Final = 80
"""Characters of an operation's name that are shown."""
_TOGETHER_S: Final = 0.2
"""Seconds that requests wait for others, to be published in one event."""
_MOST_TOGETHER: Final = 50
"""Records in one event at most; others are in the file alone, and counted."""


_NOTHING: Final = Masked(None)
_name = lru_cache(1024)(mask_text)  # they are the same again and again


class AuditTrail:
    """Notes requests to one agent. May be used from any thread.

    Args:
        agent: the agent.
        path: the file; None where there is none.
        publishes: whether there is a feed.
    """

    def __init__(self, agent: Any, path: Path | None, *, publishes: bool) -> None:
        self.path = path
        self._agent = agent
        self._writer = AuditWriter(RotatingFile(path), agent.instance_id, agent.log) if path else None
        self._publishes = publishes
        self._peers = Peers(agent.call, agent.reactor)
        self._together: list[AuditRecord] = []
        self._left_out = 0
        self._due: Any = None
        self._started: dict[str, tuple[AuditRecord, Caller]] = {}

    def note(
        self,
        action: str,
        subject: Any,
        caller: Caller,
        masked: Masked,
        code: int,
        message: str,
        session_id: int | None = None,
        level: int | None = None,
    ) -> None:
        """Note a request and what became of it.

        Args:
            action: what was asked for.
            subject: of which operation, or grant.
            caller: who asked.
            masked: with which parameters.
            code: 0 where it was done as asked.
            message: the answer.
            session_id: the operation's session.
            level: the credential level that the request had; None: the caller's.
        """
        if self._writer is None and not self._publishes:
            return
        op = _name(subject[:_NAME]) if isinstance(subject, str) else f"a {type(subject).__name__}"
        level = caller.level if level is None else level
        record = AuditRecord(
            time.time(),
            self._agent.instance_id,
            action,
            op,
            self._who(caller, level),
            caller.name,
            caller.role,
            level,
            caller.session,
            BRIDGE if caller.bridged else self._peers.known(caller.session),
            masked.params,
            int(code),
            masked.clean(message, op) if op == subject else mask_text(message),
            session_id,
        )
        if action == "start" and code == OK and session_id is not None:
            self._started[subject] = (record, caller)
        if record.peer is not None or caller.session is None:
            self._take(record)
        else:
            self._agent.call_in_reactor(
                self._peers.find,
                caller.session,
                lambda peer: self._take(record._replace(peer=peer) if peer else record),
            )

    def ended(self, session: OpSession) -> None:
        """Note that an operation has ended; as asked by whoever had it started."""
        start, caller = self._started.pop(session.op_name, (None, ITSELF))
        if start is not None and start.session_id == session.session_id:
            code, message = (OK, "SUCCEEDED") if session.success else (ERROR, "FAILED")
            self.note("end", session.op_name, caller, _NOTHING, code, message, session.session_id, start.level)

    def _who(self, caller: Caller, level: int | None) -> str:
        if caller.itself:
            return "agent itself"
        if caller.name is not None:
            return caller.name
        return f"level {level}" if level is not None and self._agent.access.is_in_force else "anonymous"

    def _take(self, record: AuditRecord) -> None:
        if self._writer is not None:
            self._writer.put(record)
        if self._publishes:
            self._agent.call_in_reactor(self._gather, record)

    # The feed, in the reactor's thread

    def _gather(self, record: AuditRecord) -> None:
        if len(self._together) < _MOST_TOGETHER:
            self._together.append(record)
        else:
            self._left_out += 1
        if self._due is None:
            self._due = self._agent.reactor.callLater(_TOGETHER_S, self._publish)

    def _publish(self) -> None:
        self._due = None
        records, self._together = self._together, []
        missing, self._left_out = self._left_out, 0
        if records:
            told = [record.encoded() for record in records]
            self._agent.publish_to_feed(FEED, {"records": told, LEFT_OUT: missing})

    # The end

    def flush(self) -> None:
        """Publish what waits for others."""
        self._peers.give_up()
        if self._due is not None:
            self._due.cancel()
            self._publish()

    def finish(self) -> "Deferred[Any]":
        """Write what is waiting; nothing is noted any more.

        Returns:
            A Deferred that fires when that is done.
        """
        if self._writer is None or not self._writer.has_begun:
            return succeed(None)
        reactor = self._agent.reactor
        return deferToThreadPool(reactor, reactor.getThreadPool(), self._writer.stop)


class Auditing:
    """The part of an agent that notes what is asked of it."""

    _trail: AuditTrail

    def audit(
        self,
        action: str,
        subject: str,
        caller: Caller,
        params: Any = None,
        code: int = OK,
        message: str = "",
    ) -> None:
        """Note something that was asked of the agent, beside what is noted anyway: its operations' starts and ends.

        May be called from any thread. Secrets in the parameters are left out, and in the message where it quotes them.

        Args:
            action: what was asked for: a word.
            subject: of what.
            caller: who asked; `ocs.core.callers.caller_of` tells from the details of a call.
            params: with which parameters.
            code: 0 where it was done as asked, -1 where it was refused.
            message: the answer, a sentence.
        """
        self._trail.note(action, subject, caller, mask(params), code, message)


def trail_of(agent: Any, realm: Any) -> AuditTrail:
    """Return what notes the requests to an agent; a feed is registered where it is wanted.

    An open site's agents have no such feed: what they publish and tell of themselves is as it always was.

    Args:
        agent: the agent; of its ``site_args`` count ``log_dir``, ``state_dir``, ``working_dir`` and ``site_keys``, if
            they are texts.
        realm: the WAMP realm.
    """
    publishes = agent.access.is_in_force or _has_keys(agent.site_args)
    if publishes:
        agent.register_feed(FEED)
    return AuditTrail(agent, audit_path(agent.site_args, realm, agent.agent_address), publishes=publishes)


def _has_keys(site_args: Any, environ: Callable[[str], str | None] = os.environ.get) -> bool:
    keys = getattr(site_args, "site_keys", None)
    return (isinstance(keys, str) and bool(keys)) or bool(environ("OCS_KEYS"))


def audit_path(site_args: Any, realm: Any, address: str) -> Path | None:
    """Return where an agent's audit is written: to ``{log-dir}/{address}.audit.jsonl``.

    Where there is no log-dir it is ``{state-dir}/{realm}/{address}.audit.jsonl``; None where there is neither.

    Args:
        site_args: the parsed arguments; a mock's attributes, or those that an older script left out, count as absent.
        realm: the WAMP realm.
        address: the agent's address.
    """
    folder, base = getattr(site_args, "log_dir", None), getattr(site_args, "working_dir", None)
    if isinstance(folder, str) and folder:
        root = Path(base if isinstance(base, str) else ".").expanduser() / Path(folder).expanduser()
        return root / f"{address}{ENDING}"
    own = state_folder(site_args, realm, address)
    return own.with_name(f"{own.name}{ENDING}") if own else None
