"""What is asked of an InfluxDB server, of version 1 or 2, and what its answers mean."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

__all__ = ["Conflict", "Reply", "Request", "Server", "Verdict", "What", "judge", "server_v1", "server_v2"]


class Request(NamedTuple):
    """A request to a server."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = {}


class Reply(NamedTuple):
    """A server's answer."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True)
class Server:
    """A server, and where in it the points go.

    Attributes:
        version: 1 or 2.
        host: its name or address.
        port: its port.
        tls: whether it is spoken to by HTTPS.
        verify: whether its certificate is looked at.
        base: what the paths of its requests begin with.
        target: the database or bucket.
        org: the organisation, for version 2.
        headers: what goes with every request.
        write_path: where points are posted to.
    """

    version: int
    host: str
    port: int
    target: str
    write_path: str
    headers: Mapping[str, str] = field(repr=False)
    tls: bool = False
    verify: bool = True
    base: str = ""
    org: str = ""

    @property
    def place(self) -> str:
        """What the operator calls it."""
        what = "database" if self.version == 1 else "bucket"
        return f"{what} {self.target} at {self.host}:{self.port}"

    def write(self, body: bytes, *, gzipped: bool = False) -> Request:
        """Return the request that writes lines; one without lines only asks whether they would be taken."""
        headers = {**self.headers, "Content-Type": "text/plain; charset=utf-8"}
        if gzipped:
            headers["Content-Encoding"] = "gzip"
        return Request("POST", self.write_path, body, headers)

    def look_up(self) -> Request | None:
        """Return what has to be asked before `create`, if anything."""
        if self.version == 1:
            return None
        return Request("GET", f"{self.base}/api/v2/orgs?{urlencode({'org': self.org})}", headers=self.headers)

    def create(self, found: Reply | None = None) -> Request | None:
        """Return the request that makes the database or bucket.

        Args:
            found: the answer to `look_up`.

        Returns:
            The request; None if the answer does not name the organisation.
        """
        if self.version == 1:
            name = self.target.replace("\\", "\\\\").replace('"', '\\"')
            form = {**self.headers, "Content-Type": "application/x-www-form-urlencoded"}
            return Request("POST", f"{self.base}/query", urlencode({"q": f'CREATE DATABASE "{name}"'}).encode(), form)
        org = _org_id(found)
        if org is None:
            return None
        body = json.dumps({"orgID": org, "name": self.target, "retentionRules": []}).encode()
        return Request(
            "POST", f"{self.base}/api/v2/buckets", body, {**self.headers, "Content-Type": "application/json"}
        )


def server_v1(
    host: str,
    port: int,
    database: str,
    *,
    username: str = "",
    password: str = "",
    ssl: bool = False,
    verify_ssl: bool = True,
) -> Server:
    """Return a server of version 1."""
    headers = {}
    if username:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
    path = f"/write?{urlencode({'db': database, 'precision': 'ns'})}"
    return Server(1, host, port, database, path, headers, ssl, verify_ssl)


def server_v2(
    host: str, port: int, bucket: str, *, token: str, org: str, tls: bool = False, verify: bool = True, base: str = ""
) -> Server:
    """Return a server of version 2."""
    query = urlencode({"org": org, "bucket": bucket, "precision": "ns"}, quote_via=quote)
    headers = {"Authorization": f"Token {token}"}
    return Server(2, host, port, bucket, f"{base}/api/v2/write?{query}", headers, tls, verify, base, org)


def _org_id(found: Reply | None) -> str | None:
    try:
        return str(json.loads(found.body)["orgs"][0]["id"]) if found else None
    except (ValueError, LookupError, TypeError):
        return None


class What(Enum):
    """What became of lines that were posted."""

    WRITTEN = "written"
    PARTLY = "partly written"
    """What could not be written never will be."""
    UNREADABLE = "refused"
    """Not one line was taken, for what is in one of them."""
    MISSING = "missing"
    """The database or bucket is not there."""
    DENIED = "denied"
    TOO_LONG = "too long"
    LATER = "later"


class Conflict(NamedTuple):
    """A field that the database has with another type."""

    measurement: str
    field: str
    given: str
    """The type in the line: ``float``, ``integer``, ``boolean``, ``string``."""
    existing: str


class Verdict(NamedTuple):
    """What a server's answer means."""

    what: What
    words: str = ""
    """The server's own, in one line."""
    reason: str = ""
    """Why points were dropped, one word: ``conflict``, ``retention``, ``unreadable``, ``refused``."""
    dropped: int = 0
    """How many points the server says it has dropped."""
    conflict: Conflict | None = None
    retry_after: float = 0.0
    """Seconds that the server asks for; 0 if it does not say."""


_CONFLICT: Final = re.compile(
    r'input field "((?:[^"\\]|\\.)*)" on measurement "((?:[^"\\]|\\.)*)" is type (\w+), already exists as type (\w+)'
)
_DROPPED: Final = re.compile(r"dropped=(\d+)")
_MOST_WORDS: Final = 300
_OK: Final = 300
_FINAL: Final = {
    401: What.DENIED,
    403: What.DENIED,
    404: What.MISSING,
    413: What.TOO_LONG,
}
_BAD: Final = (400, 422)


def judge(reply: Reply) -> Verdict:
    """Tell what the answer to a write means."""
    words = _words(reply)
    if reply.status < _OK:
        return Verdict(What.WRITTEN)
    if reply.status in _FINAL:
        return Verdict(_FINAL[reply.status], words)
    if reply.status not in _BAD:
        return Verdict(What.LATER, words, retry_after=_retry_after(reply.headers.get("retry-after", "")))
    if "database not found" in words or "bucket not found" in words:
        return Verdict(What.MISSING, words)
    if "timeout" in words:
        return Verdict(What.LATER, words)
    return _partly(words)


def _partly(words: str) -> Verdict:
    dropped = int(found[1]) if (found := _DROPPED.search(words)) else 0
    if found := _CONFLICT.search(words):
        conflict = Conflict(_unquoted(found[2]), _unquoted(found[1]), found[3], found[4])
        return Verdict(What.PARTLY, words, "conflict", dropped, conflict)
    if "retention policy" in words:
        return Verdict(What.PARTLY, words, "retention", dropped)
    if "partial write" in words:
        reason = "unreadable" if "unable to parse" in words else "refused"
        return Verdict(What.PARTLY, words, reason, max(1, dropped))
    return Verdict(What.UNREADABLE, words, "unreadable")


def _unquoted(quoted: str) -> str:
    try:
        return str(json.loads(f'"{quoted}"'))
    except ValueError:
        return quoted


def _words(reply: Reply) -> str:
    text = reply.body.decode("utf-8", "replace")
    try:
        found: Any = json.loads(text)
        text = str(found.get("error") or found.get("message") or text)
    except (ValueError, AttributeError):
        pass
    text = " ".join(text.split()) or reply.headers.get("x-influxdb-error", "")
    # The end has how many were dropped.
    short = text if len(text) <= _MOST_WORDS else f"{text[: _MOST_WORDS - 40]}… {text[-38:]}"
    return short if reply.status in _BAD else f"{reply.status} {short}".strip()


def _retry_after(value: str) -> float:
    try:
        return min(600.0, max(0.0, float(value)))
    except ValueError:
        return 0.0
