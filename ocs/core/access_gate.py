"""The agent's side of access control: who may do what, and taking rules from the Access Director."""

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks, succeed

from ocs.access import (
    ActionContext,
    AgentSpec,
    ControlsVerdict,
    CredLevel,
    agent_apply_controls,
    agent_authorize,
    agent_start_access,
)
from ocs.access.passwords import is_password
from ocs.access.throttle import Guesses, Who
from ocs.core.callers import Caller
from ocs.core.membership import Subscription, callees
from ocs.keys.permissions import ROLES
from ocs.wamp.lean_autobahn import ApplicationError, TransportLost

__all__ = ["AccessGate"]


_NO_DIRECTORS = frozenset(ROLES) - {"director"}
"""What a closed site's router calls those who hand out no rules."""


class AccessGate:
    """Judges the passwords that come with requests to one agent.

    Args:
        policy: the site's access policy; None or empty for no enforcement.
        instance_id: the agent's.
        class_name: the agent's class.
        log: the agent's logger.
        clock: gives unix seconds.
        steady: gives seconds of a clock that nobody sets.

    Raises:
        AccessError: if the policy has a mistake in it.
    """

    def __init__(
        self,
        policy: str | None,
        instance_id: str,
        class_name: str | None,
        *,
        log: Any,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._guesses = Guesses()
        self._steady = steady
        self._spec = AgentSpec(instance_id, class_name or "")
        self._state = agent_start_access(policy, self._spec, clock())
        self._warned = False
        self._director: int | None = None
        self._log = log
        self._clock = clock

    def encoded(self) -> dict[str, Any]:
        """Return what `get_api` tells of access control."""
        return self._state.encoded()

    @property
    def own_level(self) -> int:
        """The level of what the agent starts by itself: 4; or 1, as everybody's, where no policy is in force."""
        return int(CredLevel.BASIC if self._state.rules.policy == "none" else CredLevel.SUPERUSER)

    @property
    def is_in_force(self) -> bool:
        """Whether there is a policy, so that levels mean something."""
        return bool(self._state.rules.policy != "none")

    def is_slow(self, password: Any) -> bool:
        """Tell whether judging this password takes so long (slow hashes, on purpose) that it belongs in a thread."""
        return self._state.rules.is_slow(password)

    def check(
        self, password: Any, min_privs: int, action: str, op_name: str, caller: Caller | None = None
    ) -> tuple[int, str]:
        """Decide on a request, in any thread. Who guesses passwords has to wait; what needs none is not refused by it.

        Args:
            password: what came with it.
            min_privs: the operation's least credential level.
            action: what is asked for.
            op_name: of which operation.
            caller: who asks; the agent itself unless given.

        Returns:
            The caller's level, and why the request is refused; empty where it is allowed.
        """
        rules, context = self._state.rules, ActionContext(op_name, action)
        who = _guesser(password, caller) if rules.enforced else None
        pause = self._guesses.may_try(who, password, self._steady()) if who else 0.0
        level, refusal = agent_authorize(None if pause else password, rules, self._spec, min_privs, context)
        if pause:
            refusal = refusal and f"too many wrong passwords; one is looked at again in {pause:.0f} s."
        elif who:
            self._note_guess(who, password, rules.knows(password))
        return int(level), f'Not allowed to {action} "{op_name}": {refusal}' if refusal else ""

    def _note_guess(self, who: Who, password: str, right: bool | None) -> None:
        if right:
            self._guesses.right(who, password, self._steady())
        elif right is not None and self._guesses.wrong(who, password, self._steady()):
            self._log.warn(
                "many wrong passwords from {who}: they have to wait", who=who.name or "callers without a name"
            )

    def subscriptions(self, agent: Any) -> list[Subscription]:
        """Return the subscriptions that keep the rules up to date, as ``(handler, topic, options)``."""
        director = self._director_address(agent.agent_address)
        if director is None:
            return []

        def heard(event: Any, details: Any = None) -> "Deferred[None]":
            publisher = getattr(details, "publisher", None)
            if getattr(details, "forward_for", None):  # an open site's router believes anybody's word for who it is
                self._log.error("access rules on the topic of {director}, but not from it: refused", director=director)
                return succeed(None)
            if getattr(details, "publisher_authrole", None) in _NO_DIRECTORS:
                self._log.error(
                    "access rules on the topic of {director} from a key that is no director's", director=director
                )
                return succeed(None)
            return self._take_controls(agent, director, event, publisher)

        return [(heard, f"{director}.feeds.controls", {"details": True})]

    def adopt(self, message: Any, envelope: dict[str, Any]) -> None:
        """Go by rules that this agent itself hands out, where it is the director that the policy names."""
        if self._state.rules.director_id == self._spec.instance_id:
            self._apply([message, envelope])

    def poll(self, agent: Any) -> "Deferred[None]":
        """Ask the director for the rules now, rather than wait for its next message to all."""
        director = self._director_address(agent.agent_address)
        if director is None:
            return succeed(None)
        asked: Deferred[None] = agent.call(f"{director}.agent_poll", agent.instance_id, agent.class_name)
        return asked.addCallbacks(lambda _answer: None, self._no_director)

    def _no_director(self, failure: Any) -> None:
        failure.trap(ApplicationError, TransportLost)
        self._log.warn(
            "no answer from access director {director}: {why}; its rules are awaited",
            director=self._state.rules.director_id,
            why=failure.getErrorMessage(),
        )

    def _director_address(self, agent_address: str) -> str | None:
        director = self._state.rules.director_id
        return f"{agent_address.rpartition('.')[0]}.{director}" if director else None

    @inlineCallbacks
    def _take_controls(self, agent: Any, director: str, event: Any, publisher: int | None) -> Any:
        """Go by the rules that the director has published, and by nobody else's on its topic."""
        if publisher is None:
            if not self._warned:
                self._warned = True
                self._log.warn(
                    "the router does not tell who publishes access rules: anybody could; let it disclose that"
                )
        elif publisher != self._director and publisher not in (yield self._directors(agent, director)):
            self._log.error(
                "access rules on the topic of {director}, but not from it (WAMP session {publisher}): refused",
                director=director,
                publisher=publisher,
            )
            return
        # The next rules of this session are in force at once, so that who is given a grant can use it.
        self._director = publisher
        self._apply(event)

    @inlineCallbacks
    def _directors(self, agent: Any, director: str) -> Any:
        """Ask the router which session is the director; none where it does not tell."""
        try:
            return (yield callees(agent, f"{director}.agent_poll"))
        except (ApplicationError, TransportLost) as error:
            self._log.error("cannot ask the router who {director} is: {why}", director=director, why=error)
            return set()

    def _apply(self, event: Any) -> None:
        message, envelope = event if isinstance(event, list) and len(event) == 2 else (event, {})  # noqa: PLR2004 - [data, feed]
        session = envelope.get("session_id") if isinstance(envelope, dict) else None
        outcome = agent_apply_controls(message, self._state, now=self._clock(), director_session=session)
        self._state = outcome.state
        if outcome.verdict is ControlsVerdict.REFUSED:
            self._log.error("{note}", note=outcome.note)
        elif outcome.verdict is ControlsVerdict.APPLIED:
            self._log.info("{note}", note=outcome.note)


def _guesser(password: Any, caller: Caller | None) -> Who | None:
    """Return whose guess a password is; None where it is none."""
    if caller is None or caller.itself or not is_password(password) or not password:
        return None
    return Who(caller.name, caller.session)
