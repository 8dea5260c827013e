"""Declared parameters of operations: checked before an operation is launched, and described to clients."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from ocs.errors import OCSError

__all__ = ["ParamError", "ParamHandler", "check_params", "describe_params", "param"]

_Func = TypeVar("_Func", bound=Callable[..., Any])
_DECLARATIONS = "_ocs_params"


class ParamError(OCSError):
    """A parameter of an operation is missing, of the wrong type, or out of its limits; ``msg`` says which and why."""

    def __init__(self, msg: str) -> None:
        super().__init__(msg)
        self.msg = msg


class _Required:
    """The default of a parameter that has none."""

    def __repr__(self) -> str:
        return "<required>"


_REQUIRED = _Required()


class ParamHandler:
    """Takes an operation's parameters out of what a client sent, one by one, and checks each.

    Args:
        params: what the client sent: a map, or None for nothing.

    Raises:
        ParamError: if ``params`` is neither.
    """

    def __init__(self, params: dict[str, Any] | None) -> None:
        if params is not None and not isinstance(params, dict):
            raise ParamError(f"params must be a map of names to values, not {_shown(params)}.")
        self._params = params or {}
        self._taken: set[str] = set()

    def get(
        self,
        key: str,
        default: Any = _REQUIRED,
        check: Callable[[Any], Any] | None = None,
        cast: Callable[[Any], Any] | None = None,
        type: Any = None,  # noqa: A002 - the name is part of the public interface
        choices: Sequence[Any] | None = None,
        treat_none_as_missing: bool = True,
    ) -> Any:
        """Return the value of one parameter, checked.

        Args:
            key: the parameter's name.
            default: the value where the client gave none; without one the parameter is required.
            check: returns whether a value is acceptable.
            cast: makes the value from what the client sent; runs before the other checks.
            type: the type, or tuple of types, that the value must have. An int passes for float and becomes one; a list
                passes for tuple and becomes one.
            choices: the values that are allowed.
            treat_none_as_missing: whether None stands for "not given".

        Returns:
            The value, or ``default``. None is returned unchecked.

        Raises:
            ParamError: if the parameter is missing or fails a check; the message names it.
        """
        self._taken.add(key)
        value = self._params.get(key)
        if key not in self._params or (value is None and treat_none_as_missing):
            if isinstance(default, _Required):
                raise ParamError(
                    f"Param '{key}' is required" + (" and must not be None." if key in self._params else ".")
                )
            value = default
        if value is None:
            return None
        if cast is not None:
            value = _cast(key, value, cast)
        if type is not None:
            value = _as_type(key, value, type)
        if choices is not None and value not in choices:
            raise ParamError(f"Param '{key}'={_shown(value)} is not one of {list(choices)}.")
        if check is not None:
            _check(key, value, check)
        return value

    def batch(
        self, instructions: Iterable[tuple[str, dict[str, Any]]], check_for_strays: bool = True
    ) -> dict[str, Any]:
        """Get several parameters at once.

        Args:
            instructions: pairs of a key and the keyword arguments of `get`. The keys ``_`` (no parameters at all) and
                ``_no_check_strays`` (others may be there) are directives, as for `param`.
            check_for_strays: whether a parameter that no instruction names is an error.

        Returns:
            The values of the parameters that are named, by name.

        Raises:
            ParamError: as `get` and `check_for_strays`.
        """
        values: dict[str, Any] = {}
        for key, keywords in instructions:
            if key == "_no_check_strays":
                check_for_strays = False
            elif key != "_":
                values[key] = self.get(key, **keywords)
        if check_for_strays:
            self.check_for_strays()
        return values

    def check_for_strays(self, ignore: Iterable[str] = ()) -> None:
        """Refuse parameters that nobody has asked for, which are mostly misspelt ones.

        Args:
            ignore: names that may be there.

        Raises:
            ParamError: naming the parameters that are not known.
        """
        strays = [key for key in self._params if key not in self._taken and key not in ignore]
        if strays:
            known = ", ".join(sorted(self._taken)) or "none"
            raise ParamError(f"params included unexpected values: {strays}; known parameters: {known}.")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004 - a message stays a line


def _cast(key: str, value: Any, cast: Callable[[Any], Any]) -> Any:
    try:
        return cast(value)
    except ParamError:  # says it better than we could
        raise
    except Exception as error:  # the caster is the operation author's
        raise ParamError(f"Param '{key}'={_shown(value)} could not be cast to {_type_name(cast)}: {error}.") from error


def _as_type(key: str, value: Any, wanted: Any) -> Any:
    if wanted is float and isinstance(value, int):
        return float(value)
    if wanted is tuple and isinstance(value, list):
        return tuple(value)
    if not isinstance(value, wanted):
        raise ParamError(f"Param '{key}'={_shown(value)} is not of required type {_type_name(wanted)}.")
    return value


def _check(key: str, value: Any, check: Callable[[Any], Any]) -> None:
    try:
        accepted = check(value)
    except Exception as error:  # the check is the operation author's
        raise ParamError(f"Param '{key}'={_shown(value)} could not be checked: {error}.") from error
    if not accepted:
        raise ParamError(f"Param '{key}'={_shown(value)} failed its validity check; see the operation's documentation.")


def _type_name(kind: Any) -> str:
    if isinstance(kind, tuple):
        return " or ".join(_type_name(item) for item in kind)
    return getattr(kind, "__name__", str(kind))


def param(key: str, **keywords: Any) -> Callable[[_Func], _Func]:
    """Declare a parameter of an operation, so that it is checked before the operation is launched.

    Args:
        key: the parameter's name; or ``_`` alone: the operation takes no parameters; or ``_no_check_strays``: others
            than the declared ones may be given too.
        keywords: those of `ParamHandler.get`, and ``unit`` and ``help``, which are for people.

    Returns:
        A decorator.

    Raises:
        TypeError: if a keyword is not known.
    """
    unknown = set(keywords) - _KEYWORDS
    if unknown:
        raise TypeError(f"param('{key}') got unknown keywords: {sorted(unknown)}")

    def decorate(func: _Func) -> _Func:
        # Decorators apply from the bottom up; the first one written comes first in forms and help.
        setattr(func, _DECLARATIONS, [(key, keywords), *getattr(func, _DECLARATIONS, [])])
        return func

    return decorate


_KEYWORDS = {"default", "check", "cast", "type", "choices", "treat_none_as_missing", "unit", "help"}
_FOR_PEOPLE = {"unit", "help"}


def check_params(func: Callable[..., Any], params: dict[str, Any] | None) -> dict[str, Any] | None:
    """Check what a client sent against what an operation's function declares.

    Args:
        func: the function that starts the operation.
        params: what the client sent.

    Returns:
        The checked parameters with defaults filled in; ``params`` as it is where nothing is declared.

    Raises:
        ParamError: naming the parameter.
    """
    declared = getattr(func, _DECLARATIONS, None)
    if declared is None:
        return params
    plain = [(key, {k: v for k, v in keywords.items() if k not in _FOR_PEOPLE}) for key, keywords in declared]
    return ParamHandler(params).batch(plain)


def describe_params(func: Callable[..., Any]) -> list[dict[str, Any]] | None:
    """Describe an operation's declared parameters, for forms, shells and help.

    Args:
        func: the function that starts the operation.

    Returns:
        A map per parameter with ``name``, ``required`` and, where declared, ``type``, ``default``, ``choices``,
        ``unit`` and ``help``; or None where nothing is declared.
    """
    declared = getattr(func, _DECLARATIONS, None)
    if declared is None:
        return None
    return [_describe(key, keywords) for key, keywords in declared if key not in ("_", "_no_check_strays")]


def _describe(key: str, keywords: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": key, "required": "default" not in keywords}
    if "default" in keywords:
        entry["default"] = _plain(keywords["default"])
    kind = keywords.get("type") or keywords.get("cast")
    if kind is not None:
        entry["type"] = _type_name(kind)
    if keywords.get("choices") is not None:
        entry["choices"] = [_plain(choice) for choice in keywords["choices"]]
    entry.update({k: str(keywords[k]) for k in ("unit", "help") if keywords.get(k)})
    return entry


def _plain(value: Any) -> Any:
    """Return ``value`` if it can be sent, else its text: a default may be any object."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such numbers
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return str(value)
