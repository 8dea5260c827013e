"""Waiting for what happens in other processes."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(condition: Callable[[], T], timeout: float = 15.0) -> T:
    """Ask `condition` until its answer is true, and return that; fails the test after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s; last answer: {answer!r}"
        time.sleep(0.05)
    return answer
