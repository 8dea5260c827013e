"""Merging command-line arguments: those of the site config file with those that override them."""

import argparse
import os
import re
from collections.abc import Callable, Iterable, Sequence

__all__ = ["POSITIONAL", "ArgContainer", "merge_arguments", "site_words"]

POSITIONAL = "__positional__"
"""The key of ``ArgContainer.arg_dict`` under which arguments without an option stand."""

_SITE_OPTIONS = (
    *("site_hub", "site_http", "site_realm", "address_root", "site_keys"),
    *("state_dir", "log_dir", "access_policy"),
)
"""What an agent has of the site, beside what is its own."""

_NEGATIVE_NUMBER = re.compile(r"-(\d|\.\d)")
_UNLIMITED = 1_000_000

_Grammar = Callable[[str], tuple[str, int]]
"""From an option as it was written to what identifies it, and how many values it takes at most."""

_Group = tuple[str, list[str]]
"""What identifies an option (or ``POSITIONAL``), and its words as they were written."""


def _any_option(option: str) -> tuple[str, int]:
    """Guess, knowing no parser: an option is its own identity and takes all values that follow it."""
    return option, _UNLIMITED


class ArgContainer:
    """A list of arguments that another list can override, option by option.

    Args:
        args: single words, such as ``['--mode', 'acq', '--rate=3', '--verbose']``.
    """

    def __init__(self, args: Iterable[str], *, grammar: _Grammar = _any_option) -> None:
        self._groups = list(_split(list(args), grammar))

    @property
    def arg_dict(self) -> dict[str, list[str]]:
        """Option → its values; those of a repeated option together. ``__positional__`` is always there."""
        result: dict[str, list[str]] = {POSITIONAL: []}
        for key, words in self._groups:
            option, values = (POSITIONAL, words) if key == POSITIONAL else _name_and_values(words)
            result.setdefault(option, []).extend(values)
        return result

    def update(self, other: "ArgContainer") -> None:
        """Let ``other`` override: an option that it has replaces all of its occurrences here, in their place.

        Positional arguments are replaced where ``other`` has some.
        """
        self._groups = _override(self._groups, other._groups)  # noqa: SLF001 - its own class

    def to_list(self) -> list[str]:
        """Return the single words, ready for a parser; what stood after ``--`` comes last."""
        ordered = sorted(self._groups, key=lambda group: group[1][0] == "--")
        return [word for _key, words in ordered for word in words]


def _override(base: list[_Group], other: list[_Group]) -> list[_Group]:
    overriding = {key for key, _words in other}
    placed: set[str] = set()
    merged: list[_Group] = []
    for key, words in base:
        if key not in overriding:
            merged.append((key, words))
        elif key not in placed:
            placed.add(key)
            merged += [group for group in other if group[0] == key]
    fresh = [group for group in other if group[0] not in placed]
    # In front, where no option of the other list takes a positional argument for one of its values.
    return [g for g in fresh if g[0] == POSITIONAL] + merged + [g for g in fresh if g[0] != POSITIONAL]


def _split(words: list[str], grammar: _Grammar) -> Iterable[_Group]:
    position = 0
    while position < len(words):
        if words[position] == "--":
            yield POSITIONAL, words[position:]
            return
        group = _take(words, position, grammar)
        yield group
        position += len(group[1])


def _take(words: list[str], position: int, grammar: _Grammar) -> _Group:
    """Return the group that begins at ``position``."""
    first = words[position]
    if not _is_option(first):
        return POSITIONAL, [first]
    option, equals, _value = first.partition("=")
    key, room = grammar(option)
    end = position + 1
    limit = min(len(words), end + (0 if equals else room))
    while end < limit and not _is_option(words[end]):
        end += 1
    return key, words[position:end]


def _is_option(word: str) -> bool:
    """Tell an option from a value as argparse does: negative numbers and text with spaces are values."""
    return len(word) > 1 and word[0] == "-" and not _NEGATIVE_NUMBER.match(word) and " " not in word.partition("=")[0]


def _name_and_values(words: list[str]) -> tuple[str, list[str]]:
    option, equals, value = words[0].partition("=")
    return option, ([value] if equals else []) + words[1:]


def merge_arguments(base: Sequence[str], override: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """Return one list for ``parser``: ``base``, with what ``override`` says replaced.

    Knowing the parser, flags take no value for theirs, and options that exclude each other or set the same thing
    override each other.

    Args:
        base: single words, of the site config file.
        override: single words, of the command line.
        parser: the parser that will read the result.
    """
    if not base:
        return list(override)
    grammar = _grammar_of(parser)
    merged = ArgContainer(base, grammar=grammar)
    merged.update(ArgContainer(override, grammar=grammar))
    return merged.to_list()


def _grammar_of(parser: argparse.ArgumentParser) -> _Grammar:
    known = _known_options(parser)

    def grammar(option: str) -> tuple[str, int]:
        if option in known:
            return known[option]
        if option.startswith("--"):  # an abbreviation, as argparse would take it
            matches = {known[name] for name in known if name.startswith(option)}
            return matches.pop() if len(matches) == 1 else (option, _UNLIMITED)
        key, _room = known.get(option[:2], (option, 0))  # -n5: the value is glued on
        return (key, 0) if key != option else (option, _UNLIMITED)

    return grammar


def _known_options(parser: argparse.ArgumentParser) -> dict[str, tuple[str, int]]:
    groups = parser._mutually_exclusive_groups  # noqa: SLF001 - argparse has no public way to ask
    exclusive = {id(action): f"exclusive {n}" for n, group in enumerate(groups) for action in group._group_actions}  # noqa: SLF001
    return {
        option: (exclusive.get(id(action), action.dest), _room(action.nargs))
        for action in parser._actions  # noqa: SLF001
        for option in action.option_strings
    }


def _room(nargs: int | str | None) -> int:
    if isinstance(nargs, int):
        return nargs
    return 1 if nargs in (None, argparse.OPTIONAL) else _UNLIMITED


def site_words(args: argparse.Namespace, *more: str) -> tuple[str, ...]:
    """Return the words that bring an agent which no site config file describes to the same router as another program.

    Args:
        args: the other program's arguments, as `ocs.site_config.parse_args` returns them.
        more: further attributes to pass on.
    """
    found = [(name, getattr(args, name, None)) for name in (*_SITE_OPTIONS, *more)]
    # The other may run in another folder.
    found = [(name, os.path.abspath(value) if name == "site_keys" and value else value) for name, value in found]  # noqa: PTH100 - pathlib is slow to load
    given = (f"--{name.replace('_', '-')}={value}" for name, value in found if value is not None)
    return ("--site=none", *given)
