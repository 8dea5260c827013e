"""Reading files in a thread, for as long as a request can wait for it."""

from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.threads import deferToThreadPool

from ocs.errors import SpawnError

__all__ = ["READ_WITHIN", "in_thread"]

P = ParamSpec("P")
T = TypeVar("T")

READ_WITHIN: Final = 3.0
"""How long files may take to be read, in seconds."""


async def in_thread(reactor: Any, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what a function that reads files returns.

    Args:
        reactor: lends the thread and keeps the time.
        function: called in the thread; if it takes too long, what it does at last is not waited for.
        args: its arguments.
        kwargs: more of them.

    Raises:
        SpawnError: it takes longer than 3 s.
    """
    reading: Deferred[T] = deferToThreadPool(reactor, reactor.getThreadPool(), function, *args, **kwargs)
    try:
        return await reading.addTimeout(READ_WITHIN, reactor)
    except DeferredTimeout:
        why = "a disk or a network folder of this machine may hang"
        raise SpawnError(f"files have not been read within {READ_WITHIN:g} s: {why}") from None
