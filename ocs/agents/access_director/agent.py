"""The access director: tells agents who may do what, and gives exclusive access for a time."""

import argparse
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.threads import deferToThread

from ocs import ocs_agent, site_config
from ocs.access.advice import OLD_PEERS
from ocs.access.grants import ACTIONS, Change, Grant, GrantRequest
from ocs.access.passwords import new_salt
from ocs.access.slow_hashes import SLOW_HASHES
from ocs.access.throttle import Who
from ocs.agents.access_director.book import Book
from ocs.agents.access_director.config_file import Config, may_be_read_by_others, read_config
from ocs.agents.access_director.counter import Counter
from ocs.agents.access_director.grants_file import GrantsFile, grants_text, read_grants
from ocs.agents.access_director.herald import Herald
from ocs.base import ERROR, OK
from ocs.core.callers import ITSELF, Caller, caller_of
from ocs.core.keeping import state_folder
from ocs.errors import AccessError
from ocs.wamp.link import within

__all__ = ["AccessDirector", "main", "make_parser"]

RESET_EVERY = 50.0
"""Seconds between two messages to all: the protocol promises one a minute."""
TICK = 1.0
DISK_PATIENCE = 2.0
"""How long an answer waits for the disk, in seconds."""
SAVE_AGAIN_EVERY = 2.0
MAX_ID = 255

Params = dict[str, Any] | None
Result = tuple[bool, str]
Session = ocs_agent.OpSession
Steps = Generator[Deferred[Any], Any, Result]


class AccessDirector:
    """The operations and procedures of the access director.

    Args:
        agent: the OCSAgent that this is the work of.
        config_file: the configuration.
        grants_file: keeps grants over a restart; None: they end with the agent.
        clock: gives unix seconds.
        in_thread: runs a function that takes its time; returns a Deferred of what it returns.
    """

    def __init__(
        self,
        agent: Any,
        config_file: str | Path,
        grants_file: Path | None = None,
        *,
        clock: Callable[[], float] = time.time,
        in_thread: Callable[..., "Deferred[Any]"] = deferToThread,
    ) -> None:
        self.agent, self.log = agent, agent.log
        self.config_file = Path(config_file)
        self.book = Book()
        self._clock, self._steady, self._in_thread = clock, agent.reactor.seconds, in_thread
        self._salt = new_salt()
        self._grants_file = GrantsFile(grants_file, in_thread)
        self._herald = Herald(agent)
        self._counter = Counter(
            self.book, self._salt, in_thread=in_thread, clock=clock, steady=self._steady, settle=self._settle
        )
        self._left: list[Grant] = []
        self._session: Session | None = None
        self._ended: Deferred[Result] | None = None
        self._timer: Any = None
        self._told: Any = None
        self._told_at = self._saved_at = self._refused_at = float("-inf")
        self._refused = 0
        self._trouble: str | None = None
        self._mistake: str | None = None
        agent.procedures["agent_poll"] = self.agent_poll
        agent.procedures["request_exclusive"] = self.request_exclusive
        agent.register_process(
            "manager", self.manager, self._stop_manager, blocking=False, startup=True, min_privs=3, restart="on-failure"
        )
        agent.register_task("reload_config", self.reload_config, blocking=False)

    # Operations

    @ocs_agent.param("_")
    @inlineCallbacks
    def manager(self, session: Session, params: Params) -> Steps:
        """manager()

        **Process** - Tell agents the rules: all of them when something changes and every 50 s, and end the grants whose
        time is over.

        Notes:
            It is degraded while the configuration has a mistake in it (the rules of its last good reading stay in
            force), and while grants cannot be kept for a restart. ``session.data`` has the grants that are held; what
            a rule's password is, is not shown::

                >>> response.session["data"]
                {"grants": [{"name": "telescope", "grantee": "nina", "expire_at": 1790000300.0,
                             "rules": [{"cred_level": 3, "scope_spec": {"default": false, "agent_class": null,
                                        "instance_id": "acu*"}, "lockout_id": "telescope", "lockout_owner": "nina",
                                        "lockout_levels": [1, 2, 3]}]}]}
        """
        self._session, self._ended = session, Deferred()
        session.data = {"grants": []}
        if self.book.config is None:
            self._left, trouble = yield self._in_thread(read_grants, self._grants_file.path)
            if trouble:
                self.log.error("{trouble}", trouble=trouble)
            yield self._load()
        self._told = None
        self._tick()
        result: Result = yield self._ended
        return result

    def _stop_manager(self, session: Session, params: Params) -> Result:
        """End the process; grants stay as they are until it runs again."""
        session.set_status("stopping")
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self._session = None
        if self._ended is not None and not self._ended.called:
            self._ended.callback((True, "The rules are told no more."))
        return True, "Ending."

    @ocs_agent.param("_")
    @inlineCallbacks
    def reload_config(self, session: Session, params: Params) -> Steps:
        """reload_config()

        **Task** - Read the configuration file anew. If there is a mistake in it, the rules in force stay as they are.
        Grants that are held stay too, but for those whose block is gone.
        """
        good = yield self._load()
        if not good:
            return False, f"The rules in force stay as they are: {self._mistake}"
        self._tell_all()
        self._save()
        config = self.book.config
        return True, f"{len(config.rules)} rules, {len(config.blocks)} grants." if config else "Nothing read."

    @inlineCallbacks
    def _load(self) -> Generator["Deferred[Any]", Any, bool]:
        """Read the configuration; return whether it is good."""
        try:
            config: Config = yield self._in_thread(read_config, self.config_file, self._salt)
        except AccessError as error:
            self._mistake = str(error)
            self.log.error("{mistake}", mistake=self._mistake)
            self._show()
            return False
        self._mistake = None
        for grant in self.book.configure(config):
            self.log.warn("grant {name} ends: the configuration knows it no more", name=grant.name)
        self._take_up(config)
        self._warn_of(config)
        self._show()
        return True

    def _warn_of(self, config: Config) -> None:
        for oddity in config.oddities:
            self.log.warn("{oddity}", oddity=oddity)
        if config.hash_name not in SLOW_HASHES:
            self.log.warn("{line}", line=OLD_PEERS.format(name=config.hash_name))
        if may_be_read_by_others(self.config_file):
            self.log.warn("{file} can be read by everybody on this host; chmod 600 it", file=self.config_file)

    def _take_up(self, config: Config) -> None:
        """Go on with the grants of an earlier run, once there is a configuration."""
        if self._left:
            self.book.restore([grant for grant in self._left if grant.name in config.blocks], self._clock())
            self._left = []
            for grant in self.book.held.values():
                self.log.info("grant {name} goes on, held by {by}", name=grant.name, by=grant.grantee)

    # Procedures

    def agent_poll(self, instance_id: Any = None, agent_class: Any = None, call_details: Any = None) -> bool:
        """Publish an agent's rules to it.

        Args:
            instance_id: the agent's.
            agent_class: the agent's; None counts as empty.
            call_details: the call, as the router describes it.

        Returns:
            Whether there are rules.
        """
        if not _is_id(instance_id) or not _is_id(agent_class or "") or self.book.config is None:
            return False
        self._expire()
        asker = caller_of(call_details).session
        if asker is None:  # the router does not say who asks: then all are told all, and nobody rules of another's
            return self._herald.say(self.book.to_all())
        return self._herald.say(self.book.to_one(instance_id, agent_class or ""), asker)

    @inlineCallbacks
    def request_exclusive(
        self,
        grant_name: Any = None,
        password: Any = None,
        action: Any = None,
        expire_at: Any = None,
        grantee: Any = None,
        strict: Any = True,
        call_details: Any = None,
        **others: Any,
    ) -> Generator["Deferred[Any]", Any, dict[str, Any]]:
        """Acquire, renew or release an exclusive grant.

        Args:
            grant_name: name of one of the configuration's ``exclusive_access_blocks``.
            password: what that asks for.
            action: ``acquire``, ``renew`` or ``release``.
            expire_at: when the grant is to end, unix seconds; in 60 s unless given.
            grantee: who asks; those who are locked out are told.
            strict: with False, the holder may acquire his own grant anew, with a new password.
            call_details: the call, as the router describes it.
            others: not known.

        Returns:
            ``{"error": text}``, or ``{"message", "grant_name", "step"}`` with ``expire_at`` (acquire, renew) and
            ``password`` (acquire).
        """
        self._expire()
        caller = caller_of(call_details)
        asked = {"expire_at": expire_at, "grantee": grantee, "strict": strict}
        try:
            _refuse_unknown(others)
            answer: dict[str, Any] = yield self._counter.ask(
                Who(caller.name, caller.session), grant_name, password, action, expire_at, grantee, strict
            )
        except AccessError as error:
            answer = {"error": str(error)}
        known = action if isinstance(action, str) and action in ACTIONS else "request"
        self._note(known, _word(grant_name), caller, asked, answer)
        return answer

    def _note(self, action: str, name: str, caller: Caller, asked: dict[str, Any], answer: dict[str, Any]) -> None:
        """Note a request for those who look into it later; what is refused also in the log."""
        refusal = answer.get("error")
        if refusal is None:
            self.agent.audit(action, name, caller, asked, OK, answer["message"])
        else:
            self.agent.audit(action, name, caller, asked, ERROR, refusal)
            self._log_refusal(f"{_told(caller)}: {action} refused: {refusal}")

    def _log_refusal(self, line: str) -> None:
        """Log it, one a second: a flood of requests shall not fill the disk."""
        self._refused += 1
        if self._steady() - self._refused_at >= 1.0:
            more = f" (and {self._refused - 1} more)" if self._refused > 1 else ""
            self.log.warn("{line}{more}", line=line, more=more)
            self._refused, self._refused_at = 0, self._steady()

    @inlineCallbacks
    def _settle(self, request: GrantRequest, change: Change) -> Generator["Deferred[Any]", Any, None]:
        """Carry out what has been decided: agents know before the holder does, and the disk too."""
        self.log.info(
            "{what}: {name}, {by}", what=change.answer["message"], name=request.grant_name, by=request.grantee
        )
        if change.new_rules:
            self._tell_all()
        self._show()
        saved = self._save()
        self._set_timer()
        yield within(self.agent.reactor, saved, DISK_PATIENCE)

    # Telling

    def _tick(self) -> None:
        if self._session is None:
            return
        self._expire()
        connection = self._connection()
        if connection is not None and (connection != self._told or self._steady() - self._told_at >= RESET_EVERY):
            self._tell_all()
        if self._grants_file.trouble and self._steady() - self._saved_at >= SAVE_AGAIN_EVERY:
            self._save()
        self._show()
        self._set_timer()

    def _set_timer(self) -> None:
        """Look again in a second, or when the next grant expires."""
        if self._session is None:
            return
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        delay = min(TICK, max(0.0, self.book.next_end - self._clock()))
        self._timer = self.agent.reactor.callLater(delay, self._tick)

    def _connection(self) -> Any:
        """Return the WAMP session by which the agent is at work; None while it has none."""
        return self._herald.connection if self.agent.is_at_work else None

    def _tell_all(self) -> None:
        if self.book.config is None:
            return  # agents keep what they have
        message = self.book.to_all()
        # Nobody is locked out here: who lends by mistake has to be able to correct the file.
        own = {**message, "rules": [{**rule, "lockout_levels": []} for rule in message["rules"]]}
        self.agent.access.adopt(own, self.agent.feeds["controls"].encoded())
        if self._herald.say(message):
            self._told, self._told_at = self._connection(), self._steady()

    def _expire(self) -> None:
        gone = self.book.expire(self._clock())
        for grant in gone:
            self.log.info("grant {name} of {by} has expired", name=grant.name, by=grant.grantee)
            self.agent.audit("expire", grant.name, ITSELF, {"grantee": grant.grantee}, OK, "Its time was over.")
        if gone:
            self._tell_all()
            self._show()
            self._save()

    def _save(self) -> "Deferred[None]":
        self._saved_at = self._steady()
        saved = self._grants_file.save(grants_text(self.book.held.values()))
        return saved.addCallback(lambda _: self._show())

    def _show(self) -> None:
        """Have the process tell how it is."""
        trouble = self._mistake or self._grants_file.trouble
        if trouble != self._trouble:
            self._trouble = trouble
            if trouble and trouble != self._mistake:
                self.log.error("{trouble}", trouble=trouble)
            elif not trouble:
                self.log.info("all is well again")
        if self._session is not None:
            self._session.data = {"grants": self.book.encoded()}
            self._session.degraded = trouble is not None


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_ID


def _word(value: Any) -> str:
    """Return what somebody has sent as a short text for the audit."""
    return value[:MAX_ID] if isinstance(value, str) and value.isprintable() else f"{value!r:.40}"


def _refuse_unknown(arguments: Iterable[str]) -> None:
    if unknown := sorted(arguments):
        raise AccessError(f"unknown arguments: {unknown!r:.200}")


def _told(caller: Caller) -> str:
    return caller.name or (f"WAMP session {caller.session}" if caller.session else "somebody")


def make_parser(parser: argparse.ArgumentParser | None = None) -> argparse.ArgumentParser:
    """Add the agent's own arguments to a parser, or to a new one."""
    parser = parser or argparse.ArgumentParser(description="Tells agents who may do what, and gives exclusive access.")
    group = parser.add_argument_group("Agent Options")
    group.add_argument(
        "--config-file",
        default="access-director.yaml",
        metavar="FILE",
        help="passwords and grants; relative to the folder of the site config file (default: access-director.yaml)",
    )
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Run the agent.

    Args:
        args: the command line; that of the program unless given.
    """
    parsed = site_config.parse_args(agent_class="AccessDirector", parser=make_parser(), args=args)
    agent, runner = ocs_agent.init_site_agent(parsed)
    folder = Path(parsed.site_file).resolve().parent if parsed.site_file else Path.cwd()
    kept = state_folder(parsed, parsed.site_realm, agent.agent_address)
    AccessDirector(agent, folder / parsed.config_file, kept / "grants.json" if kept else None)
    runner.run(agent, auto_reconnect=True)


if __name__ == "__main__":
    main()
