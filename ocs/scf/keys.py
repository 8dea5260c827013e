"""The keys of a site config file, each with what reads its value.

A reader takes the mapping and the key, returns what is meant, and raises ``ConfigMistakeError``. Model and survey both
go by these tables, so that what one refuses the other tells.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ocs.scf.checks import ConfigMistakeError, flat_words, kind, mapping, required, required_text, seconds, shown, text

__all__ = [
    "CROSSBAR_KEYS",
    "DEFAULT_CROSSBAR_TIMEOUT",
    "HOST_KEYS",
    "HUB_KEYS",
    "INSTANCE_KEYS",
    "MANAGE_WORDS",
    "RESTART_WORDS",
    "SITE_KEYS",
    "Reader",
]

Reader = Callable[[Mapping[str, Any], str], Any]

DEFAULT_CROSSBAR_TIMEOUT = 10
"""How long an agent tries to get back to a lost router before it exits, in s."""

MANAGE_WORDS = {
    "host/up": "host/up",
    "host/down": "host/down",
    "docker/up": "docker/up",
    "docker/down": "docker/down",
    "ignore": "ignore",
    "yes": "host/up",
    "up": "host/up",
    "host": "host/up",
    "down": "host/down",
    "docker": "docker/up",
    "no": "ignore",
    # YAML reads bare yes and no as truth values.
    True: "host/up",
    False: "ignore",
    None: "host/up",
}
"""What may be written for ``manage``, and what it means: who runs the instance, and whether it is up at first."""

RESTART_WORDS = ("always", "on-failure", "manual")
"""When an instance that ends though nobody asked is started again; the first holds where the file says nothing."""

MOST_INSTANCES = 5_000
"""Instances of one host, and of all, that are still taken for a site's."""


def manage(data: Mapping[str, Any], key: str) -> str:
    """Return who runs an instance and whether it is up at first."""
    word = data.get(key)
    if not isinstance(word, str | bool | None) or word not in MANAGE_WORDS:
        words = ", ".join(known for known in MANAGE_WORDS if isinstance(known, str))
        raise ConfigMistakeError(f"{shown(word)} is no manage word; known: {words}", (key,))
    return MANAGE_WORDS[word]


def start_level(data: Mapping[str, Any], key: str) -> int:
    """Return an instance's start level."""
    level = data.get(key, 0)
    if not isinstance(level, int) or isinstance(level, bool) or level < 0:
        raise ConfigMistakeError(f"has to be a whole number, 0 or more, not {shown(level)}", (key,))
    return level


def restart(data: Mapping[str, Any], key: str) -> str:
    """Return when an instance that has ended is started again."""
    word = data.get(key)
    if word is None:
        return RESTART_WORDS[0]
    if not isinstance(word, str) or word not in RESTART_WORDS:
        raise ConfigMistakeError(f"{shown(word)} is no way to restart; known: {', '.join(RESTART_WORDS)}", (key,))
    return word


def crossbar_timeout(data: Mapping[str, Any], key: str) -> int | float:
    """Return how long an agent tries to get back to a lost router, in s."""
    value = data.get(key)
    try:
        return DEFAULT_CROSSBAR_TIMEOUT if value is None else seconds(value)
    except (TypeError, ValueError, OverflowError) as error:
        problem = f"has to be a number of seconds, 0 or more, not {shown(value)}"
        raise ConfigMistakeError(problem, (key,)) from error


def instance_list(data: Mapping[str, Any], key: str) -> list[Any] | tuple[Any, ...]:
    """Return the instances of a host, as they are described."""
    described = required(data, key)
    if described is None:  # the key alone, nothing below it
        return []
    if not isinstance(described, list | tuple):
        raise ConfigMistakeError(f"has to be a list, not {kind(described)}", (key,))
    if len(described) > MOST_INSTANCES:
        raise ConfigMistakeError(f"has {len(described)} instances; a host has {MOST_INSTANCES} at most", (key,))
    return described


def optional_mapping(data: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    """Return a mapping, None where the key is absent or empty."""
    return None if data.get(key) is None else mapping(data[key], key, (key,))


def section(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return a mapping whose key has to be there; nothing below it makes an empty one."""
    value = required(data, key)
    return {} if value is None else mapping(value, key, (key,))


SITE_KEYS: Mapping[str, Reader] = {"hub": section, "hosts": section}

HUB_KEYS: Mapping[str, Reader] = {
    **dict.fromkeys(("wamp_server", "wamp_http", "wamp_realm", "address_root"), required_text),
    "access_policy": text,
    "keys": text,
}

HOST_KEYS: Mapping[str, Reader] = {
    "agent-instances": instance_list,
    "log-dir": text,
    "state-dir": text,
    "crossbar": optional_mapping,
    "crossbar_timeout": crossbar_timeout,
    "wamp_server": text,
    "wamp_http": text,
    "wamp_realm": text,
    "keys": text,
}

CROSSBAR_KEYS: Mapping[str, Reader] = {"config-dir": text, "bin": text}

INSTANCE_KEYS: Mapping[str, Reader] = {
    "agent-class": required_text,
    "instance-id": required_text,
    "arguments": flat_words,
    "manage": manage,
    "start-level": start_level,
    "restart": restart,
}
