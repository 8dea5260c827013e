"""What no site config file needs and some YAML has: told as a mistake, before reading it costs time, memory or more.

A few lines of YAML can mean terabytes (references to references), and the C parser ends the whole program where
brackets are nested too deeply. A host manager that reads such a file has to live on.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml

__all__ = ["MAX_BYTES", "refuse_deep", "refuse_unbounded"]

MAX_BYTES = 2 * 1024 * 1024
"""Largest site config file, in bytes: ten thousand instances or so. It is read within seconds."""

_DEEPEST = 100
"""Levels of nesting; a site config has seven, and lists within its arguments."""

_HARMLESS_DEPTH = 1_000
"""Levels that the parser certainly survives."""

_MOST_MERGED = 20_000
"""Keys that merging (``<<``) adds to all mappings together."""

_LONGEST_NUMBER = 100
"""Characters of a number."""

_INDENTATION = re.compile(r"^[ \t?:-]*", re.MULTILINE)
_MERGE = "tag:yaml.org,2002:merge"
_NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}


def refuse_deep(text: str, loader: Any) -> None:
    """Raise where ``text`` is nested more deeply than a parser survives.

    Args:
        text: YAML.
        loader: makes events of it one by one, however deep they are.

    Raises:
        yaml.YAMLError: it is too deep, or no YAML.
    """
    indented = max((match.end() - match.start() for match in _INDENTATION.finditer(text)), default=0)
    if text.count("[") + text.count("{") + 2 * indented < _HARMLESS_DEPTH:
        return
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise _mistake(f"is nested more than {_DEEPEST} levels deep", event)


def refuse_unbounded(root: yaml.Node) -> None:
    """Raise where merging would make a mapping of too many keys, or a number is too long.

    Raises:
        yaml.YAMLError: with the place.
    """
    sizes: dict[int, int] = {}
    total = 0
    for node in each_node(root):
        if isinstance(node, yaml.MappingNode):
            total += max(0, _merged_size(node, sizes) - len(node.value))
            if total > _MOST_MERGED:
                raise yaml.constructor.ConstructorError(
                    None, None, "merging (<<) makes this too large", node.start_mark
                )
        elif isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
            raise _mistake("is too long for a number: quote it", node)


def _mistake(problem: str, where: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(None, None, problem, where.start_mark)


def each_node(root: yaml.Node) -> Iterator[yaml.Node]:
    """Yield every node once, in the order of the file; references may lead back to where one has been."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        waiting += reversed(_below(node))


def _below(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _merged_size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Return how many keys a mapping has after merging; those merged from several mappings count several times."""
    if id(node) in sizes or not isinstance(node, yaml.MappingNode):
        return sizes.get(id(node), 0)
    sizes[id(node)] = 0  # what merges itself gains nothing
    size = sum(_pair_size(key, value, sizes) for key, value in node.value)
    sizes[id(node)] = min(size, 10 * _MOST_MERGED)
    return sizes[id(node)]


def _pair_size(key: yaml.Node, value: yaml.Node, sizes: dict[int, int]) -> int:
    if key.tag != _MERGE:
        return 1
    merged = value.value if isinstance(value, yaml.SequenceNode) else [value]
    return sum(_merged_size(one, sizes) for one in merged)
