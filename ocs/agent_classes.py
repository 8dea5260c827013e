"""The agent classes that the installed plugins offer, and the way from a class to the function that runs it.

The order of the plugins is fixed, so that "the first one wins" means the same on every machine: ocs's own, then the
others by the name of their entry point. One of ocs's own classes is found without looking at any other plugin: reading
the metadata of everything installed would make up a tenth of an agent's start.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ocs import plugin as own_plugin
from ocs.errors import AgentClassError

__all__ = ["AgentClass", "build_agent_list", "find_agent_class", "installed_classes", "load_entry_point"]

_Report = Callable[[str], None]


class AgentClass(NamedTuple):
    """What a plugin says of one agent class."""

    name: str
    module: str
    """The dotted path of the module that has the entry point."""
    entry_point: str
    """The function to call, as ``entry_point(args=list of str)``."""
    plugin: str
    """The plugin's ``package_name``."""


def _log_warning(message: str) -> None:
    import logging  # noqa: PLC0415 - most runs have nothing to report

    logging.getLogger("ocs").warning(message)


def build_agent_list(report: _Report = _log_warning) -> dict[str, dict[str, str]]:
    """Return all agent classes that the installed plugins offer.

    Args:
        report: gets a line for each plugin that cannot be used, and for each class that an earlier plugin has too.

    Returns:
        Class name → ``{'module': dotted path, 'entry_point': function name}``.
    """
    found = installed_classes(report)
    return {name: {"module": info.module, "entry_point": info.entry_point} for name, info in found.items()}


def installed_classes(report: _Report = _log_warning) -> dict[str, AgentClass]:
    """Return all agent classes by name; ``report`` as for ``build_agent_list``."""
    found: dict[str, AgentClass] = {}
    for plugin in _plugins(report):
        for info in _classes_of(plugin, report):
            first = found.setdefault(info.name, info)
            if first is not info:
                report(f"agent class {info.name} of plugin '{info.plugin}' is not used: '{first.plugin}' has one too")
    return found


def find_agent_class(name: str, report: _Report = _log_warning) -> AgentClass:
    """Return one class; ocs's own without a look at other plugins.

    Raises:
        AgentClassError: no installed plugin offers it.
    """
    own = {info.name: info for info in _classes_of(own_plugin, report)}
    if name in own:
        return own[name]
    found = installed_classes(report)
    if name not in found:
        raise AgentClassError(f"no installed plugin has the agent class '{name}'; known: {', '.join(sorted(found))}")
    return found[name]


def _plugins(report: _Report) -> Iterator[Any]:
    """Yield the plugins' modules, ocs's own first; one that cannot be imported is reported."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow to load, and often not needed

    yield own_plugin
    for name, path in sorted({(point.name, point.value) for point in entry_points(group="ocs.plugins")}):
        if path == own_plugin.__name__:
            continue
        try:
            yield importlib.import_module(path)
        except Exception as error:  # a plugin is somebody else's code: whatever it raises takes no other down
            report(f"plugin '{name}' is skipped, importing {path} failed: {describe(error)}")


def describe(error: BaseException) -> str:
    """Return an exception as one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _classes_of(plugin: Any, report: _Report) -> Iterator[AgentClass]:
    package = str(getattr(plugin, "package_name", plugin.__name__))
    agents = getattr(plugin, "agents", None)
    if not isinstance(agents, Mapping):
        report(f"plugin '{package}' is skipped, {plugin.__name__} has no dict 'agents'")
        return
    for name, entry in agents.items():
        if isinstance(entry, Mapping) and entry.get("module"):
            yield AgentClass(str(name), str(entry["module"]), str(entry.get("entry_point") or "main"), package)
        else:
            report(f"agent class {name} of plugin '{package}' is skipped, it names no 'module'")


def load_entry_point(info: AgentClass) -> Callable[..., Any]:
    """Import the one module of a class and return its entry point.

    Raises:
        AgentClassError: the module cannot be imported or lacks the function; ``__cause__`` has the reason.
    """
    try:
        module = importlib.import_module(info.module)
    except Exception as error:  # an agent is somebody else's code, and so is what it imports
        raise AgentClassError(import_problem(f"{info.module} (agent class {info.name})", error)) from error
    return entry_point_of(module, info.entry_point)


def import_problem(what: str, error: BaseException) -> str:
    """Return why ``what`` could not be imported, and what to do, as one line."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is None:
        return f"{what} cannot be imported: {describe(error)} (LOGLEVEL=debug shows where)"
    package = missing.partition(".")[0]
    if what.startswith(f"{package}."):
        return (
            f"{what} cannot be imported: there is no module {missing}; is '{package}' installed whole, in this version?"
        )
    return f"{what} cannot be imported: the module {missing} is missing; install the package that has it ({package})"


def entry_point_of(module: Any, name: str) -> Callable[..., Any]:
    """Return a function of a module.

    Raises:
        AgentClassError: there is none of that name.
    """
    function: Callable[..., Any] | None = getattr(module, name, None)
    if not callable(function):
        raise AgentClassError(f"{module.__name__} has no function '{name}' to start the agent with")
    return function
