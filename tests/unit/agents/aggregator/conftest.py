"""What the aggregator's tests share: a clock that is stepped, and an aggregator with its archive."""

import pytest

from ocs.agents.aggregator.aggregator import Aggregator
from ocs.agents.aggregator.inbox import Inbox
from tests.harness.archive import Clock, Lines, SessionRecord, files_of, samples_in, scanned


class Recording:
    """An aggregator under test."""

    def __init__(self, folder, **changes):
        self.folder = folder
        self.clock = Clock()
        self.log = Lines()
        self.session = SessionRecord()
        self.inbox = Inbox()
        self.inbox.open()
        self.aggregator = Aggregator(self.inbox, 3600, folder, self.session, clock=self.clock, log=self.log, **changes)

    def send(self, *events):
        for event in events:
            self.inbox.put(event)
        self.aggregator.run()

    def close(self):
        self.aggregator.close()
        return self.samples()

    def samples(self):
        return samples_in(files_of(self.folder))

    def scanned(self):
        return scanned(files_of(self.folder))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def recording(tmp_path):
    return Recording(tmp_path)
