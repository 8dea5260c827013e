"""The bar on standard error: only on a terminal, and only when there is something to wait for."""

import sys

import pytest

from ocs.cli.progress import progress_bar
from tests.harness.archive import Clock


@pytest.fixture
def terminal(monkeypatch):
    """A bar on what is taken for a terminal."""
    monkeypatch.setenv("TERM", "xterm")

    def bar(clock):
        # Only now, as what captures the output may have changed it since the fixture was made.
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        return progress_bar(clock)

    return bar


def test_a_pipe_gets_no_bar(capsys):
    with progress_bar() as progress:
        progress("reading", 1, 2)
    assert capsys.readouterr().err == ""


def test_what_is_over_at_once_needs_no_bar(terminal, capsys):
    with terminal(Clock()) as progress:
        progress("reading", 1, 2)
        progress("reading", 2, 2)
    assert capsys.readouterr().err == ""


def test_what_takes_long_is_named_and_its_share_shown(terminal, capsys):
    clock = Clock()
    with terminal(clock) as progress:
        for done in range(3):
            clock.advance(1)
            progress("indexing", done, 4)
    shown = capsys.readouterr().err
    assert "indexing" in shown
    assert "50%" in shown


def test_the_bar_ends_with_an_error(terminal):
    clock = Clock()

    def work():
        with terminal(clock) as progress:
            clock.advance(1)
            progress("reading", 1, 2)
            raise KeyError

    with pytest.raises(KeyError):
        work()
