"""What clients see, gathered."""

import pytest

from ocs.agents.host_manager.board import REPORT_DELAY, Board
from ocs.op_session import OpSession
from tests.harness.fakes import Log
from tests.harness.reactor import SteppedReactor


class Shown:
    def __init__(self):
        self.reactor, self.log, self.lines = SteppedReactor(), Log(), []
        self.count, self.line = 0, "0 of 1 agents up"
        self.board = Board(self.reactor, self.log, self.data, lambda: self.line, self.lines.append)
        self.session = OpSession(1, "manager")

    def data(self):
        self.count += 1
        return {"count": self.count}

    @property
    def messages(self):
        return [text for _time, text in self.session.messages]


@pytest.fixture
def shown():
    made = Shown()
    made.board.open(made.session)
    return made


def test_there_is_something_to_see_from_the_start(shown):
    assert shown.session.data == {"count": 1}
    assert shown.lines == ["0 of 1 agents up"]


def test_many_changes_are_shown_at_once(shown):
    for _ in range(100):
        shown.board.show_soon()
    shown.reactor.advance(REPORT_DELAY)
    assert shown.session.data == {"count": 2}


def test_the_line_is_told_when_it_changes(shown):
    shown.board.show_soon()
    shown.reactor.advance(REPORT_DELAY)
    shown.line = "1 of 1 agents up"
    shown.board.show_soon()
    shown.reactor.advance(REPORT_DELAY)
    assert shown.lines == ["0 of 1 agents up", "1 of 1 agents up"]


def test_the_last_is_shown_and_nothing_after_it(shown):
    shown.board.show_soon()
    shown.board.close()
    assert shown.session.data == {"count": 2}
    shown.board.show_soon()
    assert shown.reactor.getDelayedCalls() == []


def test_what_is_said_without_a_session_goes_to_the_log(shown):
    shown.board.close()
    shown.board.say("all quiet")
    assert shown.log.of("info") == ["all quiet"]


def test_a_broken_file_is_said_once_and_degrades_until_it_is_mended(shown):
    for _ in range(3):
        shown.board.parsed("[SCF]", ok=False, text="site.yaml:3:1: bad")
    shown.board.close()
    assert [text for text in shown.messages if "bad" in text] == [
        "site.yaml:3:1: bad (the last good reading stays in force)"
    ]
    assert shown.session.degraded
    shown.board.open(shown.session)
    shown.board.parsed("[SCF]", ok=True, text="1 instance")
    shown.board.close()
    assert not shown.session.degraded


def test_trouble_is_said_when_it_comes_and_when_it_goes(shown):
    for text in ("", "no engine", "no engine", ""):
        shown.board.note_trouble("docker", text)
    assert shown.messages[1:] == ["no engine", "docker: well again."]
