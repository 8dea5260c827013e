"""What the fields and blocks of one feed are called in the archive, so that a name keeps one meaning.

Readers put a feed's data together by these names: all data of a field into one array, all pieces of a block into one
table with the fields of the first piece. A block of other fields therefore gets a name of its own, and texts never
share a field with numbers.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from ocs.agents.aggregator.columns import widest
from ocs.agents.aggregator.names import block_name, field_names, unique_name

__all__ = ["MAX_LAYOUTS", "FeedSchema", "Layout"]

MAX_LAYOUTS: Final = 1000
"""Sets of fields of one feed that are remembered; with more of them, names may be given out a second time."""


class Layout(NamedTuple):
    """Where the columns of a message's block go."""

    block: str
    """The block's name in the archive."""
    base: str
    """The block's name as published, made printable."""
    fields: tuple[str, ...]
    """The legal name of each column, in the message's order."""
    corrected: bool
    """Whether any field is called otherwise than it was published."""


class FeedSchema:
    """The names and types of one feed, learned from what it sends.

    Lives as long as the aggregator runs: a feed that falls silent and comes back finds its names again.
    """

    def __init__(self) -> None:
        self._layouts: dict[tuple[object, tuple[Any, ...]], Layout] = {}
        self._blocks: dict[tuple[str, frozenset[str]], str] = {}
        self._block_names: set[str] = set()
        self._fields: dict[tuple[str, bool], str] = {}
        self._holds_text: dict[str, bool] = {}
        self._types: dict[str, np.dtype[Any]] = {}

    def layout(self, name: object, fields: tuple[Any, ...]) -> Layout:
        """Return where the block ``name`` with these ``fields``, both as published, goes."""
        found = self._layouts.get((name, fields))
        if found is None:
            found = self._learn(name, fields)
        return found

    def _learn(self, name: object, fields: tuple[Any, ...]) -> Layout:
        if len(self._layouts) >= MAX_LAYOUTS:
            self._layouts.clear()
        base, legal = block_name(name), field_names(fields)
        layout = Layout(self.block(base, frozenset(legal)), base, legal, legal != fields)
        self._layouts[name, fields] = layout
        return layout

    def block(self, base: str, fields: frozenset[str]) -> str:
        """Return the name under which a block with exactly these legal ``fields`` is written."""
        name = self._blocks.get((base, fields))
        if name is None:
            if len(self._blocks) >= MAX_LAYOUTS:
                self._blocks.clear()
                self._block_names.clear()
            name = unique_name(base, self._block_names)
            self._blocks[base, fields] = name
            self._block_names.add(name)
        return name

    def field(self, name: str, *, text: bool) -> str:
        """Return the name under which the field's numbers, or its texts, are written.

        The kind that came first has the field's own name; the other kind's name ends in ``_text`` or ``_number``.
        """
        found = self._fields.get((name, text))
        if found is None:
            found = self._name_kind(name, text=text)
        return found

    def _name_kind(self, name: str, *, text: bool) -> str:
        final = name
        if self._holds_text.get(name, text) != text:
            final = unique_name(name[:240] + ("_text" if text else "_number"), self._holds_text)
        if len(self._fields) >= MAX_LAYOUTS * 10:
            self._fields.clear()
            self._holds_text.clear()
        self._holds_text[final] = text
        self._fields[name, text] = final
        return final

    def widen(self, field: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the type to write the field's numbers in: the widest that it has ever had, ``dtype`` included."""
        known = self._types.get(field, dtype)
        if len(self._types) >= MAX_LAYOUTS * 10:
            self._types.clear()
        self._types[field] = widest([known, dtype])
        return self._types[field]
