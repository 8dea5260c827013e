"""Where exclusive access is asked for: each request is checked, judged, decided on and noted."""

from collections.abc import Callable, Generator
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks

from ocs.access.director import DistributedAccessGrant, director_get_access_rules
from ocs.access.grants import Change, GrantRequest, check_password, decide, read_request
from ocs.access.rules import AccessRule
from ocs.access.slow_hashes import SLOW_HASHES
from ocs.access.throttle import Guesses, Who
from ocs.agents.access_director.book import Book
from ocs.errors import AccessError

__all__ = ["Counter"]

MOST_AT_A_TIME = 64
"""Requests that may be under way; who comes beyond is told to come again."""

Answer = dict[str, Any]


class Counter:
    """Answers requests for exclusive access.

    Args:
        book: the grants.
        salt: what passwords of grants are hashed with.
        in_thread: runs a function that takes its time; returns a Deferred of what it returns.
        clock: gives unix seconds.
        steady: gives seconds of a clock that nobody sets.
        settle: carries out a change; returns a Deferred that fires when agents have been told and the disk knows.
    """

    def __init__(
        self,
        book: Book,
        salt: bytes,
        *,
        in_thread: Callable[..., "Deferred[Any]"],
        clock: Callable[[], float],
        steady: Callable[[], float],
        settle: Callable[[GrantRequest, Change], "Deferred[None]"],
    ) -> None:
        self.guesses = Guesses()
        self._book, self._salt = book, salt
        self._in_thread, self._settle = in_thread, settle
        self._clock, self._steady = clock, steady
        self._under_way = 0

    @inlineCallbacks
    def ask(self, who: Who, *arguments: Any) -> Generator["Deferred[Any]", Any, Answer]:
        """Answer a request.

        Args:
            who: the caller.
            arguments: those of `read_request`.

        Returns:
            A Deferred of the answer.

        Raises:
            AccessError: it is refused; why.
        """
        request = read_request(*arguments)
        if self._under_way >= MOST_AT_A_TIME:
            raise AccessError(f"{MOST_AT_A_TIME} requests are under way already; ask again in a second")
        self._under_way += 1
        try:
            answer: Answer = yield self._answer(request, who._replace(about=request.grant_name))
        finally:
            self._under_way -= 1
        return answer

    @inlineCallbacks
    def _answer(self, request: GrantRequest, who: Who) -> Generator["Deferred[Any]", Any, Answer]:
        block = self._block(request.grant_name)
        yield self._judge(block, request.password, who)
        change = self._decide(request, who)
        if request.action == "acquire":
            fresh = yield self._fresh_rules(block, _owner(request, who))
            if self._block(request.grant_name) is not block:
                raise AccessError(f"grant {block.name!r} was configured anew just now; ask again")
            change = self._decide(request, who, fresh)
        self._book.put(request.grant_name, change.grant, new_rules=change.new_rules)
        answer = {**change.answer, "step": self._book.step}
        yield self._settle(request, change)
        return answer

    def _block(self, name: str) -> DistributedAccessGrant:
        config = self._book.config
        if config is None:
            raise AccessError(
                "the access director has not read its configuration yet, or it has a mistake: see its log"
            )
        if name not in config.blocks:
            raise AccessError(f"there is no grant {name!r:.80}; see exclusive_access_blocks of the configuration")
        return config.blocks[name]

    @inlineCallbacks
    def _judge(self, block: DistributedAccessGrant, password: str, who: Who) -> Generator["Deferred[Any]", Any, None]:
        stored = block.stored_password()
        if stored.free:
            return
        pause = self.guesses.may_try(who, password, self._steady())
        if pause:
            raise AccessError(f"too many wrong passwords for grant {block.name!r}; ask again in {pause:.0f} s")
        slow = stored.is_slow(password)
        fits = (yield self._in_thread(check_password, block, password)) if slow else check_password(block, password)
        if fits:
            self.guesses.right(who, password, self._steady())
            return
        pause = self.guesses.wrong(who, password, self._steady())
        wait = f"; the next one is looked at in {pause:.0f} s" if pause else ""
        raise AccessError(f"wrong password for grant {block.name!r}{wait}")

    @inlineCallbacks
    def _fresh_rules(
        self, block: DistributedAccessGrant, owner: str | None
    ) -> Generator["Deferred[Any]", Any, tuple[str, list[AccessRule]]]:
        if block.hash not in SLOW_HASHES:
            return director_get_access_rules(block, owner)
        made: tuple[str, list[AccessRule]] = yield self._in_thread(
            director_get_access_rules, block, owner, salt=self._salt
        )
        return made

    def _decide(self, request: GrantRequest, who: Who, fresh: tuple[str, list[AccessRule]] | None = None) -> Change:
        config = self._book.config
        return decide(
            request,
            self._book.held.get(request.grant_name),
            holder=who.name,
            now=self._clock(),
            longest=config.longest_grant if config else 0.0,
            rules=fresh,
        )


def _owner(request: GrantRequest, who: Who) -> str | None:
    """Return whom others are told of: who he says he is, and who he is if the router vouches for that."""
    if who.name is None or request.grantee in (None, who.name):
        return request.grantee or who.name
    return f"{request.grantee} ({who.name})"
