"""Loading fields of an archive as NumPy arrays."""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ocs.hk.archive import IndexedFile, Progress, archive_files, nobody, with_archive
from ocs.hk.describe import BlockInfo
from ocs.hk.index import Series
from ocs.hk.moments import Moment, span_of
from ocs.hk.names import UnknownFieldError, chosen_names
from ocs.hk.plan import Table, block_refs, read_tables

__all__ = ["Data", "FieldData", "load", "load_from"]


class FieldData(NamedTuple):
    """The samples of a field."""

    times: NDArray[np.float64]
    """When they were measured (unix, s), in order. Fields measured together share one array."""
    values: NDArray[Any]
    """What was measured: float64, int64, bool, or text; as long as the times."""


class Data(Mapping[str, FieldData]):
    """Samples by the full name of their field, ``{feed address}.{field}``.

    A field is also found by some parts of its name, in their order, if there is only one that has them:
    ``data["fake-1.channel_00"]``.

    Args:
        fields: full name → samples.
    """

    def __init__(self, fields: Mapping[str, FieldData]) -> None:
        self._fields = dict(fields)

    def __getitem__(self, name: str) -> FieldData:
        found = self._fields.get(name)
        if found is not None:
            return found
        names = chosen_names([name], list(self._fields))
        if len(names) > 1:
            raise UnknownFieldError(f"{name} may be any of {len(names)} fields: {', '.join(names[:3])}…")
        return self._fields[names[0]]

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        lines = [f"  {name}: {len(data.times)} {data.values.dtype}" for name, data in self._fields.items()]
        return "\n".join([f"<Data of {len(lines)} fields", *lines[:20], *(["  …"] if len(lines) > 20 else [])]) + ">"  # noqa: PLR2004


def load(
    target: str | os.PathLike[str],
    fields: str | Iterable[str] = "*",
    start: Moment | None = None,
    stop: Moment | None = None,
    *,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.time,
) -> Data:
    """Load fields of an archive.

    Args:
        target: a ``.g3`` file, or a folder with such files at any depth.
        fields: one or several of: the full name of a field (``observatory.fake-1.feeds.temps.channel_00``), or some
            parts of it in their order (``fake-1.channel_00``, ``fake-1``). In a part ``*`` stands for any characters
            and ``?`` for one. All fields if not given.
        start: samples before it are left out: unix time (s), ISO text or `datetime` (UTC if it has no time zone), or
            a time before now, ``-1h``. None: from the first on.
        stop: samples at it and after it are left out. None: up to the last.
        progress: called with what is being done, and how many bytes of how many are done.
        clock: what the time is (unix, s), for ``start`` and ``stop``.

    Returns:
        Full name → times and values, as so3g's ``HKArchive.simple`` gives them. Samples are in the order of their
        times; where these are the same, in the order in which they were recorded. A field that was recorded as several
        types has the widest: float before integer before boolean; text before all. One without samples in the span
        has arrays of length 0.

    Raises:
        UnknownFieldError: (a KeyError) no field is called so; the text says which are nearly.
        MomentError: (a ValueError) ``start`` or ``stop`` is no time.
        RecordingError: there is no archive, or it cannot be read. A damaged file is read up to the damage.
    """
    span = span_of(start, stop, clock)
    patterns = [fields] if isinstance(fields, str) else list(fields)
    watch = progress or nobody
    return with_archive(
        archive_files(target), lambda archive: load_from(archive, patterns, *span, progress=watch), watch
    )


def load_from(
    archive: Iterable[IndexedFile],
    fields: Iterable[str],
    start: float | None = None,
    stop: float | None = None,
    *,
    progress: Progress = nobody,
) -> Data:
    """Load fields from an archive that has been opened; see `load`.

    Args:
        archive: its files.
        fields: names, parts of names, and patterns.
        start: samples before it (unix, s) are left out.
        stop: samples at it and after it are left out.
        progress: told how it goes.

    Raises:
        UnknownFieldError: no field is called so.
        ChangedFileError: a file is not what its index says.
        RecordingError: a file cannot be read.
    """
    files = list(archive)
    names = chosen_names(fields, field_names(files))
    choice = _Choice(names)
    found = block_refs(files, choice, start, stop)
    tables = {}
    for keys, together in _sampled_together(found).items():
        refs = [ref for key in keys for ref in found[key]]
        table = Table(refs, [field for _, field in together])
        tables.update(dict.fromkeys(together, table))
    read_tables(files, dict.fromkeys(tables.values()), start, stop, progress)
    times = {id(table): table.times for table in tables.values()}
    nothing = FieldData(np.zeros(0), np.zeros(0))
    loaded = {
        f"{address}.{field}": FieldData(times[id(table)], table.columns[field])
        for (address, field), table in tables.items()
    }
    return Data({name: loaded.get(name, nothing) for name in names})


def field_names(archive: Iterable[IndexedFile]) -> list[str]:
    """Return the full names of the fields in an archive, sorted."""
    return sorted({f"{one.address}.{field}" for file in archive for one in file.summary.series for field in one.fields})


class _Choice:
    """Chooses the blocks that have some of the fields: a block goes under its feed and which of these it has."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = set(names)
        self._known: dict[tuple[str, int], tuple[Any, tuple[str, tuple[str, ...]] | None]] = {}

    def __call__(self, address: str, block: BlockInfo | Series) -> Hashable | None:
        # One map of fields serves many blocks; it is kept, so that no other can have its id.
        key = address, id(block.fields)
        if key not in self._known:
            self._known[key] = block.fields, self._wanted(address, block.fields)
        return self._known[key][1]

    def _wanted(self, address: str, fields: Iterable[str]) -> tuple[str, tuple[str, ...]] | None:
        wanted = tuple(field for field in fields if f"{address}.{field}" in self._names)
        return (address, wanted) if wanted else None


def _sampled_together(keys: Iterable[Any]) -> dict[tuple[Any, ...], list[tuple[str, str]]]:
    """Return which fields are in the same blocks, so that they have the same times."""
    keys_of: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for key in keys:
        address, fields = key
        for field in fields:
            keys_of[address, field].append(key)
    together: dict[tuple[Any, ...], list[tuple[str, str]]] = defaultdict(list)
    for name, where in keys_of.items():
        together[tuple(where)].append(name)
    return together
