"""Blocks: samples that share their timestamps."""

from collections.abc import Iterable, Mapping
from typing import Any

from ocs.errors import BlockMismatchError

__all__ = ["Block", "mismatch"]


class Block:
    """Samples that were taken together: one list of timestamps, and a list of values per field.

    Args:
        name: the block's name, unique within the feed.
        keys: the names of its fields; they stay the same for the block's life.
    """

    def __init__(self, name: str, keys: Iterable[str]) -> None:
        self.name = name
        self.timestamps: list[float] = []
        self.tags: dict[str, Any] | None = None
        self.data: dict[str, list[Any]] = {key: [] for key in keys}

    def append(self, d: Mapping[str, Any]) -> None:
        """Add one sample.

        Args:
            d: a map with ``timestamp`` (unix s) and ``data`` (field name to value).

        Raises:
            BlockMismatchError: if the fields differ from the block's.
        """
        data = d["data"]
        self._check_keys(data)
        self.timestamps.append(d["timestamp"])
        for key, column in self.data.items():
            column.append(data[key])

    def extend(self, block: Mapping[str, Any]) -> None:
        """Add many samples.

        Args:
            block: a map with ``timestamps`` (unix s) and ``data`` (field name to list of values).

        Raises:
            BlockMismatchError: if the fields differ from the block's.
        """
        data = block["data"]
        self._check_keys(data)
        self.timestamps.extend(block["timestamps"])
        for key, column in self.data.items():
            column.extend(data[key])

    def _check_keys(self, data: Mapping[str, Any]) -> None:
        if data.keys() != self.data.keys():
            raise BlockMismatchError(mismatch(self.name, self.data, data))

    def empty(self) -> bool:
        """Tell whether the block holds no sample."""
        return not self.timestamps

    def clear(self) -> None:
        """Drop all samples; the fields stay."""
        self.timestamps = []
        self.data = {key: [] for key in self.data}

    def encoded(self) -> dict[str, Any]:
        """Return the block as it goes over the wire."""
        return _encoded(self.name, self.timestamps, self.data, self.tags)


def _encoded(
    name: str, timestamps: list[float], data: dict[str, list[Any]], tags: dict[str, Any] | None
) -> dict[str, Any]:
    message: dict[str, Any] = {"block_name": name, "timestamps": timestamps, "data": data}
    if tags:
        message["influxdb_tags"] = tags
    return message


def mismatch(name: str, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Return what is different between a block's fields and a sample's, as a sentence."""
    missing, added = sorted(mine.keys() - theirs.keys()), sorted(map(str, theirs.keys() - mine.keys()))
    parts = [f"{word} {keys}" for word, keys in (("missing", missing), ("new", added)) if keys]
    return f"Block structure does not match: {name} ({', '.join(parts)}). Use another block_name for other fields."
