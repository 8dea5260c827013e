"""A provider: one run of one feed, its samples collected until they go into a frame."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from ocs.agents.aggregator import frames
from ocs.agents.aggregator.blocks import (
    MAX_PACKED_WASTE,
    ROWS_PER_PIECE,
    BlockBuffer,
    FinishedBlock,
    Piece,
    pieces_of,
    pieces_of_packed,
)
from ocs.agents.aggregator.columns import Values, as_times
from ocs.agents.aggregator.messages import (
    DEFAULT_FRAME_LENGTH,
    DEFAULT_FRESH_TIME,
    Fault,
    RawBlock,
    raw_blocks,
    text_length,
)
from ocs.agents.aggregator.schema import FeedSchema, Layout
from ocs.feeds.packed import PackedData

__all__ = ["MAX_BLOCKS", "MAX_FRAME_BYTES", "BlockView", "Provider"]

MAX_FRAME_BYTES: Final = 1024 * 1024
"""A frame is written before its time once it holds this much (bytes): it bounds memory, and readers like it."""

MAX_BLOCKS: Final = 500
"""Blocks in one frame; a feed that changes its fields all the time gets its frames early."""

_MANY_IN_A_ROW: Final = 8
"""Packed messages after which it pays to give the rows that came before them their types."""

_RAW_BYTES: Final = 40
_TYPED_BYTES: Final = 8


def _plain(values: Values) -> list[Any]:
    return values if isinstance(values, list) else list(values.tolist())


class BlockView:
    """What a provider holds of one block, in plain Python values."""

    def __init__(self, pieces: list[Piece]) -> None:
        self.timestamps: list[float] = [when for piece in pieces for when in as_times(piece.ticks).tolist()]
        self.data: dict[str, list[Any]] = {
            field: [value for piece in pieces for value in _plain(piece.columns[field])] for field in pieces[0].columns
        }


class Provider:
    """Collects the samples of one run of a feed. For one thread only.

    Args:
        address: the feed's address.
        sessid: the session id of the agent that publishes it.
        prov_id: the number that the recording session gave to the provider.
        frame_length: seconds from the first sample of a frame until it is due.
        fresh_time: seconds without data after which the provider is stale.
        clock: gives the time (unix, s).
        schema: what is known of the feed's names; a new one if not given.
        report: called with every `Fault` found in a message.

    Attributes:
        frame_start_time: when the first sample of the coming frame arrived (unix, s), None while there is none.
        last_refresh: when data last arrived (unix, s).
        last_block_received: the name of the last block received.
        size: about how much memory the samples take (bytes).
        first_index: the journal's number of the oldest message that is held, None while none is.
        last_index: the journal's number of the last message taken in, None before the first.
    """

    def __init__(
        self,
        address: str,
        sessid: str,
        prov_id: int,
        frame_length: float = DEFAULT_FRAME_LENGTH,
        fresh_time: float = DEFAULT_FRESH_TIME,
        *,
        clock: Callable[[], float] = time.time,
        schema: FeedSchema | None = None,
        report: Callable[[Fault], None] = lambda fault: None,  # noqa: ARG005 - nobody listens
    ) -> None:
        self.address = address
        self.sessid = sessid
        self.prov_id = prov_id
        self.frame_length = frame_length
        self.fresh_time = fresh_time
        self.frame_start_time: float | None = None
        self.last_refresh = clock()
        self.last_block_received: str | None = None
        self.size = 0
        self.first_index: int | None = None
        self.last_index: int | None = None
        self._clock = clock
        self._schema = schema or FeedSchema()
        self._report = report
        self._buffers: dict[str, BlockBuffer] = {}
        self._packed_in_a_row = 0

    def encoded(self) -> dict[str, Any]:
        """Return the provider's entry of ``session.data``."""
        return {
            "last_refresh": self.last_refresh,
            "sessid": self.sessid,
            "stale": self.stale(),
            "last_block_received": self.last_block_received,
        }

    @property
    def blocks(self) -> dict[str, BlockView]:
        """The samples held, by the name of their block in the archive; for looking, it is made anew every time."""
        self._settle_all()
        return {name: BlockView(list(b.pieces)) for name, b in self._buffers.items() if b.pieces}

    def refresh(self) -> None:
        """Note that data arrived."""
        self.last_refresh = self._clock()

    def stale(self) -> bool:
        """Tell whether the provider has been silent for longer than its `fresh_time`."""
        return self._clock() - self.last_refresh > self.fresh_time

    def new_frame_time(self) -> bool:
        """Tell whether a frame is due: because of its age, or because it is as large as a frame should be."""
        if self.frame_start_time is None:
            return False
        full = self.size > MAX_FRAME_BYTES or len(self._buffers) > MAX_BLOCKS
        return full or self._clock() - self.frame_start_time >= self.frame_length

    def empty(self) -> bool:
        """Tell whether no sample is held."""
        return all(buffer.empty() for buffer in self._buffers.values())

    def save_to_block(self, data: Mapping[str, Any], index: int | None = None) -> None:
        """Take in a message's blocks; what cannot be used is reported and left out.

        Args:
            data: block name → ``{"block_name", "timestamps": [...], "data": {field: [...]}}``.
            index: the message's number in the journal, if there is one.
        """
        self.refresh()
        if isinstance(data, PackedData):
            self._packed_in_a_row += 1
            self._take_packed(data)
        else:
            self._packed_in_a_row = 0
            self._take_blocks(data)
        self._note(index)

    def _note(self, index: int | None) -> None:
        """Remember the number of a message that has been taken in; one without any use need not be kept for us."""
        if index is not None:
            self.last_index = index
            if self.first_index is None and self.frame_start_time is not None:
                self.first_index = index

    def _take_blocks(self, data: object) -> None:
        for block in raw_blocks(data):
            if isinstance(block, Fault):
                self._report(block)
            else:
                self._take(block)

    def _take(self, block: RawBlock) -> None:
        layout, buffer = self._place(block.name, block.fields)
        if buffer.packed is not None:
            self._settle(buffer)
        buffer.extend(block.timestamps, layout.fields, block.columns)
        self._taken(layout, _raw_size(block))
        if buffer.raw_rows >= ROWS_PER_PIECE:
            self._settle(buffer)

    def _take_packed(self, data: PackedData) -> None:
        """Take in a packed message; it joins rows that wait and were not packed, unless only packed ones come."""
        places = [self._place(block.name, block.fields) for block in data.blocks]
        if self._packed_in_a_row < _MANY_IN_A_ROW and any(buffer.raw_rows for _, buffer in places):
            self._take_blocks(data.unpacked())
            return
        for block, (layout, buffer) in zip(data.blocks, places, strict=True):
            if buffer.raw_rows or (buffer.packed is not None and buffer.packed.layout is not block):
                self._settle(buffer)
            buffer.extend_packed(data.payload, block, layout.fields)
            self._taken(layout, block.share)
            if buffer.packed_waste > MAX_PACKED_WASTE:
                self._settle(buffer)

    def _place(self, name: object, fields: tuple[Any, ...]) -> tuple[Layout, BlockBuffer]:
        layout = self._schema.layout(name, fields)
        return layout, self._buffer(layout.block, layout.base, layout.fields)

    def _taken(self, layout: Layout, size: int) -> None:
        if layout.corrected:
            self._report(Fault("names", 0, f"illegal field names of block {layout.base!r} are corrected"))
        self.size += size
        self.last_block_received = layout.base
        if self.frame_start_time is None:
            self.frame_start_time = self._clock()

    def _buffer(self, name: str, base: str, fields: tuple[str, ...]) -> BlockBuffer:
        buffer = self._buffers.get(name)
        if buffer is None:
            buffer = self._buffers[name] = BlockBuffer(name, base, fields)
        return buffer

    def _settle_all(self) -> None:
        for buffer in list(self._buffers.values()):
            self._settle(buffer)

    def _settle(self, buffer: BlockBuffer) -> None:
        """Give the rows that wait in ``buffer`` their types; some may turn out to belong to another block."""
        if buffer.raw_rows:
            timestamps, raw = buffer.take_raw()
            self.size -= (_RAW_BYTES - _TYPED_BYTES) * len(timestamps) * len(raw)
            self._store_all(buffer.base, pieces_of(timestamps, raw, self._field_name))
        elif (packed := buffer.take_packed()) is not None:
            self.size -= packed.waste
            self._store_all(buffer.base, pieces_of_packed(packed, self._field_name))

    def _store_all(self, base: str, pieces: Iterable[Piece | Fault]) -> None:
        for piece in pieces:
            if isinstance(piece, Fault):
                self._report(piece)
            else:
                self._store(base, piece)

    def _store(self, base: str, piece: Piece) -> None:
        fields = tuple(piece.columns)
        self._buffer(self._schema.block(base, frozenset(fields)), base, fields).add(piece)

    def _field_name(self, field: str, text: bool) -> str:
        return self._schema.field(field, text=text)

    def finished(self) -> list[FinishedBlock]:
        """Return everything held, one array per field."""
        self._settle_all()
        blocks = [buffer.joined(self._schema.widen) for buffer in self._buffers.values()]
        return [block for block in blocks if block is not None]

    def clear(self) -> None:
        """Forget everything held."""
        self._buffers.clear()
        self.frame_start_time = self.first_index = None
        self.size = 0

    def to_frame(self, hksess: Any = None, clear: bool = False) -> Any:
        """Make a data frame of everything held.

        Args:
            hksess: the so3g session helper that the frame belongs to; without one the frame carries the blocks only.
            clear: forget the samples that are in the frame.

        Returns:
            A `G3Frame`.
        """
        frame = frames.data_frame(hksess, self.prov_id, self._clock())
        frames.fill(frame, self.address, self.sessid, self.finished(), self._report)
        if clear:
            self.clear()
        return frame


def _raw_size(block: RawBlock) -> int:
    texts = [column for column in block.columns if type(column[0]) is str]
    return _RAW_BYTES * len(block.timestamps) * len(block.columns) + sum(map(text_length, texts))
