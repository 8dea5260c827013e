"""Imports the module of every agent class of a plugin, each in a process of its own, and tells how that went.

    import_agents.py PLUGIN_MODULE [STAND_IN...]

STAND_IN: a vendor's module that is not to be had. Where an import fails it is tried once more with something that has
every name in the place of these. Prints a JSON object: class → what came of each attempt: null, or the error's kind and
text.
"""

import importlib
import importlib.abc
import importlib.machinery
import json
import os
import sys
import traceback
import types
from unittest.mock import MagicMock

# What every agent imports anyway, once for all: a forked process has it already.
import ocs.ocs_agent
import ocs.site_config  # noqa: F401


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Has every module below the given names, and in these every name."""

    def __init__(self, names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        wanted = name.partition(".")[0] in self.names
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if wanted else None

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__getattr__ = MagicMock()
        module.__all__ = []
        return module

    def exec_module(self, module):
        pass


def attempt(module, entry_point, stand_ins=()):
    sys.meta_path.insert(0, StandIns(stand_ins))
    try:
        assert callable(getattr(importlib.import_module(module), entry_point))
    except BaseException as error:  # a module that exits when imported has failed too
        traceback.print_exc()
        return [type(error).__name__, str(error)]
    return None


def apart(*args):
    """Do it in a forked process; what one module leaves in the interpreter helps or hurts no other."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(read)
        os.write(write, json.dumps(attempt(*args)).encode()[:60_000])
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        told = answer.read()
    os.waitpid(pid, 0)
    return json.loads(told) if told else ["Died", "the interpreter ended"]


def main():
    _, plugin, *stand_ins = sys.argv
    answers = {}
    for name, each in importlib.import_module(plugin).agents.items():
        place = each["module"], each["entry_point"]
        answers[name] = [apart(*place)]
        if answers[name] != [None]:
            answers[name].append(apart(*place, stand_ins))
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
