"""What a process has loaded: out of which files, and led by what of its environment.

It answers one question: would a process that began now, in that folder and with that environment, load the same?
"""

import importlib
import importlib.util
import os
import site
import stat
import sys
import threading
import time
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

__all__ = ["Loaded", "UnfitError", "load", "state_of"]

_READ_BEFORE = ("PYTHON", "LC_", "LANG", "LD_", "GLIBC_", "MALLOC_", "OPENSSL_", "VIRTUAL_ENV", "COVERAGE_")
"""Beginnings of the variables that the interpreter, its libraries and its hooks read before anybody can see it."""

_IMPORTABLE = (".py", ".so", ".pth", ".dist-info", ".egg-info", ".egg-link")

_Lazy = importlib.util._LazyModule  # type: ignore[attr-defined]  # noqa: SLF001 - what LazyLoader makes


class UnfitError(Exception):
    """A module cannot be loaded ahead: importing it fails, or starts what a fork would break."""


class _Watched(os._Environ):  # type: ignore[type-arg]  # noqa: SLF001 - there is no other way to see what is read
    """The environment, which remembers what it is asked for."""

    asked: set[str] = set()  # noqa: RUF012 - one environment a process

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return str(super().__getitem__(name))


@contextmanager
def _seen(asked: set[str]) -> Iterator[None]:
    kind = type(os.environ)
    _Watched.asked = asked
    os.environ.__class__ = _Watched
    try:
        yield
    finally:
        os.environ.__class__ = kind


def state_of() -> str:
    """Return why this process cannot be forked; empty if it can."""
    if "twisted.internet.reactor" in sys.modules:
        return "it has a reactor"
    threads = Path("/proc/self/task")
    count = len(list(threads.iterdir())) if threads.exists() else threading.active_count()
    return f"it has {count} threads" if count > 1 else ""


def load(modules: Iterable[str]) -> "Loaded":
    """Import modules, and note what came of it.

    Raises:
        UnfitError: one of them cannot be loaded ahead; its name and the reason are its arguments.
    """
    began, asked = time.time(), set[str]()
    with _seen(asked):
        for name in modules:
            try:
                importlib.import_module(name)
            except (Exception, SystemExit) as error:  # somebody else's code
                raise UnfitError(name, f"{type(error).__name__}: {error}") from error
            if trouble := state_of():
                raise UnfitError(name, trouble)
    return Loaded(asked, began)


class Loaded:
    """What has been loaded so far.

    Args:
        asked: the variables that were read while it was loaded.
        began: when loading began (unix s).
    """

    def __init__(self, asked: Iterable[str], began: float) -> None:
        self._asked = frozenset(asked)
        self._env = dict(os.environ)
        self._cwd = str(Path.cwd())
        files, folders = _files(), _folders()
        self._files = _Signatures(files)
        self._folders = _Signatures(folders)
        self._names = {path: _importable(path) for path in folders}
        self._homes = dict(_homes())
        self._changed_meanwhile = next((path for path in files if _changed_since(path, began)), "")

    def changed(self) -> str:
        """Return the first file or folder that is no longer as it was loaded; empty if all are."""
        if self._changed_meanwhile:
            return self._changed_meanwhile
        # Something has come to a folder, or gone: a log file is of no account, a module is.
        others = (path for path in self._folders.look() if _importable(path) != self._names[path])
        return next(self._files.look(), "") or next(others, "")

    def differs(self, env: Mapping[str, str], cwd: str) -> str:
        """Return why a process of that environment and folder would load something else; empty if it would not."""
        for name in sorted({*self._env, *env}):
            if env.get(name) != self._env.get(name) and self._is_read(name):
                return f"{name} is another"
        if cwd != self._cwd and self._depends_on_folder():
            return f"modules are looked for in {self._cwd}"
        hiding = self._hidden_by(cwd)
        return f"{hiding} is in the way of what has been loaded" if hiding else ""

    def _is_read(self, name: str) -> bool:
        user_site = name in ("HOME", "USERPROFILE") and bool(site.ENABLE_USER_SITE)
        return name in self._asked or name.startswith(_READ_BEFORE) or user_site

    def _depends_on_folder(self) -> bool:
        search = self._env.get("PYTHONPATH", "")
        relative = bool(search) and not all(map(os.path.isabs, search.split(os.pathsep)))
        # What is found because we have been started there would not be found from elsewhere.
        local = not sys.flags.safe_path and sys.path[0] not in sys.path[1:] and sys.path[0] in self._homes.values()
        return relative or local

    def _hidden_by(self, folder: str) -> str:
        """Return what a plain start in a folder would import instead of what has been loaded."""
        if sys.flags.safe_path:
            return ""
        with suppress(OSError):
            for name in {entry.partition(".")[0] for entry in os.listdir(folder)} & self._homes.keys():  # noqa: PTH208
                spec = PathFinder.find_spec(name, [folder])
                if spec and spec.has_location and not _is_same(spec.origin, sys.modules[name]):
                    return str(spec.origin)
        return ""


def _files() -> set[str]:
    """Return what code has come from: modules, libraries, and what said where to look for them."""
    modules = {_file_of(module) for module in list(sys.modules.values())}
    hooks = {str(path) for folder in sys.path for path in _listed(folder) if path.suffix == ".pth"}
    return {path for path in (modules | hooks | _mapped()) if path.startswith("/")}


def _mapped() -> set[str]:
    maps = Path("/proc/self/maps")
    lines = maps.read_text(errors="surrogateescape").splitlines() if maps.exists() else []
    paths = {line.split(maxsplit=5)[-1] for line in lines if "/" in line}
    return {path for path in paths if path.startswith("/") and not path.startswith(("/dev/", "/memfd:"))}


def _folders() -> set[str]:
    """Return where modules are looked for, but for the folder that we were started in: it is not others'."""
    packages = {str(path) for module in list(sys.modules.values()) for path in _path_of(module)}
    return {*sys.path[0 if sys.flags.safe_path else 1 :], *packages}


def _path_of(module: object) -> list[str]:
    with suppress(Exception):  # the path of a namespace package is computed, by whoever made it
        return list(_told(module, "__path__") or [])
    return []


def _file_of(module: object) -> str:
    return str(_told(module, "__file__") or "")


def _told(module: object, name: str) -> Any:
    """Return what a module says of itself; one that is loaded only when it is looked at is not to notice."""
    look = object.__getattribute__ if isinstance(module, _Lazy) else getattr
    with suppress(Exception):  # what stands for a module may be anything
        return look(module, name)
    return None


def _homes() -> Iterator[tuple[str, str]]:
    """Yield for each module that is in no package the folder where it was found."""
    for name, module in list(sys.modules.items()):
        file = _file_of(module)
        if file and "." not in name and name != "__main__":
            path = Path(file)
            yield name, str(path.parent.parent if _told(module, "__path__") else path.parent)


def _importable(folder: str) -> frozenset[str]:
    names = (path.name for path in _listed(folder))
    return frozenset(name for name in names if name.endswith(_IMPORTABLE) or ("." not in name and name[:2] != "__"))


def _listed(folder: str) -> list[Path]:
    try:
        return list(Path(folder).iterdir())
    except OSError:
        return []


class _Signatures:
    """What tells whether files have been changed since, packed: looking touches little of the memory that is shared.

    An object each would lie between others all over it, and each of these pages would be copied with every start.

    Args:
        paths: the files.
    """

    _END = "\0"

    def __init__(self, paths: Iterable[str]) -> None:
        known = sorted(paths)
        self._paths = "".join(path + self._END for path in known)
        self._signs = array("q", map(_sign, known))

    def look(self) -> Iterator[str]:
        """Yield those that have changed since this was last told."""
        begin = 0
        for index, before in enumerate(self._signs):
            end = self._paths.index(self._END, begin)
            path, begin = self._paths[begin:end], end + 1
            now = _sign(path)
            if now != before:
                self._signs[index] = now
                yield path


def _sign(path: str) -> int:
    """Return a number that changes with a file; 0 if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - hundreds of them before each start
    except OSError:
        return 0
    return hash((found.st_ino, found.st_mtime_ns, 0 if stat.S_ISDIR(found.st_mode) else found.st_size))


def _changed_since(path: str, moment: float) -> bool:
    """Whether a file may have been changed between being read and being noted; what the future has changed has not."""
    with suppress(OSError):
        return moment < Path(path).stat().st_ctime <= time.time()
    return False


def _is_same(path: str | None, module: object) -> bool:
    with suppress(OSError, TypeError):
        return Path(path or "").samefile(_file_of(module))
    return False
