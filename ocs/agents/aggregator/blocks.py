"""One block of a feed on its way to a frame: rows as they came, then typed pieces, then one array per field."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ocs.agents.aggregator.columns import Column, Ticks, Values, as_ticks, split_kinds, ticks_of, widest
from ocs.agents.aggregator.messages import Fault
from ocs.feeds.packed import PackedBlock, floats

__all__ = [
    "MAX_PACKED_WASTE",
    "ROWS_PER_PIECE",
    "BlockBuffer",
    "FinishedBlock",
    "Piece",
    "pieces_of",
    "pieces_of_packed",
]

ROWS_PER_PIECE: Final = 128
"""Rows collected before their types are looked at: enough for the arrays to pay, few enough to cost no memory."""

MAX_PACKED_WASTE: Final = 1 << 15
"""Bytes of packed messages, beyond those of their numbers, at which the numbers are taken out."""

Naming = Callable[[str, bool], str]
"""Gives the name for a field's numbers (False) or texts (True)."""


class Piece(NamedTuple):
    """Some samples of a block: every field has one type and as many values as there are times."""

    ticks: Ticks
    columns: dict[str, Values]


class FinishedBlock(NamedTuple):
    """A block as it is written into a frame."""

    name: str
    ticks: Ticks
    columns: dict[str, Values]

    @property
    def values(self) -> int:
        """How many values the block holds, times not counted."""
        return len(self.ticks) * len(self.columns)


class PackedRows(NamedTuple):
    """Rows that are still packed in their messages."""

    payloads: list[bytes]
    layout: PackedBlock
    """Where the numbers are in each of them."""
    fields: tuple[str, ...]
    """The legal names of the layout's columns."""

    @property
    def waste(self) -> int:
        """How many bytes they take beyond what their numbers will."""
        return len(self.payloads) * self.layout.waste


class BlockBuffer:
    """Collects the samples of one block, that is of one name and one set of fields.

    What waits to have its types looked at is either rows as they came, or packed rows: one kind is to be taken before
    the other is added.

    Args:
        name: the block's name in the archive.
        base: its name as published; pieces with other fields get names derived from this one.
        fields: the legal names of its fields.

    Attributes:
        packed: the packed rows that wait, None while none does.
    """

    def __init__(self, name: str, base: str, fields: Sequence[str]) -> None:
        self.name = name
        self.base = base
        self._raw_times: list[Any] = []
        self._raw: dict[str, list[Any]] = {field: [] for field in fields}
        self._pieces: list[Piece] = []
        self.packed: PackedRows | None = None

    @property
    def packed_waste(self) -> int:
        """Bytes that the packed rows take beyond what their numbers will."""
        return 0 if self.packed is None else self.packed.waste

    @property
    def raw_rows(self) -> int:
        """How many rows wait to have their types looked at."""
        return len(self._raw_times)

    def empty(self) -> bool:
        """Tell whether the block holds no sample."""
        return not self._raw_times and not self._pieces and self.packed is None

    def extend(self, timestamps: Sequence[Any], fields: Sequence[str], columns: Sequence[Sequence[Any]]) -> None:
        """Add rows as they came: ``columns`` in the order of ``fields``, all as long as ``timestamps``."""
        self._raw_times.extend(timestamps)
        raw = self._raw
        for field, column in zip(fields, columns, strict=True):
            raw[field].extend(column)

    def add(self, piece: Piece) -> None:
        """Add samples whose types are known."""
        self._pieces.append(piece)

    def take_raw(self) -> tuple[list[Any], dict[str, list[Any]]]:
        """Hand over the rows that wait: their timestamps and columns."""
        taken = self._raw_times, self._raw
        self._raw_times, self._raw = [], {field: [] for field in self._raw}
        return taken

    def extend_packed(self, payload: bytes, layout: PackedBlock, fields: tuple[str, ...]) -> None:
        """Add the rows of a packed message.

        Args:
            payload: the message, of the same layout as those that wait.
            layout: where the numbers are.
            fields: the legal names of the layout's columns.
        """
        if self.packed is None:
            self.packed = PackedRows([], layout, fields)
        self.packed.payloads.append(payload)

    def take_packed(self) -> PackedRows | None:
        """Hand over the packed rows that wait."""
        taken, self.packed = self.packed, None
        return taken

    def joined(self, widen: Callable[[str, np.dtype[Any]], np.dtype[Any]]) -> FinishedBlock | None:
        """Return the pieces as one.

        Args:
            widen: gives the type in which a field of a given type is written.

        Returns:
            The block, or None if it holds nothing.
        """
        pieces = self._pieces
        if not pieces:
            return None
        ticks = np.concatenate([piece.ticks for piece in pieces])
        columns = {field: _joined(field, [p.columns[field] for p in pieces], widen) for field in pieces[0].columns}
        return FinishedBlock(self.name, ticks, columns)

    @property
    def pieces(self) -> Sequence[Piece]:
        """The typed samples, in the order they came."""
        return self._pieces


def _joined(field: str, parts: list[Any], widen: Callable[[str, np.dtype[Any]], np.dtype[Any]]) -> Values:
    if isinstance(parts[0], list):
        return [text for part in parts for text in part]
    arrays: list[NDArray[Any]] = parts
    return np.concatenate(arrays, dtype=widen(field, widest([array.dtype for array in arrays])))


def pieces_of(timestamps: Sequence[Any], raw: Mapping[str, Sequence[Any]], naming: Naming) -> Iterator[Piece | Fault]:
    """Give rows their types; rows that lack a usable value of some field become pieces without that field.

    Args:
        timestamps: as they came.
        raw: field → column as it came, all as long as ``timestamps``.
        naming: gives the name for a field's numbers or texts.

    Yields:
        Pieces, and a fault for what is dropped.
    """
    ticks, rows, bad_time = as_ticks(timestamps)
    if rows is not None:
        dropped = (len(timestamps) - len(rows)) * len(raw)
        yield Fault("timestamps", dropped, f"a timestamp is {bad_time}")
        raw = {field: [column[row] for row in rows] for field, column in raw.items()}
    if not len(ticks):
        return
    columns: dict[str, Column] = {}
    for field, values in raw.items():
        kinds, unusable = split_kinds(values)
        if unusable:
            yield Fault("values", len(unusable), f"field {field} has {len(unusable)} values that cannot be recorded")
        for column in kinds:
            columns[naming(field, column.text)] = column
    yield from _grouped(ticks, columns)


def pieces_of_packed(packed: PackedRows, naming: Naming) -> Iterator[Piece | Fault]:
    """Give packed rows their types.

    Args:
        packed: the rows.
        naming: gives the name for a field's numbers or texts.

    Yields:
        Pieces, and a fault for what is dropped.
    """
    layout, joined, count = packed.layout, b"".join(packed.payloads), len(packed.payloads)
    seconds = floats(joined, count, layout.times, layout.rows)
    columns = {
        field: floats(joined, count, offset, layout.rows)
        for field, offset in zip(packed.fields, layout.columns, strict=True)
    }
    ticks = ticks_of(seconds)
    if ticks is not None:
        yield Piece(ticks, {naming(field, False): column for field, column in columns.items()})
    else:
        yield from pieces_of(seconds.tolist(), {field: column.tolist() for field, column in columns.items()}, naming)


def _grouped(ticks: Ticks, columns: dict[str, Column]) -> Iterator[Piece]:
    """Yield one piece per set of fields that rows have."""
    if not columns:
        return
    if all(column.rows is None for column in columns.values()):
        yield Piece(ticks, {name: column.values for name, column in columns.items()})
        return
    fields = list(columns)
    position = {name: _positions(column, len(ticks)) for name, column in columns.items()}
    present = np.column_stack([position[name] >= 0 for name in fields])
    patterns, of_row = np.unique(present, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        rows = np.flatnonzero(of_row.reshape(-1) == number)
        names = [name for name, there in zip(fields, pattern, strict=True) if there]
        if names:
            yield Piece(ticks[rows], {name: _chosen(columns[name].values, position[name][rows]) for name in names})


def _positions(column: Column, length: int) -> NDArray[np.intp]:
    """Return where each row's value is in the column's values, -1 where there is none."""
    if column.rows is None:
        return np.arange(length)
    positions = np.full(length, -1, dtype=np.intp)
    positions[column.rows] = np.arange(len(column.rows))
    return positions


def _chosen(values: Values, positions: NDArray[np.intp]) -> Values:
    if isinstance(values, list):
        return [values[position] for position in positions]
    return values[positions]
