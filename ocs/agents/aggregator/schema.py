"""What the fields and blocks of one feed are called in the archive, so that a name keeps one meaning.

Readers put a feed's data together by these names: all data of a field into one array, all pieces of a block into one
table with the fields of the first piece. A block of other fields therefore gets a name of its own, and texts never
share a field with numbers.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from ocs.agents.aggregator.columns import widest
from ocs.agents.aggregator.names import block_name, field_names, unique_name

__all__ = ["MAX_CHARACTERS", "FeedSchema", "Layout"]

MAX_CHARACTERS: Final = 2_000_000
"""Characters in all the names of one feed that are remembered (some 20,000 fields in different sets); a feed that makes
up more starts again, and may see a block's name given out a second time."""

_FIELD_COST: Final = 50


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
        self._characters = 0

    def layout(self, name: object, fields: tuple[Any, ...]) -> Layout:
        """Return where the block ``name`` with these ``fields``, both as published, goes."""
        found = self._layouts.get((name, fields))
        if found is None:
            found = self._learn(name, fields)
        return found

    def _learn(self, name: object, fields: tuple[Any, ...]) -> Layout:
        self._make_room((name, *fields))
        base, legal = block_name(name), field_names(fields)
        layout = Layout(self.block(base, frozenset(legal)), base, legal, legal != fields)
        self._layouts[name, fields] = layout
        return layout

    def block(self, base: str, fields: frozenset[str]) -> str:
        """Return the name under which a block with exactly these legal ``fields`` is written."""
        name = self._blocks.get((base, fields))
        if name is None:
            self._make_room((base, *fields))
            name = unique_name(base, self._block_names)
            self._blocks[base, fields] = name
            self._block_names.add(name)
        return name

    def _make_room(self, names: Sequence[Any]) -> None:
        """Count names that are about to be remembered; forget all of them when there are too many."""
        self._characters += sum(_FIELD_COST + (len(name) if isinstance(name, str) else 0) for name in names)
        if self._characters > MAX_CHARACTERS:
            self._characters = 0
            for memory in (self._layouts, self._blocks, self._block_names, self._fields, self._holds_text, self._types):
                memory.clear()

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
        self._holds_text[final] = text
        self._fields[name, text] = final
        return final

    def widen(self, field: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the type to write the field's numbers in: the widest that it has ever had, ``dtype`` included."""
        known = self._types.get(field, dtype)
        self._types[field] = widest([known, dtype])
        return self._types[field]
