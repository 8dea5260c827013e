"""The work of keeping: looking again and again what has to go, what to the disk, and what else there is to be done."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred

from ocs.errors import JournalError
from ocs.keep.desk import ReplayDesk
from ocs.keep.disk import DISK_BYTES, DiskKeep, Stored
from ocs.keep.memory import Keep
from ocs.keep.worker import Worker
from ocs.wamp.lean_autobahn import ApplicationError
from ocs.wamp.link import within

__all__ = ["KeepService"]

_CALM = 1.0
_ALERT = 0.25
"""How often it is looked what has to be done, in seconds: while recorders have all, and while one lacks something."""
_LOAD_PATIENCE = 10.0
_RETRY = (1.0, 30.0)
"""How long after a failure the disk is tried again at first, and at most, in seconds."""
_SAVE_RECORDERS_S = 3600.0
_LOOK_AGAIN_S = 60.0
_LOOK_SELDOM_S = 3600.0
"""How often it is looked for runs of other processes, in seconds: where there is one, and where there is none."""
_COMPLAIN_S = 600.0

_NOBODY = "(not known by name)"
"""Stands for the recorders of an earlier life if their list is not to be had: what is kept may be theirs."""


class KeepService:
    """Keeps what an agent publishes in one run until its recorders have it. For the reactor's thread.

    Args:
        run: the run's name, which is in the envelope of its messages.
        reactor: the reactor.
        log: the agent's logger.
        folder: where to keep what is too much or too old for memory; None keeps in memory only.
        linked: tells whether the router is there.
        limit: how much may be on the disk, in bytes.
        clock: returns the time by a monotonic clock, in seconds.
        wall: returns the time of day, unix s.

    Attributes:
        keep: what is in memory.
    """

    def __init__(
        self,
        run: str,
        *,
        reactor: Any,
        log: Any,
        folder: Path | None = None,
        linked: Callable[[], bool] = lambda: True,
        limit: int = DISK_BYTES,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.keep = Keep(run, clock=clock, wall=wall)
        self.keep.on_full = lambda: reactor.callFromThread(self._hurry)
        self._reactor = reactor
        self._log = log
        self._folder = folder
        self._linked = linked
        self._clock = clock
        self._disk = DiskKeep(folder, self.keep, limit=limit) if folder else None
        self._worker = Worker(reactor, "ocs-keep")
        self._timer: Any = None
        self._busy = False
        self._desk = ReplayDesk(self.keep, self._disk, self._worker, on_call=self._settle)
        self._loaded = self._open = folder is None
        self._on_open: list[Deferred[None]] = []
        self._ending: Deferred[None] | None = None
        self._saved_recorders: tuple[set[str], float] = (set(), clock())
        self._tidied: tuple[Mapping[str, int | None], int] = ({}, 0)
        self._retry_at = float("-inf")
        self._delay = _RETRY[0]
        self._looked = clock()
        self._complained = float("-inf")
        self._told_lost = (0, float("-inf"))

    # Turns

    def start(self) -> None:
        """Begin to work, once the address is ours; a second time does nothing."""
        if self._timer is None:
            self.keep.disk_takes = self._disk is not None
            self._timer = self._reactor.callLater(0, self._turn)

    def _hurry(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.reset(0)

    def _turn(self) -> None:
        keep = self.keep
        keep.linked = self._linked()
        keep.mark()
        self._forget()
        keep.expire()
        self._tell_what_is_lost()
        self._tell_notes()
        if self._disk is not None and not self._busy and self._clock() >= self._retry_at:
            self._use(self._disk)
        self._settle()
        if self._timer is not None:
            alert = keep.unsaved or (self._disk is not None and self._disk.unsynced)
            self._timer = self._reactor.callLater(_ALERT if alert else _CALM, self._turn)

    def _forget(self) -> None:
        gone = self.keep.recorders.forget(self._clock())
        if gone:
            self._log.warn("nothing is kept any more for recorders that are long silent: {gone}", gone=", ".join(gone))
            self.keep.let_go()

    def _tell_what_is_lost(self) -> None:
        changes, told = self._told_lost
        now = self._clock()
        if self.keep.lost.changes != changes and now - told > _COMPLAIN_S:
            lost = self.keep.lost_state()[0]
            self._told_lost = (self.keep.lost.changes, now)
            if lost:
                self._log.error(
                    "given up since no recorder took it and there was no more room:"
                    " {messages} messages in {ranges} ranges so far",
                    messages=sum(end - first for first, end, *_ in lost),
                    ranges=len(lost),
                )

    def _use(self, disk: DiskKeep, *, below: int | None = None) -> None:
        """Have done what is to be done with the disk, if there is anything."""
        jobs = [disk.load] if not self._loaded else self._jobs(disk, self.keep.due_below() if below is None else below)
        if not jobs:
            return
        self._busy = True
        disk.floors = self._floors()
        done = self._worker.do(lambda: [job() for job in jobs])
        done.addCallbacks(self._done, self._failed)
        done.addErrback(lambda failure: self._log.failure("keeping failed", failure=failure))

    def _jobs(self, disk: DiskKeep, below: int) -> list[Callable[[], Any]]:
        now = self._clock()
        jobs: list[Callable[[], Any]] = []
        if below > self.keep.saved:
            jobs.append(partial(disk.save, below))
        elif disk.unsynced:
            jobs.append(disk.sync)
        state = (self._floors(), self.keep.lost.changes)
        if state != self._tidied and (disk.view or self.keep.on_disk or state[1] != self._tidied[1]):
            self._tidied = state
            jobs.append(disk.tidy)
        known = self.keep.recorders.known
        names, saved = self._saved_recorders
        if known.keys() != names or (known and now - saved > _SAVE_RECORDERS_S):
            self._saved_recorders = (set(known), now)
            silent = {name: (recorder.every, now - recorder.contact) for name, recorder in known.items()}
            jobs.append(partial(disk.save_recorders, silent))
        if now - self._looked > (_LOOK_AGAIN_S if disk.waits_for_others else _LOOK_SELDOM_S):
            self._looked = now
            jobs.append(disk.look_again)
        return jobs

    def _floors(self) -> Mapping[str, int | None]:
        runs = [*(self._disk.view if self._disk else ()), self.keep.run]
        return {run: self.keep.recorders.floor(run) for run in runs}

    def _done(self, results: list[Any]) -> None:
        self._busy = False
        if not self.keep.disk_takes:
            self._log.info("what is kept for recorders goes to {folder} again", folder=self._folder)
        self.keep.disk_takes = True
        self._delay = _RETRY[0]
        if results and isinstance(results[0], Stored):
            self._take_in(results[0])
        self._tell_notes()
        self._settle()

    def _failed(self, failure: Any) -> None:
        failure.trap(OSError, JournalError)
        self._busy = False
        self.keep.disk_takes = False
        self._retry_at = self._clock() + self._delay
        self._delay = min(2 * self._delay, _RETRY[1])
        self._tidied = ({}, -1)
        self._saved_recorders = (set(), self._clock())
        if self._clock() - self._complained > _COMPLAIN_S:
            self._complained = self._clock()
            self._log.warn(
                "{folder} takes nothing, so that what recorders lack is kept in memory only: {why}; make room there, or"
                " choose another folder with --state-dir",
                folder=self._folder,
                why=failure.getErrorMessage(),
            )
        self._let_callers_in()
        self._tell_notes()
        self._settle()

    def _take_in(self, stored: Stored) -> None:
        """Meet the recorders of an earlier life."""
        now = self._clock()
        self._loaded = True
        for name, (every, silent) in ({_NOBODY: (1.0, 0.0)} if stored.recorders is None else stored.recorders).items():
            if name not in self.keep.recorders.known:
                self.keep.recorders.meet(name, every, now - silent)
        self._saved_recorders = (set(stored.recorders or ()), now)
        self._let_callers_in()

    def _let_callers_in(self) -> None:
        self._open = True
        waiting, self._on_open = self._on_open, []
        for call in waiting:
            call.callback(None)

    def _tell_notes(self) -> None:
        while self._disk is not None and self._disk.notes:
            self._log.warn("{note}", note=self._disk.notes.pop(0))

    # Answers

    def serve(self, request: Any = None, *_more: Any, **_named: Any) -> Any:
        """Answer a call to ``{address}.replay``.

        Returns:
            The reply, or a Deferred of it.

        Raises:
            ApplicationError: ``ocs.error.invalid_request``, if it is not what a recorder asks.
        """
        return self._desk.answer(request) if self._open else self._later(request)

    @inlineCallbacks
    def _later(self, request: Any) -> Any:
        """Answer when it is known what earlier runs have left."""
        opened: Deferred[None] = Deferred()
        self._on_open.append(opened)
        yield within(self._reactor, opened, _LOAD_PATIENCE)
        if not self._open:
            raise ApplicationError("ocs.error.not_ready", f"{self._folder} has not been read yet: ask again")
        return (yield maybeDeferred(self._desk.answer, request))

    # The end

    def finish(self) -> "Deferred[None]":
        """Bring to the disk what recorders lack; if that fails, wait until they have it.

        Returns:
            A Deferred that fires when that is done; not at all if nobody takes it.
        """
        self._ending = Deferred()
        ending = self._ending
        self._settle()
        return ending

    def _settle(self) -> None:
        """End if that is wanted, and nothing is left to be done."""
        if self._ending is None or self._busy:
            return
        if self._disk is not None and self._timer is not None and self.keep.unsaved:
            if self._clock() >= self._retry_at:
                self._use(self._disk, below=self.keep.next)
            return
        ending, self._ending = self._ending, None
        self._stop()
        ending.callback(None)

    def _stop(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._disk is not None and self._timer is not None:
            self._worker.do(self._disk.close).addErrback(lambda _failure: None)
            self._worker.end()
        self._timer = None
