"""What every Python of a router loads before anything else, since `ocs.router.process` puts this folder on its path.

A library of crossbar's allows Python a hundred times the depth that it has by itself, which is more than the stack has
room for: one deeply nested message in JSON would end the router. Here nobody allows more.
"""

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

__all__ = ["MOST_NESTED"]

MOST_NESTED = 1000
"""How deep Python may go, as it does by itself."""

_allow = sys.setrecursionlimit


def _bounded(limit: int) -> None:
    _allow(min(limit, MOST_NESTED))


def _load_that_of_the_system() -> None:
    """Load the file of this name that would have been loaded without this one."""
    here = Path(__file__).parent
    spec = PathFinder.find_spec(__name__, [folder for folder in sys.path if Path(folder) != here])
    if spec and spec.loader:
        spec.loader.exec_module(module_from_spec(spec))


if __name__ == "sitecustomize":
    sys.setrecursionlimit = _bounded
    _load_that_of_the_system()
