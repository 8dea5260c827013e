"""Files that are handed to the agent by function calls, as dicts of metadata, instead of datagrams at its port."""

import json
import queue
import time
from collections.abc import Iterable
from typing import Any

from ocs.agents.pysmurf_monitor.messages import Announcement, RefusedError, parse
from ocs.agents.pysmurf_monitor.report import Refusals

__all__ = ["MOST_QUEUED", "FileQueue", "announcements", "metadata_of", "queued"]

MOST_QUEUED = 10_000
"""So many files at most wait in the queue."""
AT_ONCE = 1_000
"""So many are taken from it at a time."""

FileQueue = queue.Queue[dict[str, Any] | None]
"""None is a call to look up."""


def metadata_of(data: bytes) -> dict[str, Any]:
    """Return what is to be known of an announced file: the payload, and who has announced it.

    Args:
        data: a datagram that has been found to be an announcement.
    """
    message = json.loads(data)
    return {**message["payload"], "pub_id": message["id"]}


def queued(files: FileQueue, timeout: float) -> list[dict[str, Any]]:
    """Return what is in the queue, some at most.

    Args:
        files: the queue.
        timeout: how long to wait (s) if there is nothing.
    """
    found = []
    try:
        found.append(files.get(timeout=timeout))
        while len(found) < AT_ONCE:
            found.append(files.get_nowait())
    except queue.Empty:
        pass
    return [each for each in found if each is not None]


def announcements(files: Iterable[dict[str, Any]], refusals: Refusals) -> list[Announcement]:
    """Return what is announced by metadata; it is looked at as closely as a datagram.

    Args:
        files: metadata.
        refusals: counts what is refused.
    """
    return [found for each in files if (found := _announcement(each, refusals))]


def _announcement(metadata: dict[str, Any], refusals: Refusals) -> Announcement | None:
    message = {"type": "data_file", "id": metadata.get("pub_id"), "time": time.time(), "payload": metadata}
    try:
        found = parse(json.dumps(message).encode())
    except RefusedError as error:
        refusals.add(error.reason, error.detail, str(metadata))
    except (TypeError, ValueError) as error:  # somebody else has put it there
        refusals.add("not_json", str(error), str(metadata))
    else:
        return found if isinstance(found, Announcement) else None
    return None
