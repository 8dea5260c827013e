"""Words in `arguments` that YAML takes for something else, so that the agent gets another text than was written."""

from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from ocs.inspection.problems import Keys, Problem, warning
from ocs.scf.reading import Document
from ocs.scf.survey import Described

__all__ = ["check_words"]

_KINDS = {
    "tag:yaml.org,2002:bool": "a truth value",
    "tag:yaml.org,2002:null": "nothing",
    "tag:yaml.org,2002:int": "a whole number",
}
"""Not numbers with a point, of which YAML may write 1.50 as 1.5: that is the same to an agent."""

_MOST = 2_000


def check_words(document: Document, instances: Iterable[Described]) -> Iterator[Problem]:
    """Warn of each word that reaches the agent as another text.

    Args:
        document: what was read.
        instances: those described there.
    """
    for one in instances:
        keys = (*one.keys, "arguments")
        for word, given in zip(_scalars(document.node_at(keys)), one.instance.arguments, strict=False):
            if word.tag in _KINDS and word.value != given:
                yield _warning(word, given, keys)


def _warning(word: yaml.ScalarNode, given: str, keys: Keys) -> Problem:
    kind = _KINDS[word.tag]
    shown = f"'{word.value}'" if word.value else "an empty entry"
    return warning(f"YAML reads {shown} as {kind}, and the agent gets '{given}': put it in quotes", keys)


def _scalars(node: Any) -> list[yaml.ScalarNode]:
    """Return the words in their order; none where something is referred to, or there are too many."""
    found: list[yaml.ScalarNode] = []
    waiting = [node]
    while waiting and len(found) < _MOST:
        top = waiting.pop()
        if isinstance(top, yaml.SequenceNode):
            waiting += reversed(top.value[:_MOST])
        elif isinstance(top, yaml.ScalarNode):
            found.append(top)
    return found
