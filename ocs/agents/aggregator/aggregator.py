"""The aggregator proper: messages in, frames out. No WAMP, no reactor, no thread of its own."""

import os
import queue
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from twisted.logger import Logger

from ocs.agents.aggregator import frames
from ocs.agents.aggregator.files import make_filename
from ocs.agents.aggregator.inbox import Event, Inbox, Item, Kind
from ocs.agents.aggregator.ledger import Ledger, read_message
from ocs.agents.aggregator.messages import Envelope, Fault, read_envelope, weight
from ocs.agents.aggregator.notebook import Notebook, note_item
from ocs.agents.aggregator.notes import Note
from ocs.agents.aggregator.provider import Provider
from ocs.agents.aggregator.safekeeping import Safekeeping
from ocs.agents.aggregator.schema import FeedSchema
from ocs.agents.aggregator.tally import Log, Tally
from ocs.agents.aggregator.writer import EncodedFrame, G3FileRotator, PlacedFrame
from ocs.hk.index_writer import IndexWriter

__all__ = ["MAX_BUFFERED_BYTES", "MAX_PROVIDERS", "Aggregator"]

MAX_BUFFERED_BYTES: Final = 32 * 1024 * 1024
"""Samples of all providers together (bytes); beyond it frames are written before their time."""

MAX_PROVIDERS: Final = 50_000
"""Feeds recorded at once; the data of more is dropped and counted."""

_REPORT_INTERVAL: Final = 1.0

_NOTES_INTERVAL: Final = 60.0
_VALUE_BYTES: Final = 8

_ENOUGH_WAITING: Final = 16 << 20
"""Frames that wait for the disk (bytes), beyond which nothing more is taken in: where it is now, it is safe."""


class Aggregator:
    """Sorts events into providers and their samples into frames. For one thread only.

    `run` is one turn: take what came in, part with silent providers, write the frames that are due. `close` writes
    everything. With a ledger, a message is entered there before it is sorted, and `safe` tells which have come to the
    disk; what the ledger held from an earlier run is taken in again at the start.

    Args:
        incoming_data: where ``(data, feed)`` pairs are taken from: an `Inbox`, or a `queue.Queue`.
        time_per_file: seconds per file.
        data_dir: folder under which the files are made.
        session: operation session whose ``data`` and ``degraded`` are kept up to date.
        clock: gives the time (unix, s).
        log: where what is dropped is reported; a logger of its own if not given.
        writer: takes the frames; a `G3FileRotator` below ``data_dir`` if not given.
        ledger: the journal; without one, what is not in a file yet is lost when the process dies.
        safe: called with what has come to the journal's disk: stream → next number.
        notebook: where what was refused or repaired is noted.
        index: kept beside the files, for those who read them.
        more: returns what else is to be shown as ``session.data``.

    Attributes:
        hksess: the recording session, which numbers the providers.
        writer: writes the frames to files.
        providers: number → `Provider`.
        pids: (feed address, session id) → number.
        write_status: whether the list of providers has changed since it was last written.
    """

    def __init__(
        self,
        incoming_data: "Inbox | queue.Queue[Any]",
        time_per_file: float,
        data_dir: str | os.PathLike[str],
        session: Any = None,
        *,
        clock: Callable[[], float] = time.time,
        log: Log | None = None,
        writer: G3FileRotator | None = None,
        ledger: Ledger | None = None,
        safe: Callable[[dict[tuple[str, str], int]], None] = lambda news: None,  # noqa: ARG005 - nobody asks
        notebook: Notebook | None = None,
        index: IndexWriter | None = None,
        more: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self.log: Log = log or Logger("ocs.aggregator")
        self.incoming_data = incoming_data
        self.session = session
        self.providers: dict[int, Provider] = {}
        self.pids: dict[tuple[str, str], int] = {}
        self.write_status = True
        self.tally = Tally(self.log, clock)
        self._clock = clock
        self._index = index
        self._schemas: OrderedDict[str, FeedSchema] = OrderedDict()
        self._next_report = 0.0
        self._trouble = ""
        self.hksess = frames.new_session(clock())
        self.writer = writer or G3FileRotator(
            time_per_file,
            lambda: make_filename(data_dir, clock=clock),
            clock=clock,
            report=lambda fault: self.tally.count("disk", fault),
            announce=ledger.announce if ledger else _unannounced,
            written=self._enter,
            journalled=ledger is not None,
        )
        self._journal = Safekeeping(ledger, self.writer, safe)
        self._notebook = notebook
        self._more = more
        self._next_notes = clock() + _NOTES_INTERVAL
        self.writer.put(EncodedFrame("session", frames.encode(self.hksess.session_frame()), 0))
        self._put_status()
        if ledger:
            self._take_again(ledger)
            self._note(ledger.repairs)
            self._note(notebook.began(ledger.away_since) if notebook else [])
        self.writer.commit()
        self._tell()

    def _take_again(self, ledger: Ledger) -> None:
        """Take in the messages of an earlier run that are in no file."""
        for index, event in ledger.recover():
            self._take_or_count(event, index, ledger.framed)

    def run(self) -> None:
        """Do one turn: take in what came, part with silent providers, write what is due."""
        if self._takes_more():
            self.process_incoming_data()
        self.remove_stale_providers()
        if self.writer.due():
            # What is older than the next file belongs into this one.
            self._put_frames(write_all=True)
            self.writer.flush()
        self.write_to_disk()
        self._journal.keep(self.providers.values())
        if self._clock() >= self._next_notes:
            self._note_refusals()
        if self._clock() >= self._next_report or self.trouble != self._trouble:
            self._tell()

    def _enter(self, placed: PlacedFrame) -> None:
        if self._index:
            self._index.add_frame(placed.path, placed.offset, placed.frame.content)

    def _note_refusals(self) -> None:
        """Note what has been dropped since the last time, feed by feed."""
        self._next_notes = self._clock() + _NOTES_INTERVAL
        self._note(self.tally.notes())

    def _note(self, notes: list[Note]) -> None:
        if self._notebook is None:
            return
        for note in notes:
            event = self._notebook.publish(note)
            self._take_or_count(event, self._journal.enter(note_item(event)))

    @property
    def trouble(self) -> str:
        """One line that says why data waits, empty when all is well."""
        return self.writer.trouble or self._journal.trouble

    def _takes_more(self) -> bool:
        """Tell whether what comes can go somewhere; where it is now, it is safe, and bounded."""
        full = self.writer.journalled and self.writer.trouble and self.writer.waiting_bytes > _ENOUGH_WAITING
        return not (self._journal.trouble or full)

    def process_incoming_data(self) -> None:
        """Take every waiting message into its provider's blocks."""
        items, lost = _taken(self.incoming_data)
        if lost:
            self.tally.count("queue", Fault("queue", lost, "events came faster than they can be recorded"))
        for item in items:
            index = self._journal.enter(item)
            event = item.event
            if event is None and item.kind >= Kind.MESSAGE:
                event = self._read(item)
            if event is not None:
                self._take_or_count(event, index)

    def _read(self, item: Item) -> Event | None:
        try:
            return read_message(item.kind, item.body)
        except ValueError as error:
            self.tally.count("?", Fault("structure", len(item.body) // 9, str(error)))
            return None

    def _take_or_count(self, event: Event, index: int | None, framed: Mapping[Any, int] | None = None) -> None:
        try:
            self._take(*event, index, framed or {})
        except Exception as error:  # anybody's message comes here: whatever it does, the others are recorded
            self.tally.count("?", Fault("unforeseen", weight(event[0]), f"an event was dropped: {error!r}"))

    def _take(self, data: Any, feed: Mapping[str, Any], index: int | None, framed: Mapping[Any, int]) -> None:
        known = None if framed else self._known(feed)
        if known is not None:
            known.save_to_block(data, index)
            return
        envelope = read_envelope(feed)
        if isinstance(envelope, Fault):
            self.tally.count("?", envelope._replace(values=weight(data)))
        elif not envelope.excluded and (index or 0) > framed.get((envelope.address, envelope.session_id), -1):
            self._save(data, envelope, index)

    def _known(self, feed: Mapping[str, Any]) -> Provider | None:
        """Return the feed's provider if it has one: the short way, once per message."""
        try:
            return self.providers[self.pids[feed["address"], feed["session_id"]]]
        except (KeyError, TypeError):
            return None

    def _save(self, data: Any, envelope: Envelope, index: int | None) -> None:
        pid = self.pids.get((envelope.address, envelope.session_id))
        if pid is not None:
            self.providers[pid].save_to_block(data, index)
        elif len(self.providers) < MAX_PROVIDERS:
            params = {"frame_length": envelope.frame_length, "fresh_time": envelope.fresh_time}
            pid = self.add_provider(envelope.address, envelope.session_id, **params)
            self.providers[pid].save_to_block(data, index)
        else:
            fault = Fault("providers", weight(data), f"{MAX_PROVIDERS} feeds are being recorded; this one is not")
            self.tally.count(envelope.address, fault)

    def add_provider(self, prov_address: str, prov_sessid: str, **prov_kwargs: Any) -> int:
        """Begin to record a feed; a status frame will say so.

        Args:
            prov_address: the feed's address.
            prov_sessid: the session id of the agent that publishes it.
            **prov_kwargs: `frame_length` and `fresh_time` (s) of the `Provider`.

        Returns:
            The provider's number.
        """
        pid: int = self.hksess.add_provider(description=prov_address)
        self.pids[prov_address, prov_sessid] = pid
        self.providers[pid] = Provider(
            prov_address,
            prov_sessid,
            pid,
            clock=self._clock,
            schema=self._schema(prov_address),
            report=lambda fault: self.tally.count(prov_address, fault),
            **prov_kwargs,
        )
        self.write_status = True
        return pid

    def _schema(self, address: str) -> FeedSchema:
        schema = self._schemas.setdefault(address, FeedSchema())
        self._schemas.move_to_end(address)
        if len(self._schemas) > MAX_PROVIDERS:
            self._schemas.popitem(last=False)
        return schema

    def remove_provider(self, prov: Provider) -> None:
        """Put what the provider still holds into a frame and take it off the list."""
        self._put_provider(prov)
        del self.providers[prov.prov_id]
        del self.pids[prov.address, prov.sessid]
        self.hksess.remove_provider(prov.prov_id)
        self.write_status = True

    def remove_stale_providers(self) -> None:
        """Part with the providers that have been silent for their `fresh_time`; a status frame says so."""
        for provider in [provider for provider in self.providers.values() if provider.stale()]:
            self.remove_provider(provider)
        self._put_status_if_changed()

    def write_to_disk(self, clear: bool = True, write_all: bool = False) -> None:
        """Write the frames that are due.

        Args:
            clear: forget the samples that have been written.
            write_all: write every provider's samples, due or not.
        """
        self._put_frames(clear=clear, write_all=write_all)
        self.writer.commit()

    def _put_frames(self, *, clear: bool = True, write_all: bool = False) -> None:
        write_all = write_all or sum(provider.size for provider in self.providers.values()) > MAX_BUFFERED_BYTES
        too_old = self._journal.too_old
        for provider in self.providers.values():
            if write_all or provider.new_frame_time() or (provider.first_index or too_old) < too_old:
                self._put_provider(provider, clear=clear)

    def _put_provider(self, provider: Provider, *, clear: bool = True) -> None:
        """Make a frame of what a provider holds and accept it for writing."""
        if provider.empty():
            return
        self._put_status_if_changed()
        source, first, last = (provider.address, provider.sessid), provider.first_index, provider.last_index
        try:
            frame = provider.to_frame(self.hksess, clear=clear)
            if values := frames.value_count(frame):
                self.writer.put(EncodedFrame("data", frames.encode(frame), values, source, first, last))
        except Exception as error:  # whatever one feed holds, the others are recorded
            fault = Fault("unforeseen", provider.size // _VALUE_BYTES, f"a frame was dropped: {error!r}")
            self.tally.count(provider.address, fault)
            provider.clear()

    def _put_status_if_changed(self) -> None:
        if self.write_status:
            self._put_status()

    def _put_status(self) -> None:
        self.write_status = False
        self.writer.put(EncodedFrame("status", frames.encode(self.hksess.status_frame(timestamp=self._clock())), 0))

    def close(self, *, forget: bool = False) -> None:
        """Write everything and close the file; what the disk does not take stays in the journal.

        Args:
            forget: delete the journal once everything is in files: the next one begins anew.
        """
        self.process_incoming_data()
        self._note_refusals()
        self._note(self._notebook.ends() if self._notebook else [])
        self._put_frames(write_all=True)
        self.writer.close_file()
        if self._index:
            self._index.close()
        self._journal.close(forget=forget)
        self._tell()

    def _tell(self) -> None:
        """Bring the operation's session up to date; say once when trouble with the disk begins, and when it ends."""
        self._next_report = self._clock() + _REPORT_INTERVAL
        if self._index:
            self._index.flush()
        before, self._trouble = self._trouble, self.trouble
        if bool(before) != bool(self._trouble):
            self._say(f"{self._trouble}; the data waits in memory" if self._trouble else "the disk takes data again")
        if self.session is not None:
            self.session.degraded = bool(self._trouble)
            self.session.data = self.encoded()

    def _say(self, text: str) -> None:
        self.log.warn("{text}", text=text)
        if self.session is not None:
            self.session.add_message(text)

    def encoded(self) -> dict[str, Any]:
        """Return what is shown as ``session.data``."""
        return {
            "current_file": self.writer.current_file,
            "providers": {provider.address: provider.encoded() for provider in self.providers.values()},
            "values_recorded": self.writer.values_written,
            "dropped": dict(self.tally.dropped),
            "faults": dict(self.tally.faults),
            "waiting_bytes": self.writer.waiting_bytes,
            "journal_bytes": self._journal.size,
            "trouble": self.trouble or None,
            **self._more(),
        }


def _taken(source: "Inbox | queue.Queue[Any]") -> tuple[list[Item], int]:
    if isinstance(source, Inbox):
        return source.take()
    items = []
    try:
        while True:
            items.append(Item(0, b"", source.get_nowait()))
    except queue.Empty:
        return items, 0


def _unannounced(frames: Sequence[PlacedFrame]) -> None:
    """Write frames without telling anybody."""
