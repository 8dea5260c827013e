"""The text of a systemd unit and of its launcher script; nothing is written here."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ocs.errors import OCSError

__all__ = ["Service", "launcher_text", "unit_text"]

WATCHDOG_S: Final = 30
"""Silence after which systemd takes the HostManager for hung, in s: it sends a sign of life every 15."""

STOP_S: Final = 90
"""How long the end of everything may take, in s: a child gets 15 s, a container its own time to stop."""

MOST_TASKS: Final = 16384
"""Threads and processes of the whole host's agents: 200 agents have some thousands; a runaway one hits this."""

_UNSAFE: Final = frozenset("\"'\\")
"""What systemd takes in no path of a program, however it is escaped."""


@dataclass(frozen=True, slots=True)
class Service:
    """What there is to say of the service.

    Attributes:
        host: this host's name in the site file.
        command: the HostManager's command line.
        launcher: where the launcher script will be, an absolute path.
        shell: the shell that runs it, an absolute path.
        working_dir: where it runs, an absolute path.
        user: who runs it; None in a user's own systemd.
        environment: what the launcher script sets.
        for_user: whether the unit is for a user's own systemd.
    """

    host: str
    command: tuple[str, ...]
    launcher: str
    shell: str
    working_dir: str
    user: str | None
    environment: Mapping[str, str] = field(default_factory=dict)
    for_user: bool = False


def launcher_text(service: Service) -> str:
    """Return the launcher script: it sets the environment, and becomes the HostManager."""
    exports = [f"export {name}={shlex.quote(value)}" for name, value in service.environment.items()]
    command = " \\\n  ".join(shlex.quote(word) for word in service.command)
    lines = [
        f"#!{service.shell}",
        f"# Starts the HostManager of {_one_line(service.host)} for systemd; written by ocs-install-systemd.",
        "",
        "# What its agents need in their environment may be added here:",
        *exports,
        "",
        "# exec, so that systemd watches the HostManager and not this shell.",
        f"exec {command}",
    ]
    return "\n".join(lines) + "\n"


def unit_text(service: Service) -> str:
    """Return the unit.

    Raises:
        OCSError: a path or name cannot stand in a unit.
    """
    order = [] if service.for_user else ["Wants=network-online.target", "After=network-online.target docker.service"]
    lines = [
        "[Unit]",
        f"Description=OCS HostManager of {_specifiers(_one_line(service.host))}",
        *order,
        "# Tried again for ever: a site outlasts every cause.",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        *_what_runs(service),
        "",
        *_how_it_is_kept(),
        "",
        "[Install]",
        f"WantedBy={'default.target' if service.for_user else 'multi-user.target'}",
    ]
    return "\n".join(lines) + "\n"


def _what_runs(service: Service) -> Sequence[str]:
    user = [] if service.user is None or service.for_user else [f"User={_name(service.user)}"]
    return (
        "Type=notify",
        "NotifyAccess=main",
        f"ExecStart={_program(service.shell)} {_word(service.launcher)}",
        f"WorkingDirectory={_path(service.working_dir)}",
        *user,
    )


def _how_it_is_kept() -> Sequence[str]:
    return (
        "Restart=always",
        "RestartSec=3",
        "# It is ready when it keeps its agents, with or without a router.",
        "TimeoutStartSec=120",
        f"WatchdogSec={WATCHDOG_S}",
        "# It stops its agents itself, in order, when it is told to end. When it crashes, they run on and the next one",
        "# takes them over: nothing but the HostManager itself is ever killed here.",
        "KillMode=process",
        f"TimeoutStopSec={STOP_S}",
        "# One agent that takes all the memory is no reason to end the others.",
        "OOMPolicy=continue",
        f"TasksMax={MOST_TASKS}",
        "LimitNOFILE=65536",
        "# No sandbox: its agents need whatever devices, networks and folders the site has.",
    )


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")


def _word(text: str) -> str:
    """Return a word of a command line, in quotes."""
    _refuse_lines(text)
    escaped = _specifiers(text).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"'


def _program(path: str) -> str:
    """Return the path of the program that a command line begins with; there, a dollar stands for itself."""
    _refuse_lines(path)
    if _UNSAFE & set(path):
        raise OCSError(f"systemd runs no program whose path has a quote or a backslash in it: {path}")
    return f'"{_specifiers(path)}"'


def _path(path: str) -> str:
    """Return a path that is a setting by itself: systemd knows no quotes there."""
    _refuse_lines(path)
    if path != path.strip() or path.endswith("\\"):
        raise OCSError(
            f"systemd takes no folder whose name begins or ends with a blank, or ends in a backslash: {path!r}"
        )
    return _specifiers(path)


def _name(user: str) -> str:
    if not user or any(character.isspace() or character in "\"'\\%:" for character in user):
        raise OCSError(f"{user!r} cannot be the name of a user")
    return user


def _refuse_lines(text: str) -> None:
    if not text.isprintable():
        raise OCSError(f"a path with a line break or another control character in it cannot stand in a unit: {text!r}")


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
