"""Cutting the byte stream of a WebSocket into frames (RFC 6455, 5.2), for the kind of frame that nearly all are."""

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["CutFrame", "FrameCutter", "FrameTooLargeError"]

_MESSAGE_STARTS = (0x81, 0x82)
"""First bytes of an unfragmented, uncompressed text or binary message."""


class CutFrame(NamedTuple):
    """One whole frame.

    Attributes:
        payload: the message, if the frame is a whole message that was not masked; else None.
        text: whether the message is text.
        raw: the frame as it came, if it is of another kind (control, fragment, masked, compressed); else empty.
    """

    payload: bytes | None
    text: bool
    raw: bytes


class FrameTooLargeError(ValueError):
    """A frame announces more bytes than are accepted."""


class FrameCutter:
    """Takes bytes as they come from the network and gives whole frames.

    Args:
        limit: the largest payload that is accepted, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunks: list[bytes] = []
        self._held = 0
        self._needed = 0

    def feed(self, data: bytes) -> Iterator[CutFrame]:
        """Take bytes; give the frames that are whole now.

        Args:
            data: what has come, cut anywhere.

        Raises:
            FrameTooLargeError: if a frame announces more than the limit; the stream is of no use from there on.
        """
        self._chunks.append(data)
        self._held += len(data)
        if self._held < self._needed:
            return
        buffer = b"".join(self._chunks) if len(self._chunks) > 1 else data
        start = 0
        while True:
            head, size = _measure(buffer, start)
            if size > self._limit:
                raise FrameTooLargeError(f"a frame of {size:,} bytes; at most {self._limit:,} are accepted")
            if len(buffer) - start < head + size:
                break
            end = start + head + size
            yield _frame(buffer, start, start + head, end)
            start = end
        rest = buffer[start:]
        self._chunks = [rest] if rest else []
        self._held, self._needed = len(rest), head + size


def _frame(buffer: bytes, start: int, body: int, end: int) -> CutFrame:
    first, masked = buffer[start], buffer[start + 1] & 0x80
    if first in _MESSAGE_STARTS and not masked:
        return CutFrame(buffer[body:end], first == _MESSAGE_STARTS[0], b"")
    return CutFrame(None, False, buffer[start:end])


def _measure(buffer: bytes, start: int) -> tuple[int, int]:
    """Return the sizes of a frame's header and body; of as much of the header as is needed to know more."""
    if len(buffer) - start < 2:  # noqa: PLR2004 - RFC 6455, 5.2
        return 2, 0
    second = buffer[start + 1]
    mask, length = (4 if second & 0x80 else 0), second & 0x7F
    wide = {126: 2, 127: 8}.get(length, 0)
    if not wide:
        return 2 + mask, length
    if len(buffer) - start < 2 + wide:
        return 2 + wide, 0
    return 2 + wide + mask, int.from_bytes(buffer[start + 2 : start + 2 + wide], "big")
