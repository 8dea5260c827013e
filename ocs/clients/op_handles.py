"""An agent's operations as attributes of a client: what a task and a process offer, blocking or not.

The handles are the same for both kinds of client; what makes the request, and what it returns, is the caller's matter.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, NoReturn, Protocol, TypeVar

if TYPE_CHECKING:
    from inspect import Signature

__all__ = ["Caller", "OpSpec", "Operation", "Process", "Task", "attribute_name", "make_operations", "specs"]

_R = TypeVar("_R")
_R_co = TypeVar("_R_co", covariant=True)

_TYPES: dict[str, Any] = {kind.__name__: kind for kind in (bool, int, float, str, list, tuple, dict)}


def attribute_name(op_name: str) -> str:
    """Return how an operation is called as an attribute."""
    return op_name.replace("-", "_").replace(" ", "_")


class OpSpec(NamedTuple):
    """What an agent says about one of its operations."""

    name: str
    kind: str
    """``task`` or ``process``."""
    info: Mapping[str, Any]
    """The agent's words, as in ``get_api``."""

    @property
    def docstring(self) -> str | None:
        """What the agent's author says about the operation."""
        return self.info.get("docstring")

    @property
    def params(self) -> list[dict[str, Any]] | None:
        """The declared parameters: name, type, default or required, choices, unit, help; None for nothing declared."""
        return self.info.get("params")

    def declares(self, name: str) -> bool:
        """Whether the operation has a parameter of this name, by its declarations or its docstring's first line."""
        if self.params is not None:
            return any(entry.get("name") == name for entry in self.params)
        first_line = (self.docstring or "").strip().partition("\n")[0]
        return re.search(rf"\b{re.escape(name)}\b", first_line) is not None

    def signature(self) -> "Signature | None":
        """Return the signature of ``start``, where the agent declares parameters that can be written as one."""
        if self.params is None:
            return None
        from inspect import Parameter, Signature  # noqa: PLC0415 - slow to load; not every agent declares parameters

        try:
            parameters = [_parameter(entry, Parameter) for entry in self.params]
            if not self.declares("check"):
                parameters.append(Parameter("check", Parameter.KEYWORD_ONLY, default=None, annotation=bool | None))
            return Signature(parameters)
        except (KeyError, TypeError, ValueError):  # a name that is no identifier, or not what we know
            return None


def _parameter(entry: Mapping[str, Any], make: Any) -> Any:
    default = make.empty if entry.get("required") else entry.get("default")
    return make(
        entry["name"],
        make.KEYWORD_ONLY,
        default=default,
        annotation=_TYPES.get(str(entry.get("type")), make.empty),
    )


class Caller(Protocol[_R_co]):
    """Makes the requests: returns the reply, or a Deferred of it."""

    def request(
        self, spec: OpSpec, action: str, *, params: Mapping[str, Any], timeout: float | None, check: bool | None
    ) -> _R_co:
        """Ask for one action."""

    def run(self, spec: OpSpec, params: Mapping[str, Any], *, check: bool | None) -> _R_co:
        """Start an operation and wait for its end."""


class Operation(Generic[_R]):
    """An operation of an agent.

    Each request takes ``check``: True raises an `ocs.errors.OperationError` when it is refused or times out, and for
    ``wait`` (and an explicit ``status(check=True)``) also when the operation has ended without success. None is as the
    client was told to.
    """

    start: Callable[..., _R]
    """Start the operation; its parameters are keywords."""

    def __init__(self, caller: Caller[_R], spec: OpSpec) -> None:
        self.name = spec.name
        self.params = spec.params
        self.__doc__ = spec.docstring
        self._caller = caller
        self._spec = spec
        self.start = _make_start(caller, spec)

    def __repr__(self) -> str:
        return f"<{self._spec.kind} {self.name!r}: {', '.join(_verbs(self))}>"

    def __getattr__(self, name: str) -> NoReturn:
        verbs = ", ".join(_verbs(self))
        raise AttributeError(f"{self._spec.name} is a {self._spec.kind}: it has no {name!r}, but {verbs}")

    def wait(self, timeout: float | None = None, *, check: bool | None = None) -> _R:
        """Wait for the operation's end.

        Args:
            timeout: seconds; None waits for however long it takes, a negative one not at all.
            check: see the class.

        Returns:
            The reply; its code is TIMEOUT where the operation has not ended in time.
        """
        return self._caller.request(self._spec, "wait", params={}, timeout=timeout, check=check)

    def status(self, *, check: bool | None = None) -> _R:
        """Return the operation's current or last session."""
        return self._ask("status", check)

    def _ask(self, action: str, check: bool | None) -> _R:
        return self._caller.request(self._spec, action, params={}, timeout=None, check=check)


class Task(Operation[_R]):
    """An operation that ends by itself; calling it starts it and waits for the end."""

    def __call__(self, **params: Any) -> _R:
        """Start the task and wait for its end; where it cannot be started, that is the answer."""
        check = _take_check(self._spec, params)
        return self._caller.run(self._spec, params, check=check)

    def abort(self, *, check: bool | None = None) -> _R:
        """Ask the task to end before it is done."""
        return self._ask("abort", check)


class Process(Operation[_R]):
    """An operation that runs until it is stopped; calling it returns its status."""

    def __call__(self, *, check: bool | None = None) -> _R:
        """Return the current or last session."""
        return self.status(check=check)

    def stop(self, *, check: bool | None = None) -> _R:
        """Ask the process to end."""
        return self._ask("stop", check)


def _verbs(operation: Operation[Any]) -> list[str]:
    return ["start", "wait", "status", "abort" if isinstance(operation, Task) else "stop"]


def _take_check(spec: OpSpec, params: dict[str, Any]) -> bool | None:
    """Take ``check`` out of the keywords, unless it is a parameter of the operation."""
    check: bool | None = None if spec.declares("check") else params.pop("check", None)
    return check


def _make_start(caller: Caller[_R], spec: OpSpec) -> Callable[..., _R]:
    """Return a function rather than a method, so that ``help`` shows the operation's own words and parameters."""

    def start(**params: Any) -> _R:
        check = _take_check(spec, params)
        return caller.request(spec, "start", params=params, timeout=None, check=check)

    start.__doc__ = spec.docstring
    start.__annotations__ = {}
    start.__qualname__ = f"{attribute_name(spec.name)}.start"
    signature = spec.signature()
    if signature is not None:
        start.__signature__ = signature  # type: ignore[attr-defined]
    return start


def specs(api: Mapping[str, Any]) -> Iterator[OpSpec]:
    """Yield what ``get_api`` says of each operation."""
    for kind, entries in (("task", api.get("tasks", [])), ("process", api.get("processes", []))):
        for name, _, info in entries:
            yield OpSpec(name, kind, info)


def make_operations(api: Mapping[str, Any], caller: Caller[_R]) -> dict[str, Operation[_R]]:
    """Return a handle per operation, by attribute name."""
    kinds: dict[str, type[Operation[_R]]] = {"task": Task, "process": Process}
    return {attribute_name(spec.name): kinds[spec.kind](caller, spec) for spec in specs(api)}
