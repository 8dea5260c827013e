"""The books: every sample that a publisher's log says was accepted, against every sample that the files have."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from tests.harness.recording.publisher import FEEDS, STEP, sample

TICKS = 10**8  # a G3Time counts tens of nanoseconds
TIME_SLACK = 20  # ticks; in doubles a time of today times 1e8 is good to 16, and the published aggregator leaves it so


@dataclass
class Ledger:
    """What one publisher's log says of one feed: numbers and times (unix s) of the samples."""

    tried: np.ndarray
    times: np.ndarray
    accepted: np.ndarray


def read_log(path: Path) -> dict[str, Ledger]:
    """Return feed name → ledger; a line that is not whole is not there."""
    tried: dict[str, list[tuple[int, int, float]]] = defaultdict(list)
    accepted: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for line in path.read_text().split("\n")[:-1] if path.exists() else ():
        match line.split():
            case ["?", name, first, count, when]:
                tried[name].append((int(first), int(count), float(when)))
            case ["+", name, first, count]:
                accepted[name].append((int(first), int(count)))
    return {name: _ledger(tried[name], accepted[name]) for name in tried}


def _ledger(tried: list[tuple[int, int, float]], accepted: list[tuple[int, int]]) -> Ledger:
    numbers = np.array([n for first, count, _ in tried for n in range(first, first + count)], dtype=np.int64)
    times = np.array([when + i * STEP for _, count, when in tried for i in range(count)])
    kept = np.array([n for first, count in accepted for n in range(first, first + count)], dtype=np.int64)
    return Ledger(numbers, times, kept)


def has_ended(path: Path) -> bool:
    """Whether the publisher has seen its stop file and published its last."""
    return path.exists() and path.read_bytes().endswith(b"\n.\n")


@dataclass
class Chunk:
    """The samples of one block in one frame."""

    feed: str
    session: str
    numbers: np.ndarray
    ticks: np.ndarray
    wrong: int


class Archive:
    """The files of one recorder, read frame by frame, without an index; what has not changed is not read again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[Path, tuple[tuple[int, int], list[Chunk], str | None]] = {}

    def chunks(self) -> list[Chunk]:
        """Return what all files have, in the files' order."""
        return [chunk for path in self._files() for chunk in self._file(path)[1]]

    def feeds_since(self, when: float) -> set[str]:
        """Return the feeds that have samples younger than `when` (unix s)."""
        return {chunk.feed for chunk in self.chunks() if len(chunk.ticks) and chunk.ticks[-1] > when * TICKS}

    def torn(self) -> dict[str, str]:
        """Return file name → reason of those that cannot be read to their end."""
        return {path.name: reason for path in self._files() if (reason := self._file(path)[2])}

    def _files(self) -> list[Path]:
        return sorted(self.folder.rglob("*.g3"))

    def _file(self, path: Path) -> tuple[tuple[int, int], list[Chunk], str | None]:
        about = path.stat()
        state = (about.st_size, about.st_mtime_ns)
        if path not in self._read or self._read[path][0] != state:
            self._read[path] = (state, *read_file(path))
        return self._read[path]


def read_file(path: Path) -> tuple[list[Chunk], str | None]:
    """Return what the whole frames of a file have, and why it could not be read to its end, if it could not."""
    import so3g  # noqa: F401 - the blocks' classes
    from spt3g import core

    if path.stat().st_size == 0:
        return [], "empty"
    chunks: list[Chunk] = []
    try:
        for frame in core.G3File(str(path)):
            chunks += _chunks(frame)
    except RuntimeError as error:
        return chunks, " ".join(str(error).split())[:200] or "unreadable"
    return chunks, None


def _chunks(frame) -> Iterable[Chunk]:
    if int(frame["hkagg_type"]) != 2:
        return
    feed = str(frame["address"])
    if feed.rpartition(".feeds.")[2] not in FEEDS:
        return
    for block in frame["blocks"]:
        numbers = np.array(block["n"], dtype=np.int64)
        ticks = np.array(block.times, dtype=np.int64)
        yield Chunk(feed, str(frame["provider_session_id"]), numbers, ticks, _wrong(feed, block, numbers))


def _wrong(feed: str, block, numbers: np.ndarray) -> int:
    """Count the samples that do not have the values that were published under their numbers."""
    wrong = np.asarray(block["x"]) != numbers * 0.5
    if FEEDS[feed.rpartition(".feeds.")[2]].richly:
        expected = [sample(int(n), richly=True) for n in numbers]
        wrong |= np.array([each["text"] for each in expected]) != np.array(list(block["text"]))
        wrong |= np.array([each["flag"] for each in expected]) != np.asarray(block["flag"], dtype=bool)
    return int(wrong.sum())


@dataclass
class Excuse:
    """Why samples of some feeds published in a span of time (unix s) may be missing."""

    prefix: str
    since: float
    until: float
    why: str
    with_buffer: bool = False

    def covers(self, feed: str, times: np.ndarray) -> np.ndarray:
        """Tell of each time whether it is covered; a feed's buffer_time comes on top, if so agreed."""
        if not feed.startswith(self.prefix):
            return np.zeros(len(times), dtype=bool)
        extra = FEEDS[feed.rpartition(".feeds.")[2]].buffer_time if self.with_buffer else 0.0
        return (times >= self.since - extra) & (times <= self.until)


@dataclass
class Gap:
    """Consecutive samples that are missing: first and last number, and their times (unix s)."""

    first: int
    last: int
    since: float
    until: float
    count: int


@dataclass
class Account:
    """The balance of one feed in one archive, in samples."""

    feed: str
    accepted: int = 0
    recorded: int = 0
    missing: int = 0
    excused: int = 0
    duplicated: int = 0
    disordered: int = 0
    wrong: int = 0
    foreign: int = 0
    gaps: list[Gap] = field(default_factory=list)
    excused_seconds: float = 0.0

    @property
    def balanced(self) -> bool:
        return not (self.missing or self.duplicated or self.disordered or self.wrong or self.foreign)


def account_for(feed: str, ledger: Ledger, chunks: list[Chunk], excuses: Iterable[Excuse] = ()) -> Account:
    """Balance one feed: what its publisher has accepted, and what one archive has of it."""
    numbers = np.concatenate([np.zeros(0, dtype=np.int64), *(chunk.numbers for chunk in chunks)])
    ticks = np.concatenate([np.zeros(0, dtype=np.int64), *(chunk.ticks for chunk in chunks)])
    found, counts = np.unique(numbers, return_counts=True)
    lost = np.setdiff1d(ledger.accepted, found)
    lost_at = ledger.times[np.searchsorted(ledger.tried, lost)]
    excused = np.zeros(len(lost), dtype=bool)
    for excuse in excuses:
        excused |= excuse.covers(feed, lost_at)
    return Account(
        feed=feed,
        accepted=len(ledger.accepted),
        recorded=len(found),
        missing=int((~excused).sum()),
        excused=int(excused.sum()),
        duplicated=int((counts - 1).sum()),
        disordered=_disordered(chunks),
        wrong=sum(chunk.wrong for chunk in chunks) + _mistimed(ledger, numbers, ticks),
        foreign=len(np.setdiff1d(found, ledger.tried)),
        gaps=_gaps(lost[~excused], lost_at[~excused]),
        excused_seconds=_longest(_gaps(lost[excused], lost_at[excused])),
    )


def _disordered(chunks: list[Chunk]) -> int:
    """Count where, within a run of its publisher, a sample comes after one with a higher number."""
    runs: dict[str, list[np.ndarray]] = defaultdict(list)
    for chunk in chunks:
        runs[chunk.session].append(chunk.numbers)
    return sum(int((np.diff(np.concatenate(parts)) < 0).sum()) for parts in runs.values())


def _mistimed(ledger: Ledger, numbers: np.ndarray, ticks: np.ndarray) -> int:
    known = np.isin(numbers, ledger.tried)
    published = ledger.times[np.searchsorted(ledger.tried, numbers[known])]
    # Whole seconds apart, so that doubles do for the rest.
    whole = np.floor(published).astype(np.int64)
    off = (ticks[known] - whole * TICKS) - (published - whole) * TICKS
    return int((np.abs(off) > TIME_SLACK).sum())


def _gaps(lost: np.ndarray, times: np.ndarray) -> list[Gap]:
    if not len(lost):
        return []
    ends = np.flatnonzero(np.diff(lost) != 1)
    starts, ends = [0, *(ends + 1)], [*ends, len(lost) - 1]
    return [
        Gap(int(lost[a]), int(lost[b]), float(times[a]), float(times[b]), int(b - a + 1))
        for a, b in zip(starts, ends, strict=True)
    ]


def _longest(gaps: list[Gap]) -> float:
    return max((gap.until - gap.since for gap in gaps), default=0.0)


@dataclass
class Books:
    """The balance of all feeds in one archive."""

    archive: str
    accounts: list[Account]
    torn: dict[str, str]

    def total(self, what: str) -> int:
        return sum(getattr(account, what) for account in self.accounts)

    @property
    def balanced(self) -> bool:
        """Whether everything is in the files, once, in order and right, and every file can be read to its end."""
        return not self.torn and all(account.balanced for account in self.accounts)

    @property
    def lost_seconds(self) -> float:
        """The longest stretch of time that is missing of any feed, in seconds."""
        return max((_longest(account.gaps) for account in self.accounts), default=0.0)

    @property
    def excused_seconds(self) -> float:
        """The same of what may be missing."""
        return max((account.excused_seconds for account in self.accounts), default=0.0)

    def as_json(self) -> dict:
        names = ("accepted", "recorded", "missing", "excused", "duplicated", "disordered", "wrong", "foreign")
        totals = {name: self.total(name) for name in names}
        bad = [{**asdict(account), "gaps": len(account.gaps)} for account in self.accounts if not account.balanced]
        seconds = {"lost_seconds": self.lost_seconds, "excused_seconds": self.excused_seconds}
        return {"archive": self.archive, **totals, **seconds, "torn": self.torn, "feeds": bad}

    def report(self) -> str:
        """Say in a few lines what is in order and what is not."""
        names = ("accepted", "missing", "excused", "duplicated", "disordered", "wrong", "foreign")
        lines = [f"{self.archive}: " + ", ".join(f"{self.total(name)} {name}" for name in names)]
        for account in self.accounts:
            if account.balanced and account.excused:
                lines.append(f"  {account.feed}: {account.excused} excused of {account.accepted}")
            if not account.balanced:
                lines.append(f"  {account.feed}: " + ", ".join(f"{getattr(account, name)} {name}" for name in names))
                lines += [
                    f"    {gap.first} to {gap.last}: {gap.count} from {gap.since:.3f} to {gap.until:.3f}"
                    for gap in account.gaps[:10]
                ]
        lines += [f"  torn: {name}: {reason}" for name, reason in self.torn.items()]
        return "\n".join(lines)


def balance(archive: Archive, logs: dict[str, Path], excuses: Iterable[Excuse] = ()) -> Books:
    """Balance an archive against the publishers' logs.

    Args:
        archive: of one recorder.
        logs: agent address → its log.
        excuses: what may be missing.
    """
    ledgers = {f"{agent}.feeds.{name}": each for agent, log in logs.items() for name, each in read_log(log).items()}
    found: dict[str, list[Chunk]] = defaultdict(list)
    for chunk in archive.chunks():
        found[chunk.feed].append(chunk)
    nothing = Ledger(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0, dtype=np.int64))
    feeds = sorted(ledgers.keys() | found.keys())
    accounts = [account_for(feed, ledgers.get(feed, nothing), found[feed], excuses) for feed in feeds]
    return Books(archive.folder.name, accounts, archive.torn())
