"""Messages of a feed that came one after the other and are built alike: their numbers become lines together.

It is the events that are still packed (`ocs.feeds.packed`) that this is about; any other is a run of its own.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from ocs.influx.lines import LATEST, Floats, Lines, encode, exactly, line_times
from ocs.influx.points import message_lines, source_of

__all__ = ["Run", "run_lines", "runs_of"]

_MOST_VALUES: Final = 100_000
"""Values up to which messages are put together: their lines are some MiB in memory for a moment."""

Source = tuple[str, str]


class Run(NamedTuple):
    """Messages that become lines together."""

    feed: Mapping[str, Any]
    """The first one's envelope."""
    messages: list[Any]
    """Their data: one of any make, or some that are packed in the same way."""
    template: Any = None
    """How these are packed; None for one that is not."""

    @property
    def is_full(self) -> bool:
        """Whether it should not get any longer."""
        return bool(len(self.messages) * self.template.values >= _MOST_VALUES)


def runs_of(events: Iterable[tuple[Any, Mapping[str, Any]]]) -> Iterator[Run]:
    """Put events together; those of a feed stay in their order.

    Args:
        events: pairs of data and envelope.
    """
    growing: dict[Source | None, Run] = {}
    for data, feed in events:
        template = getattr(data, "template", None)
        source = source_of(feed)
        run = growing.get(source)
        if run is not None and run.template is template and not run.is_full:
            run.messages.append(data)
            continue
        if run is not None:
            yield growing.pop(source)
        if template is None:
            yield Run(feed, [data])
        else:
            growing[source] = Run(feed, [data], template)
    yield from growing.values()


def run_lines(run: Run, nanoseconds: Callable[[float], int] = exactly) -> Lines:
    """Make lines of a run, as `message_lines` does of each of its messages.

    Args:
        run: the messages.
        nanoseconds: makes times for InfluxDB of unix times (s).
    """
    if run.template is None:
        return message_lines(run.messages[0], run.feed, nanoseconds)
    source = source_of(run.feed)
    if source is None:
        return Lines([], Counter(envelope=len(run.messages)))
    return _packed_lines(run, source, nanoseconds)


def _packed_lines(run: Run, source: Source, nanoseconds: Callable[[float], int]) -> Lines:
    from ocs.feeds.packed import floats  # noqa: PLC0415 - NumPy is slow to load, and not everywhere

    count = len(run.messages)
    payloads = b"".join([message.payload for message in run.messages])
    rows: list[str] = []
    left_out: Counter[str] = Counter()
    for block in run.template.blocks:
        times = _times(floats(payloads, count, block.times, block.rows), nanoseconds)
        columns = {
            field: Floats(floats(payloads, count, offset, block.rows).tolist())
            for field, offset in zip(block.fields, block.columns, strict=True)
        }
        lines = encode(*source, times, columns)
        rows += lines.rows
        left_out += lines.left_out
    return Lines(rows, left_out)


def _times(stamps: Any, nanoseconds: Callable[[float], int]) -> Sequence[int | None]:
    """Return moments as `line_times` does, of an array of unix times (s)."""
    if nanoseconds is exactly and bool((abs(stamps) < LATEST).all()):
        found: list[int | None] = (stamps * 1e9).astype("int64").tolist()
        return found
    return line_times(stamps.tolist(), nanoseconds)
