"""What clients see of the manager: its messages, `session.data`, and a line for systemd."""

import time
from collections.abc import Callable
from typing import Any

from ocs.agents.host_manager.alarm import Alarm

__all__ = ["Board"]

REPORT_DELAY = 0.1
"""How long changes are gathered before clients see them, in seconds."""


class Board:
    """Shows how the manager does, while there is a session.

    Args:
        reactor: keeps the time.
        log: takes what is said while there is no session.
        make_data: makes ``session.data``.
        make_line: says how all do, in a line.
        on_line: called with that line when it has changed.
    """

    def __init__(
        self,
        reactor: Any,
        log: Any,
        make_data: Callable[[], dict[str, Any]],
        make_line: Callable[[], str],
        on_line: Callable[[str], None],
    ) -> None:
        self.parse_status: dict[str, tuple[bool, float, str]] = {}
        """Of each file that is read: whether it could be, when (unix s), and what there is to say."""
        self.trouble: dict[str, str] = {}
        """What else keeps the manager from its work, by what it is about."""
        self._log = log
        self._make_data = make_data
        self._make_line = make_line
        self._on_line = on_line
        self._line = ""
        self._session: Any = None
        self._alarm = Alarm(reactor, self._show)

    @property
    def is_open(self) -> bool:
        """Whether there is a session to show on."""
        return self._session is not None

    def open(self, session: Any) -> None:
        """Show on a new session."""
        self._session, self._line = session, ""
        self._show()

    def close(self) -> None:
        """Show the last of it."""
        self._alarm.stop()
        self._show()
        self._session = None

    def say(self, line: str) -> None:
        """Add a line to the session's messages, which go to the log too."""
        if self._session is not None:
            self._session.add_message(line)
        else:
            self._log.info("{line}", line=line)

    def parsed(self, name: str, *, ok: bool, text: str, when: float | None = None) -> None:
        """Note how the reading of a file went (at ``when``, unix s, else now); say so if it is news that it failed."""
        known = self.parse_status.get(name)
        self.parse_status[name] = (ok, time.time() if when is None else when, text)
        if not ok and (known is None or known[0] or known[2] != text):
            self.say(f"{text} (the last good reading stays in force)")

    def note_trouble(self, about: str, text: str) -> None:
        """Note what is wrong with something, or that all is well again; say so once."""
        if self.trouble.get(about, "") == text:
            return
        if text:
            self.trouble[about] = text
            self.say(text)
        else:
            self.say(f"{about}: well again.")
            del self.trouble[about]

    def show_soon(self) -> None:
        """Have clients see what is new."""
        if self._session is not None:
            self._alarm.set(REPORT_DELAY)

    def _show(self) -> None:
        if self._session is None:
            return
        self._session.degraded = bool(self.trouble) or not all(ok for ok, _time, _text in self.parse_status.values())
        self._session.data = self._make_data()
        line = self._make_line()
        if line != self._line:
            self._line = line
            self._on_line(line)
