"""The HTTP bridge of a closed router: the calls of those who show by a token who they are, with their own rights."""

import base64
import json
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import CallResult
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from ocs.errors import KeysError
from ocs.keys.signing import verify_token
from ocs.keys.table import Identity, SiteTable
from ocs.router.bridge_request import RefusedError, bearer_token
from ocs.router.bridge_sessions import CallerSessions, TooManyError

__all__ = ["Bridge", "Tokens"]

MAX_TOKENS: Final = 1000
"""How many tokens are remembered as good."""

_RESERVED: Final = frozenset({"self", "procedure", "options"})
"""Keyword arguments that a call by autobahn cannot carry."""

_REFUSED: Final = "wamp.error.not_authorized"
_INVALID: Final = "wamp.error.invalid_argument"
_FAILED: Final = "wamp.error.runtime_error"
_log = Logger()


class Tokens:
    """Tells who made a token, and remembers it: a script sends the same one with each of its calls.

    Args:
        table: gives who may connect now; another object after each change.
        realm: whom tokens have to be for.
        clock: unix s.
    """

    def __init__(self, table: Callable[[], SiteTable], realm: str, clock: Callable[[], float]) -> None:
        self._table = table
        self._realm = realm
        self._clock = clock
        self._known_from: SiteTable | None = None
        self._known: OrderedDict[str, tuple[Identity, float]] = OrderedDict()

    def identify(self, token: str) -> Identity:
        """Return who made a token.

        Raises:
            KeysError: it does not hold.
        """
        table, now = self._table(), self._clock()
        if table is not self._known_from:
            self._known.clear()
            self._known_from = table
        identity, checked = self._known.get(token, (None, 0.0))
        # For a second: a token and a key may end in the meantime, and that is as exact as a change of the table.
        if identity is None or not 0 <= now - checked < 1:
            identity = verify_token(token, table, self._realm, now)
            self._remember(token, identity, now)
        return identity

    def _remember(self, token: str, identity: Identity, now: float) -> None:
        self._known[token] = identity, now
        self._known.move_to_end(token)
        if len(self._known) > MAX_TOKENS:
            self._known.popitem(last=False)


class Bridge(Resource):
    """Takes ``POST {"procedure", "args", "kwargs"}`` and answers as the bridge of an open router does.

    The result is ``{"args": [...]}``, an error ``{"error", "args", "kwargs"}``: with status 200 where the agent or the
    router's rules gave it, and with HTTP's own where the request is not one.

    Args:
        identify: tells who made a token; raises `KeysError`.
        sessions: where calls are made.
    """

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, identify: Callable[[str], Identity], sessions: CallerSessions) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._identify = identify
        self._sessions = sessions

    def render(self, request: Request) -> bytes | int:
        """Answer one request."""
        request.setHeader(b"content-type", b"application/json; charset=UTF-8")
        request.setHeader(b"cache-control", b"no-store")
        # For pages of other origins: these need the token as everybody does, so that nothing is lent to them.
        request.setHeader(b"access-control-allow-origin", b"*")
        if request.method == b"OPTIONS":
            return _allow(request)
        try:
            answer = self._call(request)
        except RefusedError as refusal:
            return _refuse(request, refusal)
        _answer_later(request, answer)
        return NOT_DONE_YET

    def _call(self, request: Request) -> "Deferred[Any]":
        if request.method not in (b"POST", b"PUT"):
            raise RefusedError(405, _INVALID, 'a call is a POST of {"procedure": ..., "args": [...], "kwargs": {...}}')
        refusal: RefusedError | None = getattr(request, "refusal", None)
        if refusal is not None:
            raise refusal
        try:
            identity = self._identify(bearer_token(request))
        except KeysError as error:
            raise RefusedError(401, _REFUSED, str(error)) from None
        try:
            return self._sessions.call(identity, *_parsed(request.content.read() if request.content else b""))
        except TooManyError as error:
            raise RefusedError(503, _FAILED, str(error)) from None


def _allow(request: Request) -> bytes:
    request.setHeader(b"allow", b"POST,PUT,OPTIONS")
    request.setHeader(b"access-control-allow-methods", b"POST,PUT,OPTIONS")
    request.setHeader(b"access-control-allow-headers", b"authorization,content-type")
    return b""


def _refuse(request: Request, refusal: RefusedError) -> bytes:
    request.setResponseCode(refusal.status)
    if refusal.status == 401:  # noqa: PLR2004 - HTTP's Unauthorized
        request.setHeader(b"www-authenticate", b"Bearer")
    if refusal.status == 405:  # noqa: PLR2004 - HTTP's Method Not Allowed
        request.setHeader(b"allow", b"POST,PUT,OPTIONS")
    if request.method == b"HEAD":
        return b""
    return _json({"error": refusal.error, "args": [refusal.reason], "kwargs": {}})


def _parsed(body: bytes) -> tuple[str, list[Any], dict[str, Any]]:
    """Return procedure, arguments and keyword arguments."""
    try:
        call = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(400, _INVALID, "the body is no JSON") from None
    if not isinstance(call, dict) or not isinstance(call.get("procedure"), str):
        raise RefusedError(400, _INVALID, 'the body is no object with the text "procedure"')
    args, kwargs = call.get("args") or [], call.get("kwargs") or {}
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise RefusedError(400, _INVALID, '"args" is no list, or "kwargs" no object')
    if reserved := _RESERVED & kwargs.keys():
        raise RefusedError(400, _INVALID, f"no procedure takes a keyword argument {min(reserved)!r}")
    return call["procedure"], args, kwargs


def _answer_later(request: Request, answer: "Deferred[Any]") -> None:
    gone: list[object] = []

    def left(reason: object) -> None:
        gone.append(reason)
        answer.cancel()

    def send(body: bytes) -> None:
        if not gone:
            request.setHeader(b"content-length", b"%d" % len(body))
            request.write(body)
            request.finish()

    request.notifyFinish().addErrback(left)
    answer.addCallback(_result)
    answer.addErrback(_error, request)
    answer.addCallback(send)
    answer.addErrback(lambda failure: _log.failure("the answer to a call by HTTP could not be sent", failure))


def _result(value: Any) -> bytes:
    if not isinstance(value, CallResult):
        return _json({"args": [value]})
    parts = {"args": value.results, "kwargs": value.kwresults}
    return _json({name: part for name, part in parts.items() if part})


def _error(failure: Failure, request: Request) -> bytes:
    error = failure.value
    if isinstance(error, ApplicationError):
        return _json({"error": error.error, "args": list(error.args), "kwargs": dict(error.kwargs or {})})
    if not isinstance(error, CancelledError):
        _log.error("a call by HTTP failed: {kind}: {error}", kind=type(error).__name__, error=str(error)[:200])
        request.setResponseCode(500)
    return _json({"error": _FAILED, "args": ["the router could not make this call; its log says why"], "kwargs": {}})


def _json(value: object) -> bytes:
    # As ASCII: half a surrogate pair, which an agent's message may hold, has no form in UTF-8.
    return json.dumps(value, separators=(",", ":"), default=_plain).encode("ascii")


def _plain(value: object) -> object:
    """Give what JSON has no form for; bytes as WAMP writes them in JSON."""
    return "\0" + base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
