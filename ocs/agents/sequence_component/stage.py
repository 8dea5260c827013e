"""What a sequence component has loaded, and the run that is made of it: one script, one run at a time."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocs.agents.sequence_component.conductor import Conductor
from ocs.agents.sequence_component.folders import ScriptFolders, script_names
from ocs.agents.sequence_component.report import script_data
from ocs.agents.sequence_component.script import Script, load, unload
from ocs.agents.sequence_component.states import ENDS, RunState, begin
from ocs.components.names import ComponentId, Prefix
from ocs.errors import SequenceError

__all__ = ["Loaded", "Stage"]

SEQUENCER = "Sequencer"

_ENDING_TIME = 30.0
"""How long an aborted run may take to end, in seconds: what is done at its end takes its time."""

OnChange = Callable[[RunState, str | None], None]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A script on the stage."""

    script: Script
    sequencer: ComponentId
    wanted: str | None
    """The script's name as it was given; None: that of the mode."""

    @property
    def data(self) -> dict[str, Any]:
        """What clients are told of it."""
        return script_data(self.script, str(self.sequencer.prefix))


class Stage:
    """Loads scripts, and makes runs of them; every method is for threads, none for the reactor.

    Args:
        folders: where scripts are allowed.
        own: the prefix of the sequence component.
        announce: registers a sequencer with the router; raises `SequenceError` where another one has the name.
        withdraw: takes it back.
    """

    def __init__(
        self,
        folders: ScriptFolders,
        own: Prefix,
        *,
        announce: Callable[[ComponentId, Mapping[str, Any]], None],
        withdraw: Callable[[ComponentId], None],
    ) -> None:
        self.loaded: Loaded | None = None
        self.conductor: Conductor | None = None
        self._folders = folders
        self._own = own
        self._announce = announce
        self._withdraw = withdraw
        self._lock = threading.Lock()

    def load(self, obs_mode: str, script: str | None = None, subsystem: str | None = None) -> Loaded:
        """Load a script, and register its sequencer.

        Args:
            obs_mode: the observing mode: the name of the sequencer.
            script: the script's name or path; that of the mode unless given.
            subsystem: of the sequencer; the component's own unless given.

        Raises:
            SequenceError: there is one loaded already, or the sequencer runs elsewhere.
            SequenceScriptError: the script is missing, not allowed, or has a mistake in it.
        """
        sequencer = self._sequencer(obs_mode, subsystem)
        with self._alone():
            if self.loaded is not None:
                raise SequenceError(
                    f"{self._own} has loaded {self.loaded.script.path} as {self.loaded.sequencer.prefix} already:"
                    " unload_script first"
                )
            self._take(self._read(sequencer, script))
            return self._present()

    def unload(self, *, force: bool = False) -> Loaded | None:
        """Unload the script; return it, None where there is none.

        Args:
            force: abort the run that is going on.

        Raises:
            SequenceError: a run is going on.
        """
        with self._alone():
            gone = self.loaded
            if gone is not None:
                self._end_run(force=force)
                self._drop(gone)
            return gone

    def restart(self, *, force: bool = False) -> Loaded:
        """Read the script anew; where it has a mistake by now, the old one stays.

        Args:
            force: abort the run that is going on.

        Raises:
            SequenceError: there is none, or a run is going on.
            SequenceScriptError: the script is missing, not allowed, or has a mistake in it.
        """
        with self._alone():
            old = self._present()
            self._refuse_busy(force=force)
            new = self._read(old.sequencer, old.wanted)
            self._end_run(force=force)
            self._drop(old)
            self._take(new)
            return new

    def begin_run(
        self, first_step: str | int | None, on_change: Callable[[Loaded], OnChange], now: float
    ) -> tuple[Loaded, Conductor]:
        """Return what is loaded, and the conductor of a new run of it.

        Args:
            first_step: title or number of the step to begin with; the first unless given.
            on_change: makes what is told of the run's changes.
            now: the time (unix s).

        Raises:
            SequenceError: no script is loaded, it has no such step, or a run is going on.
        """
        with self._alone():
            loaded = self._present()
            self._refuse_busy(force=False)
            first = 0 if first_step is None else loaded.script.number_of(first_step)
            state = begin([(step.title, step.weight) for step in loaded.script.steps], now, first=first)
            self.conductor = Conductor(state, on_change(loaded))
            return loaded, self.conductor

    def running(self) -> Conductor:
        """Return the conductor of the run that is going on.

        Raises:
            SequenceError: there is none.
        """
        conductor = self.conductor
        if conductor is None or conductor.state.phase in ENDS:
            raise SequenceError("No sequence is running.")
        return conductor

    def lose(self, sequencer: ComponentId) -> None:
        """Forget a script whose sequencer another component has taken over, while this one was cut off."""
        with self._lock:
            if self.loaded is not None and self.loaded.sequencer == sequencer:
                unload(self.loaded.script)
                self.loaded = None

    def _sequencer(self, obs_mode: str, subsystem: str | None) -> ComponentId:
        try:
            prefix = Prefix.parse(f"{subsystem or self._own.subsystem}.{obs_mode}")
        except ValueError as error:
            raise SequenceError(str(error)) from None
        return ComponentId(prefix, SEQUENCER)

    def _read(self, sequencer: ComponentId, wanted: str | None) -> Loaded:
        names = [wanted] if wanted else script_names(sequencer.prefix.subsystem, sequencer.prefix.name)
        path = self._folders.find(names)
        return Loaded(load(path, self._helpers()), sequencer, wanted)

    def _helpers(self) -> list[Path]:
        return [Path(folder) for folder in self._folders.folders]

    def _take(self, loaded: Loaded) -> None:
        metadata = {"sequenceComponent": str(self._own), "script": str(loaded.script.path)}
        try:
            self._announce(loaded.sequencer, metadata)
        except BaseException:
            unload(loaded.script)
            raise
        self.loaded = loaded

    def _drop(self, loaded: Loaded) -> None:
        self._withdraw(loaded.sequencer)
        unload(loaded.script)
        self.loaded = None

    def _present(self) -> Loaded:
        if self.loaded is None:
            raise SequenceError(f"{self._own} has no script loaded: load_script first")
        return self.loaded

    def _refuse_busy(self, *, force: bool) -> None:
        if not force and self.conductor is not None and self.conductor.state.phase not in ENDS:
            raise SequenceError(f"{self._own} is running a sequence: stop it first, or give force=True")

    def _end_run(self, *, force: bool) -> None:
        self._refuse_busy(force=force)
        conductor = self.conductor
        if conductor is None or conductor.state.phase in ENDS:
            return
        with suppress(SequenceError):  # it has ended meanwhile, or is being aborted already
            conductor.abort()
        if not conductor.wait_for(lambda state: state.phase in ENDS, _ENDING_TIME):
            raise SequenceError(
                f"The sequence was aborted and has not ended in {_ENDING_TIME:g} s: its script waits without asking"
                " (run.sleep asks, time.sleep does not); kill the component if it has to end"
            )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._lock.acquire(blocking=False):
            raise SequenceError(f"{self._own} is busy loading or unloading: try again")
        try:
            yield
        finally:
            self._lock.release()
