"""The exporter's web pages: ``/metrics``, and one that leads there."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.resource import EncodingResourceWrapper, Resource
from twisted.web.server import NOT_DONE_YET, GzipEncoderFactory, Site

__all__ = ["AT_ONCE", "make_site"]

AT_ONCE = 8
"""Answers that are made at the same time; who asks beyond that is told to come again."""

_INDEX = b"""<!DOCTYPE html><title>ocs exporter</title><p>The site, for Prometheus: <a href="metrics">metrics</a>.
"""


class _Plain(Resource):
    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, body: bytes, content_type: bytes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._body = body
        self._type = content_type

    def render_GET(self, request: Any) -> bytes:  # noqa: N802 - Twisted's name
        request.setHeader(b"content-type", self._type)
        return self._body


class _Metrics(Resource):
    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, scrape: Callable[[str], "Deferred[Any]"]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._scrape = scrape
        self._making = 0

    def render_GET(self, request: Any) -> Any:  # noqa: N802 - Twisted's name
        if self._making >= AT_ONCE:
            request.setResponseCode(503)
            request.setHeader(b"retry-after", b"1")
            return b"Too many ask at once.\n"
        self._making += 1
        gone: list[Any] = []
        request.notifyFinish().addErrback(gone.append)
        making = self._scrape((request.getHeader(b"accept") or b"").decode("latin-1"))
        making.addCallbacks(self._answer, self._fail, (request, gone), {}, (request, gone), {})
        return NOT_DONE_YET

    def _answer(self, made: Any, request: Any, gone: list[Any]) -> None:
        self._making -= 1
        if not gone:
            request.setHeader(b"content-type", made.content_type.encode())
            request.write(made.body)
            request.finish()

    def _fail(self, failure: Any, request: Any, gone: list[Any]) -> None:
        self._making -= 1
        if not gone:
            request.setResponseCode(500)
            request.write(f"{failure.type.__name__}\n".encode())
            request.finish()


class _QuietSite(Site):
    displayTracebacks = False  # noqa: N815 - Twisted's name
    noisy = False

    def log(self, request: Any) -> None:
        """Say nothing: a line for each scrape would bury what matters."""


def make_site(scrape: Callable[[str], "Deferred[Any]"]) -> Site:
    """Make what serves the pages.

    Args:
        scrape: called with the header ``Accept``; fires with an `Exposition`.
    """
    root: Any = Resource()
    root.putChild(b"", _Plain(_INDEX, b"text/html; charset=utf-8"))
    root.putChild(b"metrics", EncodingResourceWrapper(_Metrics(scrape), [GzipEncoderFactory()]))
    health: Any = Resource()
    health.putChild(b"healthy", _Plain(b"ok\n", b"text/plain"))
    root.putChild(b"-", health)
    return _QuietSite(root, timeout=60)  # type: ignore[no-untyped-call]
