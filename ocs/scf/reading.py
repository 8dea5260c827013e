"""Reading YAML so that every mistake in it can name its file, line and column."""

from collections.abc import Sequence
from typing import Any

import yaml

from ocs.errors import SiteConfigError

__all__ = ["line_of", "parse", "read_text"]

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one, where libyaml was there, is ten times faster


def _refuse_duplicates(root: yaml.Node) -> None:
    """Raise where a mapping gives a key twice: plain YAML would silently keep the later value."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))  # an anchor may lead back to where we have been
        if isinstance(node, yaml.MappingNode):
            _refuse_duplicate_keys(node)
            waiting += [value for _key, value in node.value]
        else:
            waiting += node.value


def _refuse_duplicate_keys(node: yaml.MappingNode) -> None:
    seen: dict[str, int] = {}
    for key, _value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        if key.value in seen:
            problem = f"'{key.value}' is given a second time, the first is in line {seen[key.value]}"
            raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
        seen[key.value] = key.start_mark.line + 1


def read_text(path: str) -> str:
    """Return the text of a file.

    Raises:
        FileNotFoundError: there is none.
        SiteConfigError: it is there and cannot be read.
    """
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib would cost every client's start
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SiteConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SiteConfigError(f"{path}: is not UTF-8 text (byte {error.start})") from None


def parse(text: str, path: str) -> Any:
    """Return what the YAML ``text`` means.

    Args:
        text: one YAML document.
        path: where the text came from, for messages.

    Raises:
        SiteConfigError: a mistake in the YAML, told as ``path:line:column: what is wrong``.
    """
    try:
        return _load(text)
    except yaml.MarkedYAMLError as error:
        raise SiteConfigError(_one_line(error, path)) from None
    except yaml.YAMLError as error:
        raise SiteConfigError(f"{path}: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise SiteConfigError(f"{path}: is nested too deeply") from None
    except ValueError as error:  # a date like 2026-13-45 matches YAML's pattern and is none
        raise SiteConfigError(f"{path}: {error}") from None


def _load(text: str) -> Any:
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _refuse_duplicates(root)
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _one_line(error: yaml.MarkedYAMLError, path: str) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else path
    if mark and error.problem and "cannot start any token" in error.problem:
        return f"{place}: {error.problem}: indent with spaces, not tabs, and quote text that begins with @ or `"
    if error.problem is None or error.context is None or error.context_mark is None:
        return f"{place}: {error.problem or error.context}"
    return f"{place}: {error.problem} ({error.context} from line {error.context_mark.line + 1})"


def line_of(text: str, keys: Sequence[str | int]) -> int:
    """Return the line, counted from 1, of what ``keys`` lead to from the top of the document.

    Where a key leads nowhere (it is the missing one), the line of the last thing found on the way.
    """
    node = yaml.compose(text, Loader=_Loader)
    line = 1
    for key in keys:
        found = _step(node, key)
        if found is None:
            break
        line, node = found
    return line


def _step(node: Any, key: str | int) -> tuple[int, Any] | None:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == str(key):
                return name.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key].start_mark.line + 1, node.value[key]
    return None
