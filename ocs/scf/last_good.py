"""A copy of a site config file as it was last good, for a manager that starts while somebody is editing the file."""

import os
import zlib
from pathlib import Path

from ocs.errors import HostNotFoundError, InstanceNotFoundError, SiteConfigError, SiteFileNotFoundError

__all__ = ["copy_of", "is_mistake", "keep_copy"]


def _place(site_file: str) -> Path | None:
    """Return where the copy of a file is; it depends on nothing that is in the file."""
    state = os.environ.get("OCS_STATE_DIR")
    home = os.environ.get("XDG_STATE_HOME") or str(Path("~/.local/state").expanduser())
    root = Path(state) if state else Path(home) / "ocs"
    path = Path(site_file).absolute()
    return root / "site-files" / f"{zlib.crc32(os.fsencode(path)):08x}-{path.name}" if root.is_absolute() else None


def keep_copy(site_file: str) -> None:
    """Keep a copy of a file that has just been found good, unless there is one; a disk that refuses is no error."""
    place = _place(site_file)
    if place is None:
        return
    try:
        text = Path(site_file).read_bytes()
        if place.is_file() and place.read_bytes() == text:
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        new = place.with_name(f"{place.name}.{os.getpid()}.new")
        new.write_bytes(text)
        new.replace(place)
    except OSError:
        return  # a full disk costs the copy, not the reading


def copy_of(site_file: str) -> str | None:
    """Return the copy of a file as it was last good, or None if there is none."""
    place = _place(site_file)
    return str(place) if place is not None and place.is_file() else None


def is_mistake(error: SiteConfigError) -> bool:
    """Tell whether an error is a mistake in a file that is there, rather than that something else is meant."""
    return not isinstance(error, SiteFileNotFoundError | HostNotFoundError | InstanceNotFoundError)
