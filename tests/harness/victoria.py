"""A real server that speaks the write API of InfluxDB 2: VictoriaMetrics, as Debian has it."""

import http.client
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from ocs.router.server import free_port


class Victoria:
    """VictoriaMetrics on a free port, with its data in a folder. It keeps numbers alone, each as a float."""

    def __init__(self, folder: Path) -> None:
        self.program = shutil.which("victoria-metrics")
        if self.program is None:
            pytest.fail("no victoria-metrics: apt-get install --no-install-recommends victoria-metrics")
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, timeout: float = 30.0) -> "Victoria":
        """Start it and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [self.program, f"-httpListenAddr=127.0.0.1:{self.port}", f"-storageDataPath={self.folder / 'data'}"]
        # Samples of any age are kept; what is written can be queried at once.
        command += ["-retentionPeriod=100y", "-search.latencyOffset=0s", "-memory.allowedBytes=64MB"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.ask("GET", "/health")
            except OSError:
                assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
                assert time.monotonic() < deadline, "victoria-metrics does not answer"
                time.sleep(0.05)
            else:
                return self

    def stop(self) -> None:
        """End it in order: what it has taken is on its disk then."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Return the status and the body of its answer."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            link.request(method, path, body)
            answer = link.getresponse()
            return answer.status, answer.read()
        finally:
            link.close()

    def samples(self, selector: str) -> dict[str, list[tuple[int, float]]]:
        """Return what a selector finds: name → (time in ms, value), the oldest first."""
        self.ask("GET", "/internal/force_flush")
        status, body = self.ask("GET", f"/api/v1/export?{urlencode({'match[]': selector}, quote_via=quote)}")
        assert status == 200, body
        series: list[dict[str, Any]] = [json.loads(line) for line in body.splitlines()]
        return {one["metric"]["__name__"]: list(zip(one["timestamps"], one["values"], strict=True)) for one in series}
