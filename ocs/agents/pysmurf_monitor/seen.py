"""The index of what is in the files' table already: by a number for each path, which follows the table row by row.

A hit is a guess: the row of that id is looked at before it counts. A miss is certain for all rows up to
`Followed.last`, as long as the table is the one that was followed; `Followed.last_key` and `inode` tell.
"""

from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

__all__ = ["Followed", "Known", "Learned", "key_of"]

Known = tuple[int, int]
"""A path's key, and the id of a row that has, or had, that path."""


class Followed(NamedTuple):
    """Which table has been followed, and how far."""

    db_path: str
    """The database's file."""
    inode: int
    """The number of that file on its disk."""
    last: int = 0
    """The id of the last row that is in the index; 0: none is."""
    last_key: int = 0
    """The key of that row's path: if another path stands there, or none, the table is another."""


class Learned(NamedTuple):
    """Rows that follow what the index has."""

    known: list[Known]
    followed: Followed
    """As it is with them."""


def key_of(path: str) -> int:
    """Return the number by which a path is looked up: 64 bits, signed.

    Its upper half is the folder's: files of one folder lie side by side in the index, so that a batch touches few of
    its pages however large it is.
    """
    folder, _, name = path.rpartition("/")
    low = blake2b(name.encode(errors="surrogateescape"), digest_size=4).digest()
    return int.from_bytes(_folder_key(folder) + low, signed=True)


@lru_cache(maxsize=4096)
def _folder_key(folder: str) -> bytes:
    return blake2b(folder.encode(errors="surrogateescape"), digest_size=4).digest()
