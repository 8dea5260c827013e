"""A registry that an engine can pull images from: those of one layer, in memory, on the loopback interface."""

import gzip
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_NOT_FOUND = b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'


class Registry:
    """Serves images until it is closed.

    Attributes:
        host: what comes before the slash in an image's name.
    """

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}
        self._manifests: dict[str, bytes] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.host = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def add(self, name: str, archive: bytes) -> str:
        """Offer a file system as an image, and return the image's full name."""
        layer = gzip.compress(archive, compresslevel=1, mtime=0)
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [_digest(archive)]},
            }
        ).encode()
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": self._add_blob(config, _CONFIG),
                "layers": [self._add_blob(layer, _LAYER)],
            }
        ).encode()
        repository, _, tag = name.partition(":")
        for reference in (tag, _digest(manifest)):
            self._manifests[f"/v2/{repository}/manifests/{reference}"] = manifest
        return f"{self.host}/{name}"

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _add_blob(self, content: bytes, kind: str) -> dict[str, Any]:
        self._blobs[_digest(content)] = content
        return {"mediaType": kind, "size": len(content), "digest": _digest(content)}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(with_body=True)

            def do_HEAD(self) -> None:
                self._answer(with_body=False)

            def _answer(self, *, with_body: bool) -> None:
                manifest = registry._manifests.get(self.path)
                body = b"{}" if self.path == "/v2/" else manifest or registry._blobs.get(self.path.rpartition("/")[2])
                self.send_response(404 if body is None else 200)
                body = body or _NOT_FOUND
                self.send_header("Content-Type", _MANIFEST if manifest else "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Docker-Content-Digest", _digest(body))
                self.end_headers()
                if with_body:
                    self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                return

        return Handler


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
