"""A wall clock that a test can set: libfaketime in front of the programs that are to see it."""

import os
from pathlib import Path

import pytest

_PLACES = ("/usr/lib", "/usr/lib64", "/usr/local/lib")


class Clock:
    """What time it is for programs that run in `environment`; a clock that only goes on is left alone.

    Args:
        directory: where the setting is kept.

    Attributes:
        environment: what makes a program go by this clock.
    """

    def __init__(self, directory: Path) -> None:
        self._setting = directory / "clock"
        self.set(0)
        self.environment = {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._setting),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",  # as older versions call it
        }

    def set(self, offset: float) -> None:
        """Set the clock this many seconds after the machine's, from now on."""
        new = self._setting.with_suffix(".new")
        new.write_text(f"{offset:+}\n")
        new.replace(self._setting)


def _library() -> Path:
    """Return libfaketime; without it the test is skipped, and fails in CI."""
    for place in _PLACES:
        for found in sorted(Path(place).glob("**/libfaketimeMT.so.1")):
            return found
    text = "there is no libfaketime: `apt-get install libfaketime` for the tests that set the clock"
    raise (pytest.fail if os.environ.get("CI") == "true" else pytest.skip).Exception(text)
