"""Stretches without samples, and why: lost, the agent or the recorder was off, or there was nothing.

The recorder notes what it knows of in a feed of its own, ``{recorder's address}.feeds.notes``, which is recorded like
any other.
"""

import contextlib
import math
import os
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ocs.hk.archive import IndexedFile, Progress, archive_files, nobody, with_archive
from ocs.hk.loading import load_from
from ocs.hk.moments import Moment, span_of
from ocs.hk.names import chosen_names
from ocs.hk.plan import BlockRef, Table, block_refs, read_tables

__all__ = ["AGENT_OFF", "LOST", "NO_DATA", "RECORDER_OFF", "Gap", "Note", "find_gaps", "gaps", "gaps_in", "notes_in"]

LOST: Final = "lost"
AGENT_OFF: Final = "agent off"
RECORDER_OFF: Final = "recorder off"
NO_DATA: Final = "no data"

_NOTES: Final = ".feeds.notes"
_NOTE_FIELDS: Final = ("kind", "subject", "since", "until", "samples", "detail")
_SPACINGS: Final = 5.0
"""So many times the usual time between samples is a gap: one or two samples late are none."""

Times = NDArray[np.float64]
Span = tuple[float, float]


class Gap(NamedTuple):
    """A stretch of a feed without samples, or with fewer than there were."""

    feed: str
    """The feed's address."""
    since: float
    """Where it begins (unix, s); NaN where nobody knows."""
    until: float
    """Where it ends."""
    kind: str
    """``lost``, ``agent off``, ``recorder off`` or ``no data``."""
    samples: int = 0
    """How many samples are known to be lost."""
    detail: str = ""
    """Why."""


class Note(NamedTuple):
    """What the recorder noted."""

    noted: float
    """When (unix, s)."""
    kind: str
    """``lost``, ``refused``, ``repaired``, ``on`` or ``off``."""
    subject: str
    """The feed, agent or file that it is about."""
    since: float
    """From when on (unix, s); NaN if that is not known."""
    until: float
    """Until when."""
    samples: int
    """How many samples."""
    detail: str
    """Why; the session id, for ``on`` and ``off`` of an agent."""
    recorder: str = ""
    """The address of the recorder that noted it."""


def gaps(
    target: str | os.PathLike[str],
    feed: str | Iterable[str] | None = None,
    start: Moment | None = None,
    stop: Moment | None = None,
    longer_than: float | None = None,
    *,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.time,
) -> list[Gap]:
    """Find what is missing in an archive, and why.

    Args:
        target: a ``.g3`` file, or a folder with such files at any depth.
        feed: addresses of feeds, or parts of them in their order, as in `ocs.hk.load`. None: all feeds.
        start: where to begin, as in `ocs.hk.load`. If given, the time from there to a feed's first sample counts too.
        stop: where to end. If given, the time from a feed's last sample to there counts too.
        longer_than: shorter stretches (s) are no gaps. In any case a gap is longer than five times the usual time
            between two samples of the feed.
        progress: called with what is being done, and how many bytes of how many are done.
        clock: what the time is (unix, s), for ``start`` and ``stop``.

    Returns:
        The gaps, by feed and time.

    Raises:
        UnknownFieldError: (a KeyError) no feed is called so.
        MomentError: (a ValueError) ``start`` or ``stop`` is no time.
        RecordingError: there is no archive, or it cannot be read.
    """
    first, last = span_of(start, stop, clock)
    feeds = [feed] if isinstance(feed, str) else feed
    watch = progress or nobody
    return with_archive(
        archive_files(target),
        lambda archive: gaps_in(archive, feeds, first, last, longer_than, progress=watch),
        watch,
    )


def gaps_in(
    archive: Iterable[IndexedFile],
    feeds: Iterable[str] | None = None,
    start: float | None = None,
    stop: float | None = None,
    longer_than: float | None = None,
    *,
    progress: Progress = nobody,
) -> list[Gap]:
    """Find what is missing in an archive that has been opened; see `gaps`.

    Args:
        archive: its files.
        feeds: addresses of feeds, parts of them, and patterns; None: all feeds.
        start: where to begin (unix, s).
        stop: where to end.
        longer_than: shorter stretches (s) are no gaps.
        progress: told how it goes.

    Raises:
        UnknownFieldError: no feed is called so.
        ChangedFileError: a file is not what its index says.
        RecordingError: a file cannot be read.
    """
    files = list(archive)
    known = sorted({one.address for file in files for one in file.summary.series})
    chosen = [one for one in known if not one.endswith(_NOTES)] if feeds is None else chosen_names(feeds, known)
    notes = notes_in(files)
    blocks = _blocks_of(files, chosen, start, stop)
    found = []
    for address in chosen:
        tables = [Table(refs, ()) for refs in blocks[address]]
        read_tables(files, tables, start, stop, progress)
        times = [table.times for table in tables]
        found += find_gaps(address, times, notes, start=start, stop=stop, longer_than=longer_than)
    if feeds is None:
        found += [gap for gap in _unplaced(notes, known) if _touches(gap, start, stop)]
    return found


def _unplaced(notes: Iterable[Note], feeds: Sequence[str]) -> list[Gap]:
    """Return what the notes say was lost of no feed that the archive has."""
    placed = {*feeds, *map(agent_of, feeds)}
    subjects = {note.subject for note in notes if note.kind == LOST} - placed
    return [gap for subject in sorted(subjects) for gap in lost_by_notes(subject, notes)]


def agent_of(feed: str) -> str:
    """Return the address of the agent that publishes a feed."""
    return feed.partition(".feeds.")[0]


def _blocks_of(
    files: Sequence[IndexedFile], chosen: Iterable[str], start: float | None, stop: float | None
) -> dict[str, list[list[BlockRef]]]:
    wanted = set(chosen)
    found = block_refs(files, lambda address, one: (address, one.name) if address in wanted else None, start, stop)
    blocks = defaultdict(list)
    for refs in found.values():
        blocks[refs[0].entry.info.address].append(refs)
    return blocks


def notes_in(archive: Iterable[IndexedFile]) -> list[Note]:
    """Return what recorders have noted in an archive, in the order of time."""
    files = list(archive)
    feeds = {one.address for file in files for one in file.summary.series if one.address.endswith(_NOTES)}
    notes = []
    for feed in feeds:
        names = [f"{feed}.{field}" for field in _NOTE_FIELDS]
        data = load_from(files, names)
        columns = (data[name].values.tolist() for name in names)
        recorder = agent_of(feed)
        told = zip(data[names[0]].times.tolist(), *columns, strict=True)
        notes += [Note(*note)._replace(recorder=recorder) for note in told]
    return sorted(notes)


def find_gaps(
    feed: str,
    blocks: Sequence[Times],
    notes: Iterable[Note] = (),
    *,
    start: float | None = None,
    stop: float | None = None,
    longer_than: float | None = None,
) -> list[Gap]:
    """Find the gaps of a feed.

    Args:
        feed: its address.
        blocks: for each of its blocks the sorted times of the samples (unix, s).
        notes: what recorders noted.
        start: where to begin (unix, s); None: with the first sample.
        stop: where to end; None: with the last one.
        longer_than: shorter stretches (s) are no gaps.

    Returns:
        The gaps, by the time where they begin. What is not lost is in no two of them.
    """
    noted = list(notes)
    least = max(longer_than or 0.0, _SPACINGS * usual_spacing(blocks))
    lost = [gap for gap in lost_by_notes(feed, noted) if _touches(gap, start, stop)]
    empty = without(stretches(np.concatenate([*blocks, np.zeros(0)]), least, start, stop), _known_spans(lost))
    off = off_spans(agent_of(feed), noted)
    rest, unrecorded = without(empty, off), recorder_off_spans(noted)
    unlike = [
        (AGENT_OFF, common(empty, off)),
        (RECORDER_OFF, common(rest, unrecorded)),
        (NO_DATA, without(rest, unrecorded)),
    ]
    found = [Gap(feed, *span, kind) for kind, spans in unlike for span in spans if span[1] - span[0] > least]
    return sorted([*lost, *found], key=lambda gap: (_known(gap.since, gap.until), gap.kind))


def _known(*moments: float) -> float:
    """Return the first moment that is known."""
    return next((moment for moment in moments if not math.isnan(moment)), -math.inf)


def usual_spacing(blocks: Iterable[Times]) -> float:
    """Return the usual time between two samples (s): the median, of the block in which it is the shortest."""
    spacings = [np.diff(np.unique(times)) for times in blocks]
    return min((float(np.median(spacing)) for spacing in spacings if len(spacing)), default=0.0)


def stretches(times: Times, least: float, start: float | None, stop: float | None) -> list[Span]:
    """Return the stretches without samples.

    Args:
        times: when there are samples (unix, s), in any order.
        least: shorter stretches (s) do not count.
        start: where the first one begins; None: with the first sample.
        stop: where the last one ends; None: with the last sample.
    """
    limits = [moment for moment in (start, stop) if moment is not None]
    edges = np.sort(np.concatenate([times, limits]))
    (found,) = np.nonzero(np.diff(edges) > least)
    return list(zip(edges[found].tolist(), edges[found + 1].tolist(), strict=True))


def lost_by_notes(feed: str, notes: Iterable[Note]) -> list[Gap]:
    """Return what the notes say was lost of a feed, or of its agent, which may not know of which feed.

    Two recorders may say the same, which then counts once.
    """
    told = (note for note in notes if note.kind == LOST and note.subject in (feed, agent_of(feed)))
    return list(dict.fromkeys(Gap(feed, one.since, one.until, LOST, one.samples, one.detail) for one in told))


def _touches(gap: Gap, start: float | None, stop: float | None) -> bool:
    return not ((start is not None and gap.until < start) or (stop is not None and gap.since >= stop))


def _known_spans(found: Iterable[Gap]) -> list[Span]:
    return united((gap.since, gap.until) for gap in found if gap.until >= gap.since)


def off_spans(agent: str, notes: Iterable[Note]) -> list[Span]:
    """Return when an agent was off, by the notes of all recorders.

    Args:
        agent: its address.
        notes: the notes, in the order of time.
    """
    presence = _Presence()
    for note in notes:
        if note.kind not in ("on", "off"):
            continue
        moment = _known(note.since, note.noted)
        if note.subject == note.recorder and note.kind == "off":
            presence.unwatched_since = moment
        if note.subject == agent:
            presence.see(note.kind, note.detail, moment)
    return united(presence.ended())


class _Presence:
    """When one agent was off."""

    def __init__(self) -> None:
        self.unwatched_since = math.nan
        self._spans: list[Span] = []
        self._since: float | None = None
        self._run = ""

    def see(self, kind: str, run: str, moment: float) -> None:
        """Take a note of the agent.

        A run that comes after another without an end of that was begun while no recorder looked.
        """
        if kind == "off":
            self._since = moment if self._since is None else self._since
            return
        if self._since is None and self._run and run != self._run and self.unwatched_since < moment:
            self._since = self.unwatched_since
        if self._since is not None:
            self._spans.append((self._since, _begun(run, self._since, moment)))
        self._since, self._run = None, run

    def ended(self) -> list[Span]:
        """Return the spans; the last one may have no end."""
        return [*self._spans, *([] if self._since is None else [(self._since, math.inf)])]


def _begun(run: str, since: float, seen: float) -> float:
    """Return when a run began: a session id is that time (unix s), unless it makes no sense."""
    with contextlib.suppress(ValueError):
        if since <= float(run) <= seen:
            return float(run)
    return seen


def recorder_off_spans(notes: Iterable[Note]) -> list[Span]:
    """Return when no recorder was on, of those that took notes.

    Args:
        notes: the notes, in the order of time.
    """
    spans: list[Span] = []
    off: dict[str, float] = {}
    for note in notes:
        if note.subject != note.recorder or note.kind not in ("on", "off"):
            continue
        moment = _known(note.since, note.noted)
        if note.kind == "off":
            off.setdefault(note.recorder, moment)
        elif note.recorder in off:
            spans.append((off.pop(note.recorder), moment))
    return united([*spans, *((since, math.inf) for since in off.values())])


def united(spans: Iterable[Span]) -> list[Span]:
    """Return spans sorted, those that touch made one."""
    result: list[Span] = []
    for since, until in sorted(spans):
        if result and since <= result[-1][1]:
            result[-1] = result[-1][0], max(until, result[-1][1])
        else:
            result.append((since, until))
    return result


def common(some: Iterable[Span], others: Sequence[Span]) -> list[Span]:
    """Return where spans overlap others; the others are sorted, and have no overlaps of their own."""
    return [part for span in some for part in _parts_in(span, others)]


def _parts_in(span: Span, others: Sequence[Span]) -> Iterator[Span]:
    since, until = span
    for place in range(bisect_right(others, since, key=lambda other: other[1]), len(others)):
        begin, end = others[place]
        if begin >= until:
            return
        if end > begin:
            yield max(since, begin), min(until, end)


def without(some: Iterable[Span], others: Sequence[Span]) -> list[Span]:
    """Return what is left of spans outside others; the others are sorted, and have no overlaps of their own."""
    left = []
    for since, until in some:
        rest = since
        for begin, end in _parts_in((since, until), others):
            left.append((rest, begin))
            rest = end
        left.append((rest, until))
    return [(since, until) for since, until in left if until > since]
