"""Fields over time, as a picture."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ocs.cli.data_rows import short_names
from ocs.cli.readable import printable
from ocs.errors import RecordingError
from ocs.hk import FieldData, Gap
from ocs.hk.gaps import AGENT_OFF, LOST, NO_DATA, RECORDER_OFF

try:
    from matplotlib import dates
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
except ImportError as error:
    raise RecordingError(f"plots need matplotlib ({error}): pip install 'ocs[plot]'") from error

__all__ = ["broken", "draw", "envelope"]

_WIDTH: Final = 11.0
_PANEL_HEIGHT: Final = 2.9
_MOST_PANELS: Final = 12
_MOST_NAMED: Final = 12
"""A legend with more names than this hides what it explains."""
_BINS: Final = 3000
"""More points than this side by side, and no screen shows them."""
_SHADES: Final = {
    LOST: ("#d62728", 0.30),
    AGENT_OFF: ("#7f7f7f", 0.28),
    RECORDER_OFF: ("#9467bd", 0.22),
    NO_DATA: ("#e6b422", 0.25),
}
_COLOURS: Final = ("#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#393b79")

Times = NDArray[np.float64]


def draw(
    data: Mapping[str, FieldData],
    gaps: Iterable[Gap],
    path: Path,
    *,
    title: str | None = None,
    span: tuple[float | None, float | None] = (None, None),
) -> None:
    """Draw fields over time, a panel for each feed, with what is missing shaded.

    Args:
        data: full name → samples.
        gaps: what is missing of their feeds.
        path: the picture; its suffix says of which kind.
        title: a line above it.
        span: the span of time shown (unix, s); None: as far as there are samples.

    Raises:
        RecordingError: there is nothing that could be drawn.
        OSError: the picture cannot be written.
    """
    feeds = _feeds(data)
    figure = Figure(figsize=(_WIDTH, 0.8 + _PANEL_HEIGHT * len(feeds)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(feeds), 1, sharex=True, squeeze=False)[:, 0]
    missing = list(gaps)
    for panel, (feed, fields) in zip(panels, feeds.items(), strict=True):
        _draw_feed(panel, feed, fields, [gap for gap in missing if gap.feed == feed])
    _draw_time_axis(panels[-1], data, span)
    if title:
        figure.suptitle(_text(title), fontsize=12)
    try:
        figure.savefig(path, dpi=110)
    except ValueError as error:
        raise RecordingError(f"{path} cannot be drawn: {error}") from error


def _feeds(data: Mapping[str, FieldData]) -> dict[str, dict[str, FieldData]]:
    """Return feed → full name → samples, of what can be drawn."""
    feeds: dict[str, dict[str, FieldData]] = defaultdict(dict)
    for name, field in data.items():
        if len(field.times) and field.values.dtype.kind in "bif":
            feeds[name.rpartition(".")[0]][name] = field
    if not feeds:
        texts = any(len(field.times) for field in data.values())
        raise RecordingError("text cannot be drawn" if texts else "there are no samples in that span of time")
    if len(feeds) > _MOST_PANELS:
        raise RecordingError(f"these are fields of {len(feeds)} feeds; at most {_MOST_PANELS} can be drawn at once")
    return feeds


def _draw_feed(panel: Any, feed: str, fields: Mapping[str, FieldData], gaps: Sequence[Gap]) -> None:
    breaks = np.array(sorted(gap.since for gap in gaps if gap.since < gap.until))
    labels = short_names(list(fields))
    for number, (label, field) in enumerate(zip(labels, fields.values(), strict=True)):
        times, values = envelope(field.times, field.values.astype(np.float64), _BINS)
        times, values = broken(times, values, breaks)
        style = {"drawstyle": "steps-post"} if field.values.dtype.kind == "b" else {}
        marker = "." if len(times) <= 2 + len(breaks) else None
        colour = _COLOURS[number % len(_COLOURS)]
        panel.plot(_dates(times), values, label=_text(label), lw=0.9, color=colour, marker=marker, **style)
    for gap in gaps:
        if gap.since < gap.until:
            colour, alpha = _SHADES[gap.kind]
            panel.axvspan(*_dates(np.array([gap.since, gap.until])), color=colour, alpha=alpha, lw=0, zorder=0)
    panel.set_title(_text(feed), loc="left", fontsize=10)
    panel.grid(alpha=0.3, lw=0.5)
    panel.margins(x=0)
    panel.ticklabel_format(axis="y", useOffset=False)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    _draw_legend(panel, [gap.kind for gap in gaps if gap.since < gap.until])


def _draw_legend(panel: Any, kinds: Sequence[str]) -> None:
    lines, labels = panel.get_legend_handles_labels()
    shown = list(zip(lines, labels, strict=True))
    if len(shown) > _MOST_NAMED:
        rest = len(shown) - _MOST_NAMED + 1
        shown = [*shown[: _MOST_NAMED - 1], (Patch(alpha=0), f"… and {rest} more")]
    shown += [
        (Patch(color=colour, alpha=alpha, lw=0), kind) for kind, (colour, alpha) in _SHADES.items() if kind in kinds
    ]
    panel.legend(
        *zip(*shown, strict=True),
        loc="upper left",
        bbox_to_anchor=(1.005, 1.0),
        borderaxespad=0,
        fontsize=8,
        frameon=False,
    )


def _draw_time_axis(panel: Any, data: Mapping[str, FieldData], span: tuple[float | None, float | None]) -> None:
    ends = [moment for field in data.values() if len(field.times) for moment in (field.times[0], field.times[-1])]
    first = min(ends) if span[0] is None else span[0]
    last = max(ends) if span[1] is None else span[1]
    if last > first:
        panel.set_xlim(*_dates(np.array([first, last])))
    locator = dates.AutoDateLocator()
    panel.xaxis.set_major_locator(locator)
    panel.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    panel.set_xlabel("UTC")


def _dates(times: Times) -> Any:
    return (times * 1e6).astype("datetime64[us]")


def _text(text: str) -> str:
    # A dollar sign would begin a formula.
    return printable(text).replace("$", r"\$")


def envelope(times: Times, values: Times, bins: int) -> tuple[Times, Times]:
    """Return fewer samples that look the same: of each of many stretches the least and the largest value.

    Args:
        times: when they were measured, sorted.
        values: the values.
        bins: into how many stretches of the same number of samples they are divided; up to four times as many are
            returned as they are.
    """
    if len(times) <= 4 * bins:
        return times, values
    size = -(-len(times) // bins)
    starts = np.arange(0, len(times), size)
    chosen: set[int] = set()
    for start in starts.tolist():
        part = values[start : start + size]
        known = np.flatnonzero(~np.isnan(part))
        places = known[[part[known].argmin(), part[known].argmax()]] if len(known) else np.zeros(1, int)
        chosen.update((start + places).tolist())
    kept = np.array(sorted(chosen | {0, len(times) - 1}))
    return times[kept], values[kept]


def broken(times: Times, values: Times, breaks: Times) -> tuple[Times, Times]:
    """Interrupt a line after the moments where gaps begin."""
    places = np.searchsorted(times, breaks, side="right")
    inner = (places > 0) & (places < len(times))
    return np.insert(times, places[inner], breaks[inner]), np.insert(values, places[inner], np.nan)
