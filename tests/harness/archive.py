"""Events as they come from the wire, and archives read back as programs of other people read them."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ADDRESS = "observatory.a.feeds.b"


class Clock:
    """A clock that stands until it is told to go on."""

    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Lines:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warn(self, format: str | None = None, **kwargs: object) -> None:  # noqa: A002
        self.lines.append((format or "").format(**kwargs))


class SessionRecord:
    """What an operation shows to clients."""

    def __init__(self) -> None:
        self.data: Any = {}
        self.degraded = False
        self.messages: list[str] = []

    def add_message(self, text: str) -> None:
        self.messages.append(text)


def envelope(address: str = ADDRESS, **changes: Any) -> dict[str, Any]:
    agent, _, name = address.partition(".feeds.")
    return {
        "agent_address": agent,
        "agg_params": {},
        "feed_name": name,
        "address": address,
        "record": True,
        "session_id": "1790000000.5",
        "agent_class": "AnyAgent",
        **changes,
    }


def message(timestamps: Any, block: str = "t", **fields: Any) -> dict[str, Any]:
    return {block: {"block_name": block, "timestamps": timestamps, "data": fields}}


def event(timestamps: Any, address: str = ADDRESS, **fields: Any) -> list[Any]:
    return [message(timestamps, **fields), envelope(address)]


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.g3"))


def frames_of(path: Path) -> list[Any]:
    import so3g  # noqa: F401
    from spt3g import core

    return list(core.G3File(str(path)))


def samples_in(paths: Iterable[Path]) -> dict[str, list[tuple[float, Any]]]:
    """Return every sample of every field, `{feed}.{field}`, sorted by time, straight from the frames."""
    found: dict[str, list[tuple[float, Any]]] = defaultdict(list)
    for path in paths:
        for frame in frames_of(path):
            if int(frame["hkagg_type"]) != 2:
                continue
            for block in frame["blocks"]:
                times = [t.time / 1e8 for t in block.times]
                for field in block.keys():  # noqa: SIM118 - spt3g's map
                    values = [getattr(v, "item", lambda v=v: v)() for v in block[field]]
                    found[f"{frame['address']}.{field}"] += zip(times, values, strict=True)
    return {name: sorted(samples) for name, samples in found.items()}


def scanned(paths: Iterable[Path]) -> dict[str, list[tuple[float, Any]]]:
    """Return the same by so3g's archive scanner, as analysis programs see it."""
    from so3g.hk import HKArchiveScanner

    scanner = HKArchiveScanner()
    for path in paths:
        scanner.process_file(str(path))
    archive = scanner.finalize()
    fields, _ = archive.get_fields()
    result = {}
    for name in fields:
        times, values = archive.simple(name)
        result[name] = sorted(zip(times.tolist(), values.tolist(), strict=True))
    return result
