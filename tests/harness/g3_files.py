"""Files as the aggregator writes them, frame by frame, made without one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ocs.agents.aggregator import frames
from ocs.agents.aggregator.blocks import FinishedBlock

ADDRESS = "observatory.a.feeds.b"
START = 1_790_000_000.0


def as_ticks(times: Any) -> Any:
    return np.round(np.asarray(times, np.float64) * 1e8).astype(np.int64)


class G3File:
    """A file that frames are appended to; it begins with a session frame."""

    def __init__(self, path: Path, start: float = START) -> None:
        self.path = path
        self.places: list[tuple[int, bytes]] = []
        self._session = frames.new_session(start)
        self._providers: dict[tuple[str, str], int] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        self.append(self._session.session_frame())

    def append(self, frame: Any) -> None:
        content = frame if isinstance(frame, bytes) else frames.encode(frame)
        self.places.append((self.path.stat().st_size, content))
        with self.path.open("ab") as file:
            file.write(content)

    def block(
        self, times: Sequence[float], name: str = "t", address: str = ADDRESS, sessid: str = "s", **fields: Any
    ) -> "G3File":
        """Append a data frame of one block."""
        return self.data({name: (times, fields)}, address, sessid)

    def data(
        self, blocks: Mapping[str, tuple[Any, Mapping[str, Any]]], address: str = ADDRESS, sessid: str = "s"
    ) -> "G3File":
        """Append a data frame; block name → (times, field → values)."""
        if (address, sessid) not in self._providers:
            self._providers[address, sessid] = self._session.add_provider(description=address)
            self.append(self._session.status_frame(timestamp=START))
        frame = frames.data_frame(self._session, self._providers[address, sessid], START)
        finished = [FinishedBlock(name, as_ticks(times), _columns(fields)) for name, (times, fields) in blocks.items()]
        faults: list[Any] = []
        frames.fill(frame, address, sessid, finished, faults.append)
        assert not faults
        self.append(frame)
        return self


def _columns(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values if _is_text(values) else np.asarray(values) for name, values in fields.items()}


def _is_text(values: Any) -> bool:
    return isinstance(values, list) and bool(values) and isinstance(values[0], str)
