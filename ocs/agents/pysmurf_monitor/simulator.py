"""A SMuRF server's publisher, without the server: writes the files of a simulation and announces them."""

import random
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ocs.agents.pysmurf_monitor.simulation import Message, Plan
from ocs.errors import SimulatorError

__all__ = ["Publisher", "Sender", "Tally"]

_BLOCK: Final = 1 << 20
"""Bytes of a file that are made and written at a time."""
_ARRAY_HEAD: Final = 128
"""Bytes before the data of NumPy's format, version 1.0."""


@dataclass(slots=True)
class Tally:
    """What has been published so far.

    Attributes:
        files: files announced.
        written: bytes in files.
        datagrams: all that were sent.
        seconds: how long it took.
    """

    files: int = 0
    written: int = 0
    datagrams: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Files a second."""
        return self.files / self.seconds if self.seconds else 0.0


class Sender:
    """A UDP socket to one address.

    Args:
        host: a name or an address.
        port: of the monitor.

    Attributes:
        unheard: how often the system said that nobody listens there; it knows of its own ports only, and late.

    Raises:
        SimulatorError: the host has no address.
    """

    def __init__(self, host: str, port: int) -> None:
        self.unheard = 0
        self._name = f"{host}:{port}"
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, kind)
            self._socket.connect(address)
        except OSError as error:
            raise SimulatorError(f"nothing can be sent to {self._name}: {error.strerror or error}") from error

    def __call__(self, data: bytes) -> None:
        """Send one datagram.

        Raises:
            SimulatorError: the system cannot send it.
        """
        try:
            try:
                self._socket.send(data)
            except ConnectionRefusedError:  # meant is an earlier datagram; this one has not been sent
                self.unheard += 1
                self._socket.send(data)
        except ConnectionRefusedError:
            self.unheard += 1
        except OSError as error:
            raise SimulatorError(f"nothing can be sent to {self._name}: {error.strerror}") from error

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class Publisher:
    """Writes files and announces them, each at its time.

    Args:
        plan: what the messages were made from.
        send: takes a datagram.
        files: whether files are written at all.
        late: how long after its announcement a file is written (s); 0 = before it.
        speed: how many seconds of the messages go by in one.
        clock: a time that only goes on (s).
        sleep: waits so long (s).

    Attributes:
        tally: what has been published so far.
    """

    def __init__(
        self,
        plan: Plan,
        send: Callable[[bytes], None],
        *,
        files: bool = True,
        late: float = 0.0,
        speed: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.tally = Tally()
        self._plan, self._send, self._files, self._late, self._speed = plan, send, files, late, speed
        self._clock, self._sleep = clock, sleep
        self._owed: deque[tuple[float, Message]] = deque()
        self._known: set[str] = set()

    def publish(self, messages: Iterable[Message], told: Callable[[Tally], None] = lambda _: None) -> None:
        """Publish messages that are in the order of their times; where that takes too long, as fast as it goes.

        Files that are still owed when it ends or is broken off are written at once.

        Args:
            messages: what to publish.
            told: called after each.

        Raises:
            SimulatorError: a file cannot be written, or a datagram not sent.
        """
        began = self._clock()
        try:
            for message in messages:
                self._wait_until(began + message.at / self._speed)
                self._publish(message)
                self.tally.seconds = self._clock() - began
                told(self.tally)
            self._wait_until(self._owed[-1][0] if self._owed else 0.0)
        finally:
            self._write_owed()

    def _publish(self, message: Message) -> None:
        if message.file and self._files:
            self._write_or_owe(message)
        self._send(message.datagram(self._plan.start, self.tally.datagrams))
        self.tally.datagrams += 1
        self.tally.files += bool(message.file)

    def _write_or_owe(self, message: Message) -> None:
        if self._late:
            self._owed.append((self._clock() + self._late, message))
        else:
            self._write(message)

    def _wait_until(self, moment: float) -> None:
        while self._owed and self._owed[0][0] <= max(moment, self._clock()):
            due, message = self._owed[0]
            self._pause(due)
            self._write(message)
            self._owed.popleft()
        self._pause(moment)

    def _pause(self, moment: float) -> None:
        if (left := moment - self._clock()) > 0:
            self._sleep(left)

    def _write_owed(self) -> None:
        while self._owed:
            self._write(self._owed.popleft()[1])

    def _write(self, message: Message) -> None:
        try:
            self._make_folder(message.file.rpartition("/")[0])
            with open(message.file, "wb", buffering=0) as file:  # noqa: PTH123 - a Path costs as much as the file
                file.writelines(_content(message, self._plan.seed))
        except OSError as error:
            raise SimulatorError(f"{message.file} cannot be written: {error.strerror}") from error
        self.tally.written += message.size

    def _make_folder(self, folder: str) -> None:
        if folder not in self._known:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self._known.add(folder)


def _content(message: Message, seed: int) -> Iterator[bytes]:
    """Yield a file's content, different for each: an array that NumPy can load, where it is one, or else noise."""
    head = _array_head(message.size) if message.file.endswith(".npy") else b""
    left = message.size - len(head)
    noise = random.Random(f"{seed} {message.file}").randbytes(min(left, _BLOCK))  # noqa: S311 - the same each time
    yield head + noise
    for begin in range(_BLOCK, left, _BLOCK):
        yield noise[: left - begin]


def _array_head(size: int) -> bytes:
    """Return what stands before an array of bytes in a file of so many bytes; nothing if there is no room for it."""
    if size <= _ARRAY_HEAD:
        return b""
    shape = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size - _ARRAY_HEAD},)}}"
    text = shape.ljust(_ARRAY_HEAD - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()
