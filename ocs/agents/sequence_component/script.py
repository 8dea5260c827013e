"""Loading a sequence script: its code is run once, to learn its steps; what is wrong with it is one line."""

import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

from ocs.errors import OCSError, SequenceScriptError
from ocs.sequence import Closing, Declarations, SequenceEnd, Step, declaring

__all__ = ["Script", "describe_error", "load", "unload"]

LARGEST = 1 << 20
"""The largest script, in bytes."""
MOST_STEPS = 1000

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Script:
    """A script that is loaded."""

    path: Path
    module: str
    """Under this name it is known to the interpreter while it is loaded."""
    steps: tuple[Step, ...]
    closings: tuple[Closing, ...]
    doc: str
    """Its first line of documentation."""

    @property
    def name(self) -> str:
        """The file's name, without its suffix."""
        return self.path.stem

    def number_of(self, step: str | int) -> int:
        """Return the position of a step, from 0.

        Args:
            step: its title, or its number from 1.

        Raises:
            SequenceScriptError: there is no such step.
        """
        titles = [each.title for each in self.steps]
        if isinstance(step, str) and step in titles:
            return titles.index(step)
        if isinstance(step, int) and not isinstance(step, bool) and 1 <= step <= len(titles):
            return step - 1
        known = ", ".join(f"{number} {title!r}" for number, title in enumerate(titles, 1))
        raise SequenceScriptError(f"{self.name} has no step {step!r}; it has: {known:.1000}")


def load(path: Path, helpers: Sequence[Path] = ()) -> Script:
    """Run a script's code and return what it declares. It takes as long as the script's imports do.

    Args:
        path: the file.
        helpers: folders with modules that scripts import; those that are loaded are forgotten first, so that they are
            read anew. The script's own folder need not be named.

    Raises:
        SequenceScriptError: it cannot be read, is no Python, raises something, or declares no steps.
    """
    code = _compiled(path)
    _forget_modules([path.parent, *helpers])
    _make_importable([path.parent, *helpers])
    module = ModuleType(f"ocs_sequence_{next(_numbers)}_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and the like look themselves up there
    try:
        declared = _declared(code, module, path)
    except BaseException:
        del sys.modules[module.__name__]
        raise
    doc = (module.__doc__ or "").strip().partition("\n")[0]
    return Script(path, module.__name__, tuple(declared.steps), tuple(declared.closings), doc)


def unload(script: Script) -> None:
    """Let the interpreter forget a script."""
    sys.modules.pop(script.module, None)


def _compiled(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            source = file.read(LARGEST + 1)
    except OSError as error:
        raise SequenceScriptError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(source) > LARGEST:
        raise SequenceScriptError(f"{path}: is larger than {LARGEST >> 20} MiB; no sequence script is")
    try:
        return compile(source, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise SequenceScriptError(f"{path}:{error.lineno or 1}: {_one_line(error.msg)}") from None
    except (ValueError, RecursionError, MemoryError) as error:  # a NUL; brackets within brackets
        raise SequenceScriptError(f"{path}: is no Python: {_one_line(error)}") from None


def _declared(code: Any, module: ModuleType, path: Path) -> Declarations:
    with declaring() as declared:
        try:
            exec(code, module.__dict__)  # noqa: S102 - that is what a sequence component is for
        except (Exception, SystemExit, SequenceEnd) as error:  # a script is somebody else's code
            raise SequenceScriptError(describe_error(error, path)) from error
    if not declared.steps:
        raise SequenceScriptError(f"{path}: declares no steps: put @step() before the functions that are to be called")
    if len(declared.steps) > MOST_STEPS:
        raise SequenceScriptError(f"{path}: declares {len(declared.steps)} steps; {MOST_STEPS} are the most")
    return declared


def describe_error(error: BaseException, path: Path) -> str:
    """Return what a script has raised as one line, with the line of the script where it happened.

    Args:
        error: what was raised.
        path: the script.
    """
    if isinstance(error, SyntaxError) and error.filename:  # of a module that it imports
        return f"{error.filename}:{error.lineno or 1}: {_one_line(error.msg)}"
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    place = f"{path}:{own[-1].lineno}" if own else str(path)
    text = _one_line(error)
    if isinstance(error, OCSError) and text:  # it stands for itself
        return f"{place}: {text}"
    return f"{place}: {type(error).__name__}{f': {text}' if text else ''}"


def _one_line(problem: object) -> str:
    try:
        return " ".join(str(problem).split())[:1000]
    except Exception:  # somebody else's __str__
        return type(problem).__name__


def _make_importable(folders: Sequence[Path]) -> None:
    """Let scripts import what stands beside them; at the end of the path, so that they hide nothing."""
    sys.path.extend(text for folder in folders if (text := str(folder)) not in sys.path)


def _forget_modules(folders: Sequence[Path]) -> None:
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and name != "__main__" and Path(file).parent in folders:
            del sys.modules[name]
