"""The rules for field and block names: what a recorder can use as a key, and a plot as a label."""

import re

__all__ = ["FIELD_NAME_LIMIT", "enforce_field_name_rules", "verify_data_field_string"]

FIELD_NAME_LIMIT = 255
"""Longest field name, in characters."""

_LEGAL = re.compile(r"_*(?:[A-Za-z][A-Za-z0-9_]*)?")
_ILLEGAL = re.compile(r"[^A-Za-z0-9_]")
_LEADING = re.compile(r"(_*)[^A-Za-z]*(.*)", re.DOTALL)


def verify_data_field_string(field: str) -> bool:
    """Check a field name.

    Args:
        field: the name: letters, digits and underscores; the first character after any leading underscores is a letter;
            at most 255 characters.

    Returns:
        True.

    Raises:
        ValueError: saying what is wrong with the name.
    """
    if not field:
        raise ValueError("a field name is empty; give it a name of letters, digits and underscores.")
    if len(field) > FIELD_NAME_LIMIT:
        raise ValueError(
            f"field name {field[:40]}... has {len(field)} characters; at most {FIELD_NAME_LIMIT} are allowed."
        )
    illegal = _ILLEGAL.search(field)
    if illegal:
        raise ValueError(
            f"field name {field!r} has the character {illegal.group()!r};"
            " only letters, digits and underscores are allowed."
        )
    if not _LEGAL.fullmatch(field):
        raise ValueError(f"field name {field!r} must have a letter first, after any leading underscores.")
    return True


def enforce_field_name_rules(name: str) -> str:
    """Make a legal field name of any text.

    Args:
        name: the text. Spaces become underscores; illegal characters, and what stands before the first letter other
            than leading underscores, go; what is longer than 255 characters is cut.

    Returns:
        The legal name; ``invalid_field`` where nothing is left.
    """
    cleaned = _ILLEGAL.sub("", name.replace(" ", "_"))
    match = _LEADING.fullmatch(cleaned)
    legal = "".join(match.groups()) if match else ""
    return legal[:FIELD_NAME_LIMIT] or "invalid_field"
