"""HTTP requests to a closed router: no stranger can make it keep what they send, nobody more than one call's worth."""

from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

from twisted.web.server import Request

from ocs.errors import KeysError
from ocs.keys.table import Identity
from ocs.router.config import MAX_POST_BYTES

__all__ = ["CallRequest", "RefusedError", "bearer_token", "request_factory"]

MAX_DROPPED_BYTES: Final = 8 * MAX_POST_BYTES
"""How much of a refused body is read and dropped before the connection is cut, in bytes. A client that sends all of its
body before it listens gets its answer up to here."""


class RefusedError(Exception):
    """Why a request is not answered as asked.

    Args:
        status: HTTP's status code.
        error: the error's name.
        reason: one line for whoever sent it.
    """

    def __init__(self, status: int, error: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.error = error
        self.reason = reason


def bearer_token(request: Request) -> str:
    """Return the token that a request carries.

    Raises:
        KeysError: it carries none.
    """
    fields = request.requestHeaders.getRawHeaders(b"authorization") or []
    kind, _, token = (fields[0] if len(fields) == 1 else b"").strip().partition(b" ")
    if kind.lower() != b"bearer" or not token.isascii():
        raise KeysError(
            "this site is closed: a call needs `Authorization: Bearer TOKEN`, TOKEN being what `ocs keys token` prints"
        )
    return token.strip().decode("ascii")


class CallRequest(Request):
    """A request whose body is only kept if somebody known sends it, and it is no longer than a call may be."""

    identify: Callable[[str], Identity]
    """Tells who made a token; raises `KeysError`."""

    refusal: RefusedError | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._body = BytesIO()  # Twisted's own would put long ones on the disk
        self._received = 0

    def gotLength(self, length: int | None) -> None:  # noqa: N802 - Twisted's name
        """Decide, before the body comes, whether it is kept."""
        self.content = self._body
        if length != 0:
            self.refusal = self._why_not(length)

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Keep a part of the body, or drop it."""
        self._received += len(data)
        if self.refusal is None and self._received > MAX_POST_BYTES:
            self.refusal = _too_long()
            self._body.truncate(0)
        if self.refusal is None:
            self._body.write(data)
        elif self._received > MAX_DROPPED_BYTES:
            self.channel.forceAbortClient()

    def _why_not(self, length: int | None) -> RefusedError | None:
        try:
            self.identify(bearer_token(self))
        except KeysError as error:
            return RefusedError(401, "wamp.error.not_authorized", str(error))
        return _too_long() if (length or 0) > MAX_POST_BYTES else None


def _too_long() -> RefusedError:
    return RefusedError(413, "wamp.error.payload_size_exceeded", f"a call has {MAX_POST_BYTES >> 20} MiB at most")


def request_factory(identify: Callable[[str], Identity]) -> Callable[..., CallRequest]:
    """Return what makes a site's requests.

    Args:
        identify: tells who made a token; raises `KeysError`.
    """

    def make(*args: Any, **kwargs: Any) -> CallRequest:
        request = CallRequest(*args, **kwargs)
        request.identify = identify
        return request

    return make
