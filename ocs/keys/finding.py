"""Where a program's own key is, and the certificate by which it knows the router."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ocs.errors import KeysError
from ocs.keys.signing import SigningKey
from ocs.keys.table import require_name

__all__ = ["AUTHORITY_FILE", "CLIENT", "PRIVATE_FOLDER", "SiteKeys", "find_keys", "key_path"]

AUTHORITY_FILE: Final = "ca.crt"
PRIVATE_FOLDER: Final = "private"
CLIENT: Final = "client"
"""The name whose key control programs take."""


@dataclass(frozen=True)
class SiteKeys:
    """What a program has of a site's keys; at an open site, nothing.

    Args:
        key: its own key.
        ca: the file of the authority that signed the router's certificate; None: one that the system knows.
    """

    key: SigningKey | None = None
    ca: Path | None = None


def key_path(folder: Path, name: str) -> Path:
    """Return where the private key of a name is.

    Raises:
        KeysError: nobody can have this name.
    """
    return folder / PRIVATE_FOLDER / f"{require_name(name)}.key"


def find_keys(
    keys_folder: str | Path | None,
    names: Sequence[str],
    key_file: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> SiteKeys:
    """Return a program's key.

    Args:
        keys_folder: the site's keys folder; None takes ``$OCS_KEYS``.
        names: whose key may be used; the first that is there is taken.
        key_file: the key itself; None takes ``$OCS_KEY_FILE``.
        environ: the environment.

    Returns:
        The key, and the authority's certificate; both None where nothing names a folder or a key: an open site.

    Raises:
        KeysError: there is no key for any of the names, or it cannot be read.
    """
    folder_name = str(keys_folder or environ.get("OCS_KEYS") or "")
    folder = Path(folder_name).expanduser() if folder_name else None
    file = key_file or environ.get("OCS_KEY_FILE")
    if file:
        key = SigningKey.read(Path(file).expanduser())
    elif folder:
        key = SigningKey.read(_first(folder, names))
    else:
        return SiteKeys()
    return SiteKeys(key, _authority(folder, key.path))


def _first(folder: Path, names: Sequence[str]) -> Path:
    wanted = [key_path(folder, name) for name in names]
    found = next((path for path in wanted if _may_be_there(path)), None)
    if found is not None:
        return found
    known = " or ".join(map(str, wanted)) or "a key"
    raise KeysError(
        f"this site is closed, and there is no {known}: copy it from the router's keys folder "
        "(`ocs keys init` there makes those that are missing), or name another with --key-file"
    )


def _may_be_there(path: Path) -> bool:
    """Tell whether a file is worth reading; what is hidden from this account is: reading it says why it cannot be."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _authority(folder: Path | None, key: Path | None) -> Path | None:
    """Return the authority's certificate: in the folder, else in that of the key or the one above it."""
    places = [folder] if folder else [] if key is None else [key.parent, key.parent.parent]
    return next((place / AUTHORITY_FILE for place in places if _may_be_there(place / AUTHORITY_FILE)), None)
