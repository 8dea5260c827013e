"""The publisher's side of the pysmurf monitor, and the table that it fills: datagrams, files, rows."""

import hashlib
import json
import socket
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

PUB_ID = "crate1slot2"
ACTION_TS = 1_790_000_000
HOST = "127.0.0.1"


def datagram(kind: str, *, pub_id: str = PUB_ID, sent: float | None = None, **payload: Any) -> bytes:
    """Return one datagram of a publisher: its type, who sends it, when (unix s, default now), and what it says."""
    whole = {"host": "smurf-srv1", "id": pub_id, "script": "test", "time": sent or time.time(), "seq_no": 0}
    return json.dumps({**whole, "type": kind, "payload": payload}).encode()


def file_datagram(path: Path | str, *, pub_id: str = PUB_ID, **changes: Any) -> bytes:
    """Return the announcement of a file; `changes` are keys of the payload."""
    name = str(path)
    payload = {
        "path": name,
        "type": "tuning",
        "format": name.rpartition(".")[2],
        "timestamp": ACTION_TS + 1.5,
        "action": "take_iv",
        "action_ts": ACTION_TS,
        "plot": name.endswith(".png"),
        "pysmurf_version": "7.2.0",
    }
    return datagram("data_file", pub_id=pub_id, **{**payload, **changes})


def g3_datagram(path: Path | str, *, stream_id: str = PUB_ID, **changes: Any) -> bytes:
    """Return the announcement of a closed timestream file, as the streamer makes it."""
    payload = {"path": str(path), "format": "g3", "timestamp": ACTION_TS + 1.5, "archive_name": "timestreams"}
    return datagram("g3_file", pub_id=f"STREAMER:{stream_id}", **{**payload, **changes})


def announce(port: int, *datagrams: bytes, host: str = HOST) -> None:
    """Send datagrams, one after the other as fast as they go."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        for each in datagrams:
            sender.sendto(each, (host, port))


def make_file(path: Path, content: bytes | str = b"") -> Path:
    """Write a file with its folders; without content its own name is the content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content or path.name.encode())
    return path


def make_files(folder: Path, count: int, suffix: str = ".npy") -> list[Path]:
    """Write `count` files of different content."""
    return [make_file(folder / f"{ACTION_TS}_{number:06}{suffix}") for number in range(count)]


def md5(path: Path | str) -> str:
    return hashlib.md5(Path(path).read_bytes()).hexdigest()


def rows(db_path: Path | str) -> list[dict[str, Any]]:
    """Return the files' table by id; [] if there is no file, or no table in it, yet."""
    return query(db_path, "SELECT * FROM supersync_v0 ORDER BY id")


def entered(db_path: Path | str, *, besides: str = "") -> int:
    """Return how many rows there are, which is cheap to ask; `besides`: an archive that is not counted."""
    found = query(db_path, "SELECT count(*) AS n FROM supersync_v0 WHERE archive_name != ?", (besides,))
    return int(found[0]["n"]) if found else 0


def query(db_path: Path | str, statement: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """Read the database without making it; [] if there is no file, or no table in it, yet."""
    try:
        with closing(sqlite3.connect(f"file:{db_path}?mode=ro", uri=True, timeout=10)) as link:
            link.row_factory = sqlite3.Row
            return [dict(row) for row in link.execute(statement, parameters)]
    except sqlite3.OperationalError as error:
        if "no such table" in str(error) or "unable to open" in str(error):
            return []
        raise


def each_once(db_path: Path | str, paths: Iterable[Path | str], *, besides: str = "") -> str:
    """Return "" if the table has each of these paths once and nothing else, or else what is wrong, in one line.

    `besides`: an archive that is not looked at, as others write it.
    """
    wanted = {str(path) for path in paths}
    select = "SELECT local_path FROM supersync_v0 WHERE archive_name != ?"
    found = Counter(row["local_path"] for row in query(db_path, select, (besides,)))
    lacking, foreign = sorted(wanted - found.keys()), sorted(found.keys() - wanted)
    double = sorted(path for path, times in found.items() if times > 1)
    parts = {"lacks": lacking, "has twice": double, "has besides": foreign}
    return "; ".join(f"{what} {len(some)}: {some[:3]}" for what, some in parts.items() if some)


def free_udp_port() -> int:
    """Return a port that nobody had a moment ago."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def is_bound(port: int) -> bool:
    """Tell whether some process of this machine listens to a UDP port."""
    lines = [line for table in ("udp", "udp6") for line in _lines(Path("/proc/net", table))]
    return any(int(line.split()[1].rpartition(":")[2], 16) == port for line in lines)


def _lines(table: Path) -> list[str]:
    return table.read_text().splitlines()[1:] if table.exists() else []
