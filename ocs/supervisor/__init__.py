"""Supervised child processes: decided in `states`, carried out by `Supervisor`.

The names are loaded when they are asked for: the template, which is a program of this package, loads what agents load.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ocs.supervisor.child import Child, PastRun
    from ocs.supervisor.ledger import Entry, Ledger, end_leftovers
    from ocs.supervisor.output import ChildOutput, LogFile, Tail
    from ocs.supervisor.process import ChildProcess, Command, Launcher, LaunchError
    from ocs.supervisor.states import ChildState, Event, Exit, Phase, Policy, SendSignal, Start, Target, step
    from ocs.supervisor.supervisor import Supervisor

__all__ = [
    "Child",
    "ChildOutput",
    "ChildProcess",
    "ChildState",
    "Command",
    "Entry",
    "Event",
    "Exit",
    "LaunchError",
    "Launcher",
    "Ledger",
    "LogFile",
    "PastRun",
    "Phase",
    "Policy",
    "SendSignal",
    "Start",
    "Supervisor",
    "Tail",
    "Target",
    "end_leftovers",
    "step",
]

_NAMES = {
    "child": ("Child", "PastRun"),
    "ledger": ("Entry", "Ledger", "end_leftovers"),
    "output": ("ChildOutput", "LogFile", "Tail"),
    "process": ("ChildProcess", "Command", "LaunchError", "Launcher"),
    "states": ("ChildState", "Event", "Exit", "Phase", "Policy", "SendSignal", "Start", "Target", "step"),
    "supervisor": ("Supervisor",),
}
_MODULE_OF = {name: f"{__name__}.{module}" for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULE_OF[name]), name)
    return value
