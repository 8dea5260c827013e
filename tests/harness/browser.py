"""A real browser: Chromium without a window, driven as a person would."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def _need(program: str) -> str:
    """Return the path of a program; without it the test is skipped, in CI it fails: that has to have it."""
    if path := shutil.which(program):
        return path
    say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
    return say(f"there is no {program} for the tests; Debian: apt install chromium chromium-driver")


@contextmanager
def browser(folder: Path) -> Iterator[Any]:
    """Provide a browser that remembers nothing of earlier ones.

    Args:
        folder: for what it keeps.
    """
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = _need("chromium")
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"):
        options.add_argument(word)
    options.add_argument(f"--user-data-dir={folder}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    running = Chrome(options=options, service=Service(_need("chromedriver")))
    try:
        yield running
    finally:
        running.quit()
