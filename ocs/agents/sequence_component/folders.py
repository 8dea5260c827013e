"""Which file a script's name means: one of the folders that scripts are allowed in, and nothing outside of them."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ocs.errors import SequenceScriptError

__all__ = ["SUFFIX", "ScriptFolders", "default_folders", "script_names"]

SUFFIX = ".py"
_MOST_SHOWN = 10
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,400}")


def default_folders(given: Sequence[str], site_file: str | None, environment: Mapping[str, str]) -> list[Path]:
    """Return the folders that scripts are allowed in.

    Args:
        given: those of the command line; where there are any, no others count.
        site_file: the site config file, where there is one: the folder ``sequences`` beside it is the default.
        environment: ``OCS_SCRIPT_DIR`` (several with ``:`` between) counts before the site's, ``OCS_CONFIG_DIR`` where
            there is no site file.
    """
    if given:
        return [Path(folder) for folder in given]
    if environment.get("OCS_SCRIPT_DIR"):
        return [Path(folder) for folder in environment["OCS_SCRIPT_DIR"].split(os.pathsep) if folder]
    if site_file:
        return [Path(site_file).resolve().parent / "sequences"]
    return [Path(environment["OCS_CONFIG_DIR"]) / "sequences"] if environment.get("OCS_CONFIG_DIR") else []


def script_names(subsystem: str, obs_mode: str) -> list[str]:
    """Return the names under which a mode's script is looked for where none is given; the first that there is wins.

    Args:
        subsystem: of the sequencer.
        obs_mode: the observing mode.
    """
    return [f"{subsystem.lower()}/{obs_mode}{SUFFIX}", f"{obs_mode}{SUFFIX}"]


class ScriptFolders:
    """The folders that scripts are allowed in.

    Args:
        folders: they are looked through in this order; a folder need not be there yet.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = [Path(os.path.abspath(folder)) for folder in folders]  # noqa: PTH100 - links are resolved later

    def find(self, names: Sequence[str]) -> Path:
        """Return the file that the first of the names that means one means, without links.

        Args:
            names: each relative to a folder, with or without ``.py``, or an absolute path into one.

        Raises:
            SequenceScriptError: there is none, it is outside of the folders, or no Python file.
        """
        if not self.folders:
            raise SequenceScriptError("no folder is allowed for sequence scripts: give --script-dir")
        for name in names:
            for candidate in self._candidates(name):
                if os.path.isfile(candidate):  # noqa: PTH113 - Path's raises for a name that no file can have
                    return self._checked(candidate)
        raise SequenceScriptError(f"there is no script {' or '.join(names)} in {self._told()}")

    def _candidates(self, name: str) -> list[Path]:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise SequenceScriptError(f"{name!r:.80} is no name of a script")
        file = name if name.endswith(SUFFIX) else name + SUFFIX
        if Path(file).is_absolute():
            self._refuse_outside(Path(os.path.normpath(file)), name)
            return [Path(file)]
        candidates = [folder / file for folder in self.folders]
        for candidate in candidates:
            self._refuse_outside(Path(os.path.normpath(candidate)), name)
        return candidates

    def _refuse_outside(self, path: Path, name: str) -> None:
        """Refuse before looking whether there is such a file: what is outside is nobody's business."""
        if not any(path.is_relative_to(root) for folder in self.folders for root in (folder, _real(folder))):
            raise SequenceScriptError(f"{name}: is outside of the folders that scripts are allowed in: {self._told()}")

    def _checked(self, path: Path) -> Path:
        """Return the file itself; one that a link leads to has to be in an allowed folder, too."""
        real = _real(path)
        if not any(real.is_relative_to(_real(folder)) for folder in self.folders):
            raise SequenceScriptError(f"{path}: leads out of the folders that scripts are allowed in: {self._told()}")
        return real

    def _told(self) -> str:
        return ", ".join(map(str, self.folders[:_MOST_SHOWN]))


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
