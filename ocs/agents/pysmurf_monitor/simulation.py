"""What a SMuRF server says in the course of time, made up: the messages, and the files that they are about."""

import heapq
import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final, NamedTuple

__all__ = ["Message", "Plan", "day", "steady", "until"]

_HOUR: Final = 3600.0
_DAY: Final = 24 * _HOUR

_GROUP: Final = 20
"""Files of one action in a steady stream; the last is a timestream."""
_BARE: Final = 7
"""One array in so many is announced without its suffix, as pysmurf does with what NumPy names by itself."""
_TEXT: Final = 5
"""One output in so many is a text."""
_FILE_GAP: Final = 0.02
"""Seconds between two files that an action writes at its end."""

_REGISTERS: Final = (
    ("AMCc.SmurfProcessor.Filter.Gain", 1.0),
    ("AMCc.SmurfProcessor.Downsampler.Factor", 20),
    ("AMCc.FpgaTopLevel.AppTop.AppCore.RtmCryoDet.RampMaxCnt", 30719),
    ("AMCc.SmurfProcessor.SOStream.file_tag", "obs,cmb"),
)
"""Registers whose values a streamer tells, each with one that it might have."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a SMuRF server does again and again, and that leaves files.

    Attributes:
        name: what pysmurf calls it.
        every: time between two beginnings (s).
        after: the first beginning (s after the day's).
        lasts: how long it takes (s); the files come at its end.
        outputs: arrays and texts that it writes.
        plots: pictures that it writes.
    """

    name: str
    every: float
    after: float
    lasts: float
    outputs: int
    plots: int


_ACTIONS: Final = (
    Action("uxm_setup", _DAY, 5.0, 50.0, 32, 60),
    Action("uxm_relock", 12 * _HOUR, 60.0, 100.0, 10, 16),
    Action("take_iv", _HOUR, 180.0, 150.0, 4, 30),
    Action("take_bias_steps", _HOUR, 360.0, 60.0, 3, 5),
    Action("take_bgmap", 12 * _HOUR, 440.0, 40.0, 3, 24),
    Action("take_noise", 2 * _HOUR, 500.0, 40.0, 2, 4),
)
_NAMES: Final = tuple(action.name for action in _ACTIONS)
OBSERVATION: Final = Action("stream", _HOUR, 600.0, 3000.0, 5, 0)
"""The detectors are read for 50 minutes of every hour; a timestream file is closed every ten of them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be simulated.

    Attributes:
        folder: where the files are, absolute.
        start: what the first moment is called (unix s).
        streams: their ids, one for each SMuRF slot.
        rate: files a second of a steady stream.
        size: bytes of each file.
        metadata_rate: messages a second about registers.
        seed: of all that is left to chance.
    """

    folder: str
    start: float
    streams: tuple[str, ...] = ("crate1slot2",)
    rate: float = 10.0
    size: int = 1000
    metadata_rate: float = 1.0
    seed: int = 0


class Message(NamedTuple):
    """One thing that a publisher says, and the file that it is about.

    Attributes:
        at: when (s after the start).
        kind: the datagram's type.
        pub_id: the publisher's id.
        payload: what it says.
        file: where the file is; "" if it is about none.
        size: of the file (bytes).
    """

    at: float
    kind: str
    pub_id: str
    payload: dict[str, Any]
    file: str = ""
    size: int = 0

    def datagram(self, start: float, number: int) -> bytes:
        """Return what is sent.

        Args:
            start: what the first moment is called (unix s).
            number: of the messages before.
        """
        whole = {
            "host": "smurf-srv1",
            "id": self.pub_id,
            "script": "ocs-pysmurf-simulator",
            "time": round(start + self.at, 6),
            "seq_no": number,
            "type": self.kind,
            "payload": self.payload,
        }
        return json.dumps(whole).encode()


def steady(plan: Plan) -> Iterator[Message]:
    """Return a stream without end: files at a fixed rate, of all streams by turns, and registers in between."""
    return _merged(_steady_files(plan), _registers(plan))


def _steady_files(plan: Plan) -> Iterator[Message]:
    for group in count():
        stream, action = (each[group % len(each)] for each in (plan.streams, _NAMES))
        first, last = group * _GROUP, (group + 1) * _GROUP - 1
        run = _Run(plan, stream, action, first / plan.rate)
        yield run.says(first / plan.rate, "begins")
        yield run.tells(first / plan.rate)
        for number in range(first, last):
            yield run.file(number / plan.rate, number, plot=number % 3 == 0)
        yield run.says(last / plan.rate, "is done")
        yield _timestream(plan, stream, int(plan.start), group, last / plan.rate)


def day(plan: Plan) -> list[Message]:
    """Return the day of a SMuRF server: some 1,400 files of each stream, in bursts; `plan.rate` does not matter."""
    streams = [_day_of(plan, stream, offset) for offset, stream in enumerate(plan.streams)]
    return list(_merged(*(sorted(each, key=_moment) for each in streams), until(_registers(plan), seconds=_DAY)))


def _day_of(plan: Plan, stream: str, offset: int) -> list[Message]:
    chance = random.Random(f"{plan.seed} {stream}")  # noqa: S311 - it is to be the same each time
    messages: list[Message] = []
    for action in _ACTIONS:
        for begin in _beginnings(action):
            messages += _action(plan, stream, action, begin + offset + chance.uniform(0, 5))
    for begin in _beginnings(OBSERVATION):
        messages += _observation(plan, stream, begin + offset + chance.uniform(0, 5))
    return messages


def _beginnings(action: Action) -> list[float]:
    return [action.after + turn * action.every for turn in range(round(_DAY / action.every))]


def _action(plan: Plan, stream: str, action: Action, begin: float) -> Iterator[Message]:
    run = _Run(plan, stream, action.name, begin)
    end = begin + action.lasts
    yield run.says(begin, "begins")
    yield run.tells(begin + action.lasts / 2)
    for number in range(action.outputs + action.plots):
        yield run.file(end + number * _FILE_GAP, number, plot=number >= action.outputs)
    yield run.says(end + (action.outputs + action.plots) * _FILE_GAP, "is done")


def _observation(plan: Plan, stream: str, begin: float) -> Iterator[Message]:
    run = _Run(plan, stream, OBSERVATION.name, begin)
    yield run.says(begin, "begins")
    for number in range(OBSERVATION.outputs):
        closed = begin + (number + 1) * OBSERVATION.lasts / OBSERVATION.outputs
        yield _timestream(plan, stream, int(plan.start + begin), number, closed)
    yield run.says(begin + OBSERVATION.lasts, "is done")


class _Run:
    """One run of an action: where its files are, and what is said of it."""

    def __init__(self, plan: Plan, stream: str, action: str, begin: float) -> None:
        self._plan, self._stream, self._action = plan, stream, action
        self._ctime = int(plan.start + begin)
        date = datetime.fromtimestamp(self._ctime, UTC)
        self._folder = f"{plan.folder}/smurf_data/{date:%Y%m%d}/{stream}/{self._ctime}"

    def says(self, at: float, what: str) -> Message:
        return Message(at, "session_log", self._stream, {"message": f"{self._action} {what}"})

    def tells(self, at: float) -> Message:
        state = {"action": self._action, "action_ts": self._ctime, "stream_id": self._stream, "progress": 0.5}
        return Message(at, "session_data", self._stream, state)

    def file(self, at: float, number: int, *, plot: bool) -> Message:
        kind = "png" if plot else "npy" if number % _TEXT else "txt"
        folder = f"{self._folder}/{'plots' if plot else 'outputs'}"
        path = f"{folder}/{self._ctime}_{self._action}_{number:04}.{kind}"
        payload = {
            "path": path.removesuffix(".npy") if number % _BARE == 0 else path,
            "type": self._action,
            "format": kind,
            "timestamp": round(self._plan.start + at, 3),
            "action": self._action,
            "action_ts": self._ctime,
            "plot": plot,
            "pysmurf_version": "simulated",
        }
        return Message(at, "data_file", self._stream, payload, path, self._plan.size)


def _timestream(plan: Plan, stream: str, session: int, number: int, at: float) -> Message:
    path = f"{plan.folder}/timestreams/{session // 100_000}/{stream}/{session}_{number:03}.g3"
    payload = {
        "path": path,
        "type": "timestream",
        "format": "g3",
        "timestamp": round(plan.start + at, 3),
        "action": OBSERVATION.name,
        "action_ts": session,
        "plot": False,
        "archive_name": "timestreams",
    }
    return Message(at, "g3_file", f"STREAMER:{stream}", payload, path, plan.size)


def _registers(plan: Plan) -> Iterator[Message]:
    chance = random.Random(plan.seed)  # noqa: S311 - as above
    for number in count() if plan.metadata_rate > 0 else ():
        path, value = _REGISTERS[number % len(_REGISTERS)]
        told = round(value * chance.uniform(0.9, 1.1), 3) if isinstance(value, float) else value
        payload = {"path": path, "value": told, "type": type(value).__name__}
        yield Message(number / plan.metadata_rate, "metadata", f"STREAMER:{chance.choice(plan.streams)}", payload)


def _merged(*streams: Iterable[Message]) -> Iterator[Message]:
    return heapq.merge(*streams, key=_moment)


def _moment(message: Message) -> float:
    return message.at


def until(messages: Iterable[Message], *, files: int | None = None, seconds: float | None = None) -> Iterator[Message]:
    """Cut a stream off, after so many files, or before a moment (s after the start), whichever comes first."""
    left = files
    for message in messages:
        if left == 0 or (seconds is not None and message.at >= seconds):
            return
        left = left - 1 if left is not None and message.file else left
        yield message
