"""Reading YAML so that every mistake in it can name its file, line and column."""

from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from ocs.errors import SiteConfigError
from ocs.scf.bounds import MAX_BYTES, each_node, refuse_deep, refuse_unbounded
from ocs.scf.checks import printable

__all__ = ["Document", "as_yaml", "parse", "read_text"]

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one, where libyaml was there, is ten times faster


_HINTS = {
    "cannot start any token": "indent with spaces, not tabs, and quote text that begins with @ or `",
    "tab character": "indent with spaces, not tabs",
    "mapping values are not allowed": "quote text that has ': ' in it, or indent this as the lines that belong with it",
    "could not find expected ':'": "a key needs ': ' after it",
    "did not find expected key": "indent this as the lines that belong with it",
    "did not find expected node content": "is a bracket open, or a comma too many?",
    "did not find expected ','": "is a bracket open, or a comma missing?",
    "unexpected end of stream": "is a quote open?",
    "did not find expected '-' indicator": "an entry of a list begins with '- ', indented as the others",
}
"""What to do, where the parser's own words do not say."""


class _Loader(_Base):  # type: ignore[misc]
    """Tells where a value stands that looks like a date or number and is none."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (yaml.YAMLError, RecursionError):
            raise
        except Exception as error:  # what yaml's constructors raise for "!!int x" is one of half a dozen
            kind = node.tag.rpartition(":")[2]
            problem = f"'{str(node.value)[:60]}' is no {kind}: quote it if it is text"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error


def read_text(path: str) -> str:
    """Return the text of a file.

    Raises:
        FileNotFoundError: there is none.
        SiteConfigError: it is there and cannot be read.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib would cost every client's start
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise SiteConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > MAX_BYTES:
        raise SiteConfigError(f"{path}: is larger than {MAX_BYTES >> 20} MiB; no site config file is")
    return _decode(content, path)


def _decode(content: bytes, path: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SiteConfigError(f"{path}:{line}: is not UTF-8 text (byte {error.start})") from None


def as_yaml(text: str, path: str) -> str:
    """Return a text as YAML: that of a file of JSON, once it is known to be JSON, in a form that is YAML too.

    Args:
        text: YAML or JSON.
        path: where it came from; ``.json`` at its end says which of the two.

    Raises:
        SiteConfigError: it is no JSON.
    """
    if not path.endswith(".json"):
        return text
    import json  # noqa: PLC0415 - site files are YAML: not every client is to pay for it

    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        line = f":{error.lineno}:{error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        message = error.msg if isinstance(error, json.JSONDecodeError) else error
        raise SiteConfigError(f"{path}{line}: is no JSON: {message}") from None
    return text.replace("\t", " ")  # JSON has no tabs but between its parts


class Document:
    """One YAML document, with the place of everything in it.

    Args:
        text: the YAML.
        path: where the text came from, for messages.

    Raises:
        SiteConfigError: a mistake in the YAML, told as ``path:line:column: what is wrong``.
    """

    def __init__(self, text: str, path: str) -> None:
        self.text = text
        self.path = path
        self.root: yaml.Node | None = self._guarded(self._compose)
        self._duplicates = list(_duplicates(self.root))

    @property
    def duplicates(self) -> list[str]:
        """A message, with file, line and column, for each key that a mapping gives again."""
        return [_one_line(error, self.path) for error in self._duplicates]

    def value(self, *, last_of_duplicates: bool = False) -> Any:
        """Return what the document means.

        Args:
            last_of_duplicates: take the last value of a key that is given several times, as plain YAML does.

        Raises:
            SiteConfigError: a key is given several times, or something is not what it looks like.
        """
        if self._duplicates and not last_of_duplicates:
            raise SiteConfigError(self.duplicates[0])
        return self._guarded(self._construct)

    def line_of(self, keys: Sequence[str | int]) -> int:
        """Return the line, counted from 1, of what ``keys`` lead to from the top of the document.

        Where a key leads nowhere (it is the missing one), the line of the last thing found on the way.
        """
        node, line = self.root, 1
        for key in keys:
            found = _step(node, key)
            if found is None:
                break
            line, node = found
        return line

    def node_at(self, keys: Sequence[str | int]) -> yaml.Node | None:
        """Return what ``keys`` lead to, None where they lead nowhere."""
        node = self.root
        for key in keys:
            found = _step(node, key)
            if found is None:
                return None
            node = found[1]
        return node

    def _compose(self) -> yaml.Node | None:
        refuse_deep(self.text, _Loader)
        root: yaml.Node | None = yaml.compose(self.text, Loader=_Loader)
        if root is not None:
            refuse_unbounded(root)
        return root

    def _construct(self) -> Any:
        if self.root is None:
            return None
        loader = _Loader("")
        try:
            return loader.construct_document(self.root)
        finally:
            loader.dispose()

    def _guarded(self, read: Any) -> Any:
        path = self.path
        try:
            return read()
        except yaml.MarkedYAMLError as error:
            raise SiteConfigError(_one_line(error, path)) from None
        except yaml.reader.ReaderError as error:
            raise SiteConfigError(f"{path}{_unprintable(self.text) or f': {error.reason}'}") from None
        except yaml.YAMLError as error:
            raise SiteConfigError(f"{path}: {' '.join(str(error).split())}") from None
        except RecursionError:
            raise SiteConfigError(f"{path}: is nested too deeply") from None
        except ValueError as error:  # half a character of UTF-16, which no file has
            raise SiteConfigError(f"{path}: {error}") from None


def parse(text: str, path: str) -> Any:
    """Return what the YAML ``text`` means.

    Args:
        text: one YAML document.
        path: where the text came from, for messages.

    Raises:
        SiteConfigError: a mistake in the YAML, told as ``path:line:column: what is wrong``.
    """
    return Document(text, path).value()


def _duplicates(root: yaml.Node | None) -> Iterator[yaml.constructor.ConstructorError]:
    for node in each_node(root) if root is not None else ():
        if isinstance(node, yaml.MappingNode):
            yield from _duplicate_keys(node)


def _duplicate_keys(node: yaml.MappingNode) -> Iterator[yaml.constructor.ConstructorError]:
    seen: dict[str, int] = {}
    for key, _value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        if key.value in seen:
            problem = f"'{key.value}' is given a second time, the first is in line {seen[key.value]}"
            yield yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
        seen.setdefault(key.value, key.start_mark.line + 1)


def _one_line(error: yaml.MarkedYAMLError, path: str) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else path
    problem = printable(error.problem or "")
    hint = next((f": {hint}" for words, hint in _HINTS.items() if words in problem), "")
    if not problem or error.context is None or error.context_mark is None:
        return f"{place}: {problem or error.context}{hint}"
    return f"{place}: {problem} ({error.context} from line {error.context_mark.line + 1}){hint}"


def _unprintable(text: str) -> str:
    """Return place and name of the first character that YAML does not allow; nothing where there is none."""
    match = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if match is None:
        return ""
    line, column = text.count("\n", 0, match.start()) + 1, match.start() - text.rfind("\n", 0, match.start())
    return f":{line}:{column}: has a character that is no text (0x{ord(match[0]):02x})"


def _step(node: Any, key: str | int) -> tuple[int, Any] | None:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == str(key):
                return name.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key].start_mark.line + 1, node.value[key]
    return None
