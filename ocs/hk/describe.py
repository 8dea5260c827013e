"""What is in a frame: of which feed, which blocks, from when to when. The index has a line of it for every frame."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

try:
    import numpy as np
except ImportError as error:
    from ocs.errors import RecordingLibraryError

    raise RecordingLibraryError.because(error) from error

from ocs.hk.layout import BlockPlace, FrameHead, UnfamiliarError, block_places, frame_head, plain_value

__all__ = ["DATA", "BlockInfo", "FrameInfo", "describe", "describe_decoded"]

DATA: Final = "data"
_KINDS: Final = {0: "session", 1: "status", 2: DATA}
_OTHER: Final = "other"
_OLDEST_SCHEMA: Final = 2

_FIELD_KINDS: Final = {"G3VectorDouble": "f", "G3VectorInt": "i", "G3VectorBool": "b", "G3VectorString": "s"}


class BlockInfo(NamedTuple):
    """What is in one block of a frame."""

    name: str
    """The block's name."""
    start: int
    """Time of its earliest sample, in steps of 10 ns since 1970."""
    end: int
    """Time of its latest sample."""
    samples: int
    """How many samples there are."""
    fields: Mapping[str, str]
    """Field → ``f`` (float), ``i`` (integer), ``b`` (boolean) or ``s`` (text)."""


class FrameInfo(NamedTuple):
    """What is in a frame."""

    kind: str
    """``session``, ``status``, ``data`` or ``other``."""
    address: str = ""
    """The feed's address, of a data frame."""
    session: str = ""
    """The session id of the agent that published it."""
    blocks: tuple[BlockInfo, ...] = ()
    """The blocks, in their order in the frame."""


def describe(content: bytes | memoryview, head: FrameHead | None = None) -> FrameInfo:
    """Tell what is in a frame, from its bytes alone.

    Args:
        content: the whole frame, as it is in a file.
        head: its pieces, if they are known.

    Raises:
        UnfamiliarError: it is not laid out as the frames of today are; `describe_decoded` may know.
        TornFrameError: it is no whole frame.
    """
    pieces = (head or frame_head(lambda place, count: bytes(content[place : place + count]))).pieces

    def value(name: str) -> Any:
        begin, end = pieces[name]
        return plain_value(bytes(content[begin:end]))

    if "hkagg_type" not in pieces or (head is not None and not head.housekeeping):
        return FrameInfo(_OTHER)
    kind = _KINDS.get(value("hkagg_type"), _OTHER)
    if kind != DATA:
        return FrameInfo(kind)
    try:
        if value("hkagg_version") < _OLDEST_SCHEMA:
            raise UnfamiliarError("the frame is of an older schema")
        places = block_places(content, *pieces["blocks"])
        blocks = tuple(
            _block_info(name, place, content) for name, place in zip(value("block_names"), places, strict=False)
        )
        return FrameInfo(kind, value("address"), value("provider_session_id"), blocks)
    except (KeyError, TypeError) as error:
        raise UnfamiliarError(f"the data frame has no usual {error}") from error


def _block_info(name: str, place: BlockPlace, content: bytes | memoryview) -> BlockInfo:
    ticks = np.frombuffer(content, "<i8", place.samples, place.ticks)
    kinds = {field: where.kind for field, where in place.fields.items()}
    return BlockInfo(name, *_span(ticks), place.samples, kinds)


def _span(ticks: Any) -> tuple[int, int]:
    return (int(ticks.min()), int(ticks.max())) if len(ticks) else (0, 0)


def describe_decoded(frame: Any, translate: Callable[[Any], list[Any]]) -> FrameInfo:
    """Tell what is in a frame that spt3g has decoded; for those of older schemas.

    Args:
        frame: the `G3Frame`.
        translate: so3g's translator.

    Raises:
        KeyError, TypeError, AttributeError, RuntimeError: it is no housekeeping frame.
    """
    if "hkagg_type" not in frame:
        return FrameInfo(_OTHER)
    (frame,) = translate(frame)
    kind = _KINDS.get(int(frame["hkagg_type"]), _OTHER)
    if kind != DATA:
        return FrameInfo(kind)
    blocks = tuple(
        _decoded_info(str(name), block) for name, block in zip(frame["block_names"], frame["blocks"], strict=False)
    )
    session = str(frame["provider_session_id"]) if "provider_session_id" in frame else ""
    return FrameInfo(kind, str(frame["address"]), session, blocks)


def _decoded_info(name: str, block: Any) -> BlockInfo:
    ticks = np.asarray(block.times)
    kinds = {str(field): _FIELD_KINDS[type(block[field]).__name__] for field in block.keys()}  # noqa: SIM118
    return BlockInfo(name, *_span(ticks), len(ticks), kinds)
