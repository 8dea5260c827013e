"""Where an agent's log goes: the console, and a file of its own."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

from twisted.logger import FileLogObserver, formatEvent, globalLogPublisher
from twisted.python.logfile import LogFile

from ocs.errors import OCSError

__all__ = ["LogFileError", "log_formatter", "log_level", "start_log_file"]

_ROTATE_AT = 100 << 20
_ROTATED_FILES = 9
_LEVELS = ("critical", "error", "warn", "info", "debug", "trace")


class LogFileError(OCSError):
    """The folder for log files is missing or cannot be written to."""


def log_formatter(event: dict[str, Any]) -> str:
    """Return a log event as one line of an agent's log file.

    Args:
        event: a Twisted log event.

    Returns:
        The UTC time, a blank, and the text, ended by a newline.
    """
    moment = datetime.fromtimestamp(event["log_time"], tz=UTC)
    return f"{moment:%Y-%m-%dT%H-%M-%S.%f} {formatEvent(event)}\n"


def log_level() -> str:
    """Return the level that the environment's ``LOGLEVEL`` asks for; ``info`` where it asks for none that exists."""
    wanted = os.environ.get("LOGLEVEL", "info").lower()
    return wanted if wanted in _LEVELS else "info"


def start_log_file(log_dir: str, working_dir: str | None, agent_address: str) -> Path:
    """Write everything that is logged to ``{log_dir}/{agent address}.log`` as well.

    The file is rotated at 100 MiB; nine older ones are kept.

    Args:
        log_dir: the folder; relative to ``working_dir``.
        working_dir: the folder to start from.
        agent_address: names the file.

    Returns:
        The file's path.

    Raises:
        LogFileError: if the folder cannot be made or written to.
    """
    folder = Path(working_dir or ".").expanduser() / Path(log_dir).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = LogFile(f"{agent_address}.log", str(folder), rotateLength=_ROTATE_AT, maxRotatedFiles=_ROTATED_FILES)
    except OSError as error:
        raise LogFileError(
            f"cannot write logs to {folder}: {error.strerror}."
            " Make the folder writable, or name another with --log-dir."
        ) from None
    observer: Any = FileLogObserver(cast("IO[str]", file), log_formatter)
    globalLogPublisher.addObserver(observer)
    return folder / f"{agent_address}.log"
