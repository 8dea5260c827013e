"""``python -m ocs.supervisor.template``: has loaded what every agent loads, and forks agents on request.

The manager (`ocs.supervisor.forking`) starts it and speaks with it over a socket, a message a packet, in JSON. To begin
with it says ``{"ready": true}``, or ``{"unfit": module, "why": text}`` and ends. A request, ``{"argv", "env", "cwd"}``
with two descriptors, for the output and of the gate, is answered by ``{"pid": number}``, by ``{"refused": text}`` if
that agent has to be started plainly, or by ``{"anew": text}``, after which it ends, if what it has loaded has changed.

A forked agent is the grandchild of this process, so that it becomes the manager's own child, and runs ``ocs.agent_cli``
as ``python -m ocs.agent_cli`` would. What differs from a plain start: more modules than it needs are loaded, what
importing them has printed is in the manager's log, sets of strings are iterated in the same order by all agents of one
template, and limits, priorities and the mask for new files are those that the manager had when this process began.
"""

import argparse
import builtins
import gc
import json
import os
import runpy
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType, TracebackType
from typing import Any

from ocs.supervisor.loaded import Loaded, UnfitError, load, state_of

__all__ = ["ANEW", "PID", "READY", "REFUSED", "TITLE_ROOM", "UNFIT", "WHY", "main"]

READY, UNFIT, WHY, PID, REFUSED, ANEW = "ready", "unfit", "why", "pid", "refused", "anew"

TITLE_ROOM = "OCS_TEMPLATE_TITLE_ROOM"
"""A variable that makes room for the titles of the agents, where the command line of this process was."""

_AGENT = "ocs.agent_cli"

_MODULES = (
    "ocs.cli.agent_cli",
    "ocs.ocs_agent",
    "ocs.ocs_twisted",
    "ocs.scf.reading",
    "ocs.agents.barebones.agent",
    "ocs.agents.fake_data.agent",
    "ocs.agents.registry.agent",
    "encodings.idna",
    "importlib.metadata",
    "setproctitle",
    # What the reactor is made of; not the reactor.
    "twisted.internet.default",
)
"""With what these load, all that an agent has loaded when it runs."""

_LONGEST_REQUEST = 1 << 20
"""In bytes."""


@dataclass(frozen=True)
class _Request:
    """One agent to start, and what it is given."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    output: int
    gate: int

    def close(self) -> None:
        os.close(self.output)
        os.close(self.gate)


def main(words: Sequence[str] | None = None) -> int:
    """Run the program; in a forked agent it returns only by raising what ends the agent.

    Args:
        words: the command line; None: that of the program.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog="python -m ocs.supervisor.template",
        description="Load what every agent loads, and fork agents; the host manager starts this.",
    )
    parser.add_argument("--socket", type=int, required=True, metavar="FD", help="where requests come from")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="a further module to load")
    args = parser.parse_args(words)
    with suppress(PermissionError):  # it leads a session already
        os.setsid()
    # It ends when the manager does, which hears of the same signals if the whole machine is told to end.
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    with socket.socket(fileno=args.socket) as manager:
        loaded = _load(manager, args.modules)
        agent = _serve(manager, loaded) if loaded else None
    if agent:
        # What has been noted stays where it is: giving it back would touch the memory that all agents share.
        _run(agent, handlers)
    return 0


def _load(manager: socket.socket, modules: Sequence[str]) -> Loaded | None:
    # Nothing that is made here is garbage worth looking for, and looking would touch what is to be shared.
    gc.disable()
    try:
        loaded = load((*_MODULES, *modules))
    except UnfitError as unfit:
        _say(manager, {UNFIT: unfit.args[0], WHY: unfit.args[1]})
        return None
    _set_title("ocs-template")
    gc.freeze()
    _say(manager, {READY: True})
    return loaded


def _serve(manager: socket.socket, loaded: Loaded) -> _Request | None:
    """Answer requests until the manager has gone; in an agent, return what it was asked to be."""
    with suppress(ConnectionError):
        while request := _receive(manager):
            answer = _answer(request, loaded)
            if answer is None:
                return request
            request.close()
            _say(manager, answer)
            if ANEW in answer:
                break
    return None


def _say(manager: socket.socket, message: dict[str, Any]) -> None:
    with suppress(ConnectionError):
        manager.send(json.dumps(message).encode())


def _receive(manager: socket.socket) -> _Request | None:
    """Return the next request, or None if the manager has gone."""
    data, fds, _flags, _address = socket.recv_fds(manager, _LONGEST_REQUEST, 2, socket.MSG_CMSG_CLOEXEC)
    if not data:
        return None
    return _Request(**json.loads(data), output=fds[0], gate=fds[1])


def _answer(request: _Request, loaded: Loaded) -> dict[str, Any] | None:
    """Start the agent; None in the agent itself."""
    if changed := loaded.changed():
        return {ANEW: f"{changed} has changed"}
    trouble = state_of() or loaded.differs(request.env, request.cwd)
    if trouble:
        return {REFUSED: trouble}
    try:
        pid = _fork_twice()
    except OSError as error:
        return {REFUSED: str(error)}
    return {PID: pid} if pid else None


def _fork_twice() -> int:
    """Fork a process that does not become our child.

    Returns:
        Its id, or 0 in the process itself.

    Raises:
        OSError: there can be no more processes.
    """
    inner, outer = os.pipe()
    between = os.fork()
    if between == 0:
        return _fork_on(inner, outer)
    os.close(outer)
    text = os.read(inner, 20)
    os.close(inner)
    # Once it has been waited for, its child is the manager's.
    os.waitpid(between, 0)
    if not text:
        raise OSError("the process could not be forked")
    return int(text)


def _fork_on(inner: int, outer: int) -> int:
    try:
        pid = os.fork()
        if pid == 0:
            os.close(inner)
            os.close(outer)
            return 0
        os.write(outer, b"%d" % pid)
    except OSError:
        os._exit(1)
    os._exit(0)


# In the agent.


def _run(agent: _Request, handlers: Mapping[signal.Signals, Any]) -> None:
    """Become the agent, once it has been let in."""
    os.setsid()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for descriptor in (1, 2):
        os.dup2(agent.output, descriptor)
    os.close(agent.output)
    _set_title(" ".join(agent.argv), os.path.basename(sys.executable))  # noqa: PTH119 - as the system does it
    _set_environment(agent.env)
    _set_search(agent.cwd)
    _set_arguments(agent.argv)
    with suppress(AttributeError):  # the interpreter forgets it, in some versions
        threading.main_thread()._set_native_id()  # type: ignore[attr-defined]  # noqa: SLF001
    gc.enable()
    if not os.read(agent.gate, 1):
        os._exit(0)
    os.close(agent.gate)
    try:
        # What the interpreter itself does for -m.
        runpy._run_module_as_main(_AGENT)  # type: ignore[attr-defined]  # noqa: SLF001 - it has no public name
    except BaseException:
        _hide_ourselves()
        raise


def _set_environment(env: dict[str, str]) -> None:
    for name in os.environ.keys() - env.keys():
        del os.environ[name]
    for name, value in env.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
    time.tzset()


def _set_search(cwd: str) -> None:
    os.chdir(cwd)
    if not sys.flags.safe_path:
        sys.path[0] = os.getcwd()  # noqa: PTH109 - as the interpreter does it


def _set_arguments(argv: list[str]) -> None:
    sys.orig_argv = list(argv)
    sys.argv = ["-m", *argv[3:]]
    # Ours is still in use, by the functions that are being run.
    main_module = sys.modules["__main__"] = ModuleType("__main__")
    vars(main_module).update(__annotations__={}, __builtins__=builtins)


def _set_title(title: str, name: str | None = None) -> None:
    from setproctitle import setproctitle, setthreadtitle  # noqa: PLC0415 - it is among what is loaded and noted

    setproctitle(title)
    if name:
        setthreadtitle(name)


def _hide_ourselves() -> None:
    """Leave our own part out of what is printed of the exception that ends the agent."""
    show = sys.excepthook

    def show_without_us(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        trace = _below_us(trace)
        show(kind, error.with_traceback(trace), trace)

    sys.excepthook = show_without_us


def _below_us(trace: TracebackType | None) -> TracebackType | None:
    below = step = trace
    while step:
        below = step.tb_next if step.tb_frame.f_code.co_filename == __file__ else below
        step = step.tb_next
    return below


if __name__ == "__main__":
    sys.exit(main())
