"""Prefixes of components on command lines."""

from argparse import ArgumentTypeError

from ocs.components.names import Prefix

__all__ = ["prefix_argument"]


def prefix_argument(text: str) -> Prefix:
    """Return the prefix that an argument is; a ``type`` for argparse.

    Args:
        text: as given.

    Raises:
        ArgumentTypeError: it is none; one line says why.
    """
    try:
        return Prefix.parse(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
