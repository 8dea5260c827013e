"""The receiver, a program of its own: takes datagrams from a UDP socket and appends them to a journal.

Nobody else's work holds it up, so it loads little and does nothing else. Once it has begun it ends when its standard
input does, or on SIGTERM: it takes what is in the socket, brings it to the disk, and exits.
"""

import argparse
import json
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ocs.agents.pysmurf_monitor.arrivals import pack_arrival
from ocs.agents.pysmurf_monitor.receiver_keeping import Keeper
from ocs.agents.pysmurf_monitor.receiver_socket import buffer_bytes, buffer_warning, kernel_drops, open_socket
from ocs.errors import ReceiverError

__all__ = ["Receiver", "main", "make_parser"]

_LARGEST = 65535  # bytes of a datagram
_MOST_AT_ONCE = 512  # datagrams, before others have their turn
_SMALL_BUFFER = 2 << 20
_PAUSE = 0.02  # s; datagrams that come meanwhile cost a fraction of what each would cost alone
_SHORT_PAUSE = 0.001  # s, where the buffer is small
_REPORT_INTERVAL = 0.05  # s
_IDLE_INTERVAL = 1.0  # s
_FINAL_DRAIN = 2.0  # s, in case datagrams never stop coming
_MOST_DIGITS = 18  # of an index
_MAPPED = "::ffff:"  # how IPv4 looks to a socket that takes both


class Receiver:
    """Takes datagrams, reports, and listens to the agent, in turns.

    Args:
        datagrams: the socket, which does not block.
        keeper: takes what comes.
        orders: a descriptor; lines `drop N` come from it, and its end is the order to finish.
        reports: a descriptor, to which lines of JSON go.
    """

    def __init__(self, datagrams: socket.socket, keeper: Keeper, orders: int = 0, reports: int = 1) -> None:
        self._socket = datagrams
        self._keeper = keeper
        self._orders = orders
        self._reports = reports
        self._ending = False
        self._received = 0
        self._kernel_drops = 0
        self._trouble = ""
        self._port = int(datagrams.getsockname()[1])
        self._buffer_bytes = buffer_bytes(datagrams)
        self._pause = _PAUSE if self._buffer_bytes > _SMALL_BUFFER else _SHORT_PAUSE
        self._rest = b""  # of a line that has not come whole
        self._last_report: dict[str, Any] = {}
        self._next_report = 0.0
        self._can_report = select.poll()
        self._can_report.register(reports, select.POLLOUT)

    def end(self) -> None:
        """End at the next turn; safe in a signal's handler."""
        self._ending = True

    def run(self, woken: int) -> None:
        """Receive until told to end.

        Args:
            woken: a descriptor from which a byte can be read after a signal.

        Raises:
            ReceiverError: the keeper's thread has died.
        """
        poller = select.poll()
        for descriptor in (self._socket.fileno(), self._orders, woken):
            poller.register(descriptor, select.POLLIN)
        while not self._ending:
            self._report()
            if self._keeper.waiting_bytes:
                self._keeper.begin_turn()  # also while nothing comes: the journal may be open by now
            for descriptor, _events in poller.poll(1000 * self._patience()):
                self._serve(descriptor)
            if not self._keeper.is_alive:
                raise ReceiverError("the receiver cannot go on: its writing thread has died")

    def finish(self, patience: float) -> int:
        """Take what is in the socket, close it, and bring all to the disk.

        Args:
            patience: how long to wait for the disk, s.

        Returns:
            How many datagrams are lost, since the disk did not take them.
        """
        deadline = time.monotonic() + _FINAL_DRAIN
        while self._take() == _MOST_AT_ONCE and time.monotonic() < deadline:
            pass
        self._kernel_drops = kernel_drops(self._socket)
        self._socket.close()  # first: somebody else may wait for the port
        lost = self._keeper.finish(patience)
        self._next_report = 0.0
        self._report()
        return lost

    def _patience(self) -> float:
        """Return how long there is nothing to do but wait for datagrams and orders, s."""
        told = (self._last_report.get("received"), self._last_report.get("written"))
        busy = self._keeper.waiting_bytes or told != (self._received, self._keeper.written)
        return _REPORT_INTERVAL if busy else _IDLE_INTERVAL

    def _serve(self, descriptor: int) -> None:
        if descriptor == self._socket.fileno():
            if self._take() < _MOST_AT_ONCE:
                time.sleep(self._pause)
        elif descriptor == self._orders:
            self._listen()

    # Datagrams.

    def _take(self) -> int:
        """Take what is in the socket, up to a bound; return how many that were."""
        keeper, receive = self._keeper, self._socket.recvfrom
        keep, now = keeper.keep, time.time
        keeper.begin_turn()
        count = 0
        self._trouble = ""
        try:
            for count in range(_MOST_AT_ONCE):  # noqa: B007  counts what was taken before the socket was empty
                data, address = receive(_LARGEST)
                keep(pack_arrival(now(), address[0].removeprefix(_MAPPED), address[1], data))
            count = _MOST_AT_ONCE
        except BlockingIOError:
            pass
        except OSError as error:
            self._trouble = f"the socket cannot be read: {error.strerror or error}"
        self._received += count
        keeper.end_turn()
        return count

    # Orders.

    def _listen(self) -> None:
        try:
            data = os.read(self._orders, 1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.end()
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-100:]
        wanted = max(map(_dropped_before, lines), default=0)
        if wanted:
            self._keeper.drop_before(wanted)

    # Reports.

    def _report(self) -> None:
        now = time.monotonic()
        if now < self._next_report:
            return
        self._kernel_drops = max(self._kernel_drops, kernel_drops(self._socket))
        report = self._figures()
        if report != self._last_report and self._can_report.poll(0):
            self._last_report = report
            self._next_report = now + _REPORT_INTERVAL
            # Less than a page: a pipe that has room takes it whole, without a wait.
            with suppress(OSError):  # nobody listens any more: the orders end too, then
                os.write(self._reports, json.dumps(report).encode()[:4000] + b"\n")

    def _figures(self) -> dict[str, Any]:
        keeper = self._keeper
        return {
            "port": self._port,
            "received": self._received,
            "written": keeper.written,
            "dropped": keeper.dropped,
            "kernel_drops": self._kernel_drops,
            "buffer_bytes": self._buffer_bytes,
            "journal_bytes": keeper.journal_bytes,
            "waiting_bytes": keeper.waiting_bytes,
            "trouble": (self._trouble or keeper.trouble)[:1000],
        }


def _dropped_before(order: bytes) -> int:
    """Return the N of "drop N", or 0 if it is another order."""
    verb, _, number = order.partition(b" ")
    return int(number) if verb == b"drop" and number.isdigit() and len(number) <= _MOST_DIGITS else 0


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the program's command line."""
    parser = argparse.ArgumentParser(
        prog="python -m ocs.agents.pysmurf_monitor.receiver",
        description="Takes datagrams from a UDP port and appends them to a journal, as a part of the PysmurfMonitor, "
        "which starts it. Tells on standard output how it is going, a line of JSON at a time; "
        "ends when its standard input does, or on SIGTERM.",
    )
    parser.add_argument("--bind", default="", metavar="ADDRESS", help="address to listen at (default: all of IPv4)")
    parser.add_argument("--port", type=int, default=8200, help="UDP port; 0: any that is free (default: %(default)s)")
    parser.add_argument("--socket-fd", type=int, metavar="N", help="descriptor of a socket that is bound already")
    parser.add_argument("--directory", type=Path, required=True, metavar="DIR", help="the journal's folder")
    parser.add_argument(
        "--journal-bytes",
        type=int,
        default=1 << 30,
        metavar="N",
        help="how large the journal may become (default: %(default)s)",
    )
    parser.add_argument(
        "--socket-bytes",
        type=int,
        default=64 << 20,
        metavar="N",
        help="the buffer that is asked of the kernel (default: %(default)s)",
    )
    parser.add_argument(
        "--first-index", type=int, default=0, metavar="N", help="no datagram gets a number below (default: %(default)s)"
    )
    parser.add_argument(
        "--finish-patience",
        type=float,
        default=20.0,
        metavar="S",
        help="how long to wait for the disk in the end, seconds (default: %(default)s)",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit code.

    Args:
        arguments: of the command line; by default this process's.
    """
    args = make_parser().parse_args(arguments)
    try:
        lost = _run(args)
    except (ReceiverError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if lost:
        sys.stderr.write(f"{lost} datagrams are lost: {args.directory} did not take them\n")
    return 1 if lost else 0


def _run(args: argparse.Namespace) -> int:
    sys.setswitchinterval(0.0005)  # s; the thread that writes must not keep the other one from the socket
    _leave_group()
    datagrams = _socket_of(args)
    keeper = Keeper(args.directory, args.journal_bytes, args.first_index)
    receiver = Receiver(datagrams, keeper)
    woken = _on_signal(receiver.end)
    keeper.start()
    receiver.run(woken)
    return receiver.finish(args.finish_patience)


def _socket_of(args: argparse.Namespace) -> socket.socket:
    if args.socket_fd is not None:
        return socket.socket(fileno=args.socket_fd)
    opened = open_socket(args.bind, args.port, args.socket_bytes)
    warning = buffer_warning(buffer_bytes(opened), args.socket_bytes)
    if warning:
        sys.stderr.write(f"{warning}\n")
    return opened


def _leave_group() -> None:
    """Be in no process group of others: who ends the agent with all its group must not end this in the middle."""
    if not os.isatty(0):
        with suppress(PermissionError):  # is the first of a group already
            os.setsid()


def _on_signal(end: Any) -> int:
    """Have SIGTERM end the program, and SIGINT too where a person types; else that is for whoever has the other end."""
    woken, waking = os.pipe()
    os.set_blocking(waking, False)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda *_: end())
    signal.signal(signal.SIGINT, (lambda *_: end()) if os.isatty(0) else signal.SIG_IGN)
    return woken


if __name__ == "__main__":
    sys.exit(main())
