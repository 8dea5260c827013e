"""The agent service as a web application: what comes over HTTP is bounded, and always answered as JSON."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ocs import __version__
from ocs.agent_service.metrics import CONTENT_TYPE
from ocs.agent_service.openapi import add_schemas, post_description
from ocs.agent_service.page import POLICY, page
from ocs.agent_service.service import AgentService, Caller, Reply
from ocs.agent_service.settings import is_loopback

__all__ = ["LARGEST_BODY", "Limits", "make_app"]

LARGEST_BODY: Final = 64 << 10
"""Of a request, in bytes."""

_CLOSE: Final = {"Connection": "close"}
"""Sent where not all of a request has been read."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a caller is given.

    Attributes:
        body: bytes of a request at most.
        body_within: how long it may take to send them, in seconds.
    """

    body: int = LARGEST_BODY
    body_within: float = 10.0


class _TooLongError(Exception):
    """A body is not read to its end; the status says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def make_app(service: AgentService, *, allow_origins: Sequence[str] = (), limits: Limits = Limits()) -> FastAPI:
    """Return the web application.

    Args:
        service: answers.
        allow_origins: pages of which browsers may ask, such as ``https://ops.example.org``; ``*``: all.
        limits: what a caller is given.
    """
    app = FastAPI(title="ocs agent service", version=__version__, docs_url=None, redoc_url=None, description=_TEXT)
    _add_routes(app, service, frozenset(allow_origins), limits)
    _add_errors(app)
    make_document = app.openapi
    app.openapi = lambda: app.openapi_schema or add_schemas(make_document())  # type: ignore[method-assign]
    if allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(allow_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["WWW-Authenticate", "Retry-After"],
        )
    return app


_TEXT: Final = (
    "Components of an observatory, started and ended on any of its machines. The key `_type` of a request names it;"
    " all but `GetAgentStatus` need a bearer token."
)


def _add_routes(app: FastAPI, service: AgentService, origins: frozenset[str], limits: Limits) -> None:
    described: dict[str, Any] = {"openapi_extra": post_description(), "summary": "Spawn, kill, or tell what there is"}

    @app.post("/post-endpoint", response_class=JSONResponse, **described)
    async def post_endpoint(request: Request) -> Response:
        caller = _caller(request)
        try:
            body = await _body(request, limits)
        except _TooLongError as error:
            return _response(service.refuse(Reply.refusal(error.status, str(error), _CLOSE), caller))
        if service.guard.settings.no_auth and (fault := _foreign(request, origins)):
            return _response(service.refuse(Reply.refusal(403, fault), caller))
        return _response(await service.post(body, caller))

    @app.get("/health", summary="Whether requests can be carried out")
    async def health() -> JSONResponse:
        return _response(service.health())

    @app.get("/metrics", summary="What Prometheus reads", response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(service.metrics_text(), media_type=CONTENT_TYPE)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(page(), headers={"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"})


def _add_errors(app: FastAPI) -> None:
    async def refused(_: Request, error: Exception) -> JSONResponse:
        status = error.status_code if isinstance(error, HTTPException) else 500
        headers = (error.headers if isinstance(error, HTTPException) else None) or {}
        return _response(Reply.refusal(status, _WORDS.get(status) or HTTPStatus(status).phrase.lower(), headers))

    async def broken(request: Request, error: Exception) -> JSONResponse:
        _log.error("%s %s: %r", request.method, request.url.path, error)
        return _response(Reply.refusal(500, "the agent service has stumbled over this request; its log says how"))

    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(Exception, broken)


_WORDS: Final = {
    404: "nothing is here; requests go to /post-endpoint, and /docs explains them",
    405: "not this method; requests go to /post-endpoint by POST, and /docs explains them",
}


def _response(reply: Reply) -> JSONResponse:
    return JSONResponse(dict(reply.content), reply.status, {"Cache-Control": "no-store", **reply.headers})


def _caller(request: Request) -> Caller:
    return Caller(
        request.client.host if request.client else "",
        ", ".join(request.headers.getlist("x-forwarded-for")),
        tuple(request.headers.getlist("authorization")),
    )


async def _body(request: Request, limits: Limits) -> bytes:
    """Return a request's body, counted as it comes in.

    Raises:
        _TooLongError: it is too large, or takes too long.
    """
    body, largest = bytearray(), f"a request has {limits.body} bytes at most"
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and (len(announced) > 12 or int(announced) > limits.body):  # noqa: PLR2004 - a number of bytes
        raise _TooLongError(413, f"{largest}, not {announced[:20]}")
    try:
        async with asyncio.timeout(limits.body_within):
            async for piece in request.stream():
                body += piece
                if len(body) > limits.body:
                    raise _TooLongError(413, largest)
    except TimeoutError:
        raise _TooLongError(408, f"the request has not come within {limits.body_within:g} s") from None
    except ClientDisconnect:
        raise _TooLongError(400, "the request has not come to its end") from None
    return bytes(body)


def _foreign(request: Request, origins: frozenset[str]) -> str:
    """Return why a request is not taken where everybody may do everything; empty if it is.

    Any page that is open in a browser of this machine can send requests to it: browsers tell for which page.
    """
    host = request.headers.get("host", "")
    if not is_loopback(_name_in(host)):
        return f"without authentication requests are for localhost, not for {host[:100]!r} (Host)"
    origin = request.headers.get("origin")
    if origin is None or origin in origins or "*" in origins or _is_own(origin, request):
        return ""
    return f"pages of {origin[:100]!r} may not ask; --allow-origin lets them"


def _name_in(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # brackets that do not match
        return ""


def _is_own(origin: str, request: Request) -> bool:
    return origin == f"{request.url.scheme}://{request.headers.get('host', '')}"
