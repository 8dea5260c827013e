"""Writes an archive as the aggregator does, without waiting for the time to pass: ``make_archive.py FOLDER HOURS``.

100 channels at 10 Hz in one feed, in frames of 60 s and files of an hour, with the index that the recorder keeps.
"""

import json
import sys
from pathlib import Path

import numpy as np

from ocs.agents.aggregator import frames
from ocs.agents.aggregator.blocks import FinishedBlock
from ocs.hk import IndexWriter

START = 1_790_006_400
CHANNELS, RATE, FRAME = 100, 10, 60
FEED = "observatory.simulator.feeds.temperatures"


class Archive:
    """A file after the other."""

    def __init__(self, folder):
        self._folder = Path(folder)
        self._session = frames.new_session(START)
        self._provider = self._session.add_provider(description=FEED)
        self._index = IndexWriter(print)
        self._random = np.random.default_rng(1)
        self.samples = 0

    def write_hour(self, start):
        path = self._folder / str(start)[:5] / f"{start}.g3"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            self._append(file, self._session.session_frame())
            self._append(file, self._session.status_frame(timestamp=start))
            for second in range(start, start + 3600, FRAME):
                self._append(file, self._frame(second))
            file.flush()
            self._index.flush()

    def close(self):
        self._index.close()

    def _append(self, file, frame):
        content = frames.encode(frame)
        self._index.add_frame(file.name, file.tell(), content)
        file.write(content)

    def _frame(self, second):
        count = FRAME * RATE
        jitter = self._random.integers(0, 100_000, count)
        ticks = second * 100_000_000 + np.arange(count) * (100_000_000 // RATE) + jitter
        columns = {f"channel_{n:02d}": self._random.standard_normal(count) for n in range(CHANNELS)}
        frame = frames.data_frame(self._session, self._provider, second + FRAME)
        frames.fill(frame, FEED, f"{START}.5", [FinishedBlock("temps", ticks, columns)], print)
        self.samples += count * CHANNELS
        return frame


if __name__ == "__main__":
    archive = Archive(sys.argv[1])
    for hour in range(int(sys.argv[2])):
        archive.write_hour(START + 3600 * hour)
    archive.close()
    print("@" + json.dumps({"samples": archive.samples, "start": START, "feed": FEED}), flush=True)
