"""Supervised child processes: decided in `states`, carried out by `Supervisor`."""

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
