"""Names that the archive accepts, made from names that publishers chose."""

from collections.abc import Collection, Iterable

from ocs.feeds.names import enforce_field_name_rules

__all__ = ["MAX_NAME", "block_name", "field_names", "legal_field_name", "unique_name"]

MAX_NAME = 255
"""Characters in the longest field or block name that is written."""


def legal_field_name(name: object) -> str:
    """Return the legal field name nearest to ``name``, which may be of any type and length."""
    # Cut before the rules are applied: they need not walk a megabyte to keep 255 characters.
    return enforce_field_name_rules(_text(name)[: 16 * MAX_NAME])


def unique_name(name: str, taken: Collection[str]) -> str:
    """Return ``name``, or the first of ``name_01``, ``name_02``… that is not ``taken``, never over 255 characters."""
    if name not in taken:
        return name
    number = 1
    while (candidate := _numbered(name, number)) in taken:
        number += 1
    return candidate


def _numbered(name: str, number: int) -> str:
    suffix = f"_{number:02d}"
    return name[: MAX_NAME - len(suffix)] + suffix


def field_names(names: Iterable[object]) -> tuple[str, ...]:
    """Return one legal name per given name, in the same order, all different.

    A name that is legal as it came keeps it, whatever the others are corrected to.
    """
    given = list(names)
    legal = [legal_field_name(name) for name in given]
    taken = {fixed for name, fixed in zip(given, legal, strict=True) if name == fixed}
    result: list[str] = []
    for name, fixed in zip(given, legal, strict=True):
        final = fixed if name == fixed and fixed not in result else _free_name(fixed, taken)
        taken.add(final)
        result.append(final)
    return tuple(result)


def _free_name(name: str, taken: Collection[str]) -> str:
    # Underscores alone are legal, but with a number after them they are not.
    return name if name not in taken else unique_name(name if name.strip("_") else "invalid_field", taken)


def block_name(name: object) -> str:
    """Return ``name`` as a text of printable characters that fits the archive; an ordinary name stays as it is."""
    text = _text(name)[:MAX_NAME]
    return text if text.isprintable() else "".join(c if c.isprintable() else "_" for c in text)


def _text(name: object) -> str:
    try:
        return str(name)
    except ValueError:
        # An integer of more digits than Python is willing to print.
        return type(name).__name__
