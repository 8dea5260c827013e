"""Asking agents for the status of an operation, some at a time; who does not answer costs nothing."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore

__all__ = ["AT_ONCE", "DEADLINE", "MAX_WAITING", "Asker", "Question"]

AT_ONCE = 20
"""Agents that are asked at the same time."""
DEADLINE = 5.0
"""How long one may take to answer, in seconds."""
MAX_WAITING = 2000
"""Questions that wait; further ones are not put."""


class Question(NamedTuple):
    """A process whose status is to be asked for."""

    instance_id: str
    operation: str


class Asker:
    """Puts questions, in the reactor's thread.

    Args:
        agent: calls others.
        root: the first part of their addresses.
        take: called with each question and the session that answers it.
        miss: called with each question that nobody answers.
    """

    def __init__(
        self,
        agent: Any,
        root: str,
        take: Callable[[Question, Mapping[str, Any]], None],
        miss: Callable[[Question], None] = lambda _question: None,
    ) -> None:
        self.asked = self.unanswered = 0
        self._agent = agent
        self._root = root
        self._take = take
        self._miss = miss
        self._turns = DeferredSemaphore(AT_ONCE)
        self._waiting: set[Question] = set()

    @property
    def is_busy(self) -> bool:
        """Whether there are questions without an answer."""
        return bool(self._waiting)

    def ask_all(self, questions: list[Question]) -> "Deferred[Any]":
        """Put several questions; fires when all are answered, or given up."""
        return DeferredList([self.ask(question) for question in questions])

    def ask(self, question: Question) -> "Deferred[Any]":
        """Put a question, unless it waits already, or too many do; fires when that is over, never with a failure."""
        done: Deferred[Any] = Deferred()
        if question in self._waiting or len(self._waiting) >= MAX_WAITING:
            done.callback(None)
            return done
        self._waiting.add(question)
        self._turns.run(self._put, question).addErrback(self._unanswered, question).addBoth(self._over, question, done)
        return done

    def _put(self, question: Question) -> "Deferred[Any]":
        self.asked += 1
        address = f"{self._root}.{question.instance_id}"
        call = self._agent.call_op(address, question.operation, "status")
        call.addTimeout(DEADLINE, self._agent.reactor)
        return call.addCallback(self._answered, question)  # type: ignore[no-any-return]

    def _answered(self, reply: Any, question: Question) -> None:
        if isinstance(reply, list | tuple) and len(reply) == 3 and isinstance(reply[2], Mapping):  # noqa: PLR2004 - code, message, session
            self._take(question, reply[2])

    def _unanswered(self, failure: Any, question: Question) -> None:
        """Count it: that an agent does not answer is what other rules are about."""
        self.unanswered += 1
        self._miss(question)
        self._agent.log.debug("no status: {why}", why=failure.getErrorMessage())

    def _over(self, _result: Any, question: Question, done: "Deferred[Any]") -> None:
        self._waiting.discard(question)
        done.callback(None)
