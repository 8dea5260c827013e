"""Real InfluxDB servers of a test's own: version 1 as Debian has it, on free ports of the loopback interface."""

import http.client
import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from ocs.router.server import free_port

_CONFIG = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  query-log-enabled = false
[coordinator]
[retention]
[monitor]
  store-enabled = false
[subscriber]
  enabled = false
[continuous_queries]
  enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
  auth-enabled = {auth}
  max-body-size = {most}
"""


class Influxd:
    """An InfluxDB 1, on a port and with data that outlive its process.

    Args:
        folder: for all that it writes.
        auth: whether it asks for a name and a password.
        most: the longest body that it takes (bytes); 0 for any.
    """

    def __init__(self, folder: Path, *, auth: bool = False, most: int = 0) -> None:
        self.program = shutil.which("influxd")
        if self.program is None:
            pytest.fail("no influxd: apt-get install --no-install-recommends influxdb")
        self.folder = folder
        self.host = "127.0.0.1"
        self.port = free_port()
        self.login: dict[str, str] = {}
        self._rpc = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._config = folder / "influxdb.conf"
        text = _CONFIG.format(rpc=self._rpc, port=self.port, folder=folder, auth=str(auth).lower(), most=most)
        self._config.write_text(text)

    def start(self, timeout: float = 30.0) -> "Influxd":
        """Start it and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.program, "run", "-config", str(self._config)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.ask("GET", "/ping")
            except OSError:
                assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
                assert time.monotonic() < deadline, "influxd does not answer"
                time.sleep(0.05)
            else:
                return self

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def kill(self) -> None:
        """End it as a power cut does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(how)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def freeze(self) -> None:
        """Have it keep its connections and say nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on."""
        self._process.send_signal(signal.SIGCONT)

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Return the status and the body of its answer."""
        link = http.client.HTTPConnection(self.host, self.port, timeout=20)
        try:
            link.request(method, path, body, {"Content-Type": "application/x-www-form-urlencoded"})
            answer = link.getresponse()
            return answer.status, answer.read()
        finally:
            link.close()

    def write(self, database: str, *lines: str) -> tuple[int, bytes]:
        """Write lines as they are."""
        return self.ask("POST", f"/write?{urlencode({'db': database, **self.login})}", "\n".join(lines).encode())

    def query(self, text: str, database: str = "") -> list[dict[str, Any]]:
        """Return the series that a query finds: each has ``name``, ``columns``, ``values``; times in ns."""
        form = urlencode({"q": text, "db": database, "epoch": "ns"}).encode()
        status, body = self.ask("POST", f"/query?{urlencode(self.login)}", form)
        found = json.loads(body)
        assert status == 200, found
        assert "error" not in found, found
        (result,) = found["results"]
        assert "error" not in result, result
        return result.get("series", [])

    def databases(self) -> list[str]:
        """Return the names of its databases."""
        return [row[0] for series in self.query("SHOW DATABASES") for row in series.get("values", [])]

    def rows(self, database: str, measurement: str, fields: str = "*") -> list[dict[str, Any]]:
        """Return the points of a measurement, the oldest first, without what they have not."""
        name = re.sub(r'(["\\])', r"\\\1", measurement)
        found = self.query(f'SELECT {fields} FROM "{name}"', database)
        return [
            {column: value for column, value in zip(series["columns"], row, strict=True) if value is not None}
            for series in found
            for row in series["values"]
        ]

    def types(self, database: str, measurement: str) -> dict[str, str]:
        """Return the types of a measurement's fields."""
        found = self.query(f'SHOW FIELD KEYS FROM "{measurement}"', database)
        return dict(found[0]["values"]) if found else {}
