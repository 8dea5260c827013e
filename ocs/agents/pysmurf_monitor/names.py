"""Legal names for texts of any kind, such that two texts never share one, now or after a restart."""

import hashlib
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["MOST_AMBIGUOUS", "Ambiguous", "Names", "NamesExhaustedError"]

MOST_AMBIGUOUS = 1000
"""So many texts are remembered for having the name of another."""
_SUFFIX = 9
"""Length of what is added to such a name, in characters."""
_LONGEST = 255


class NamesExhaustedError(ValueError):
    """There are too many texts, or too many that want the same name."""


class Ambiguous:
    """Remembers, over restarts, the texts whose legal name was another's already. Any thread.

    Without it the order in which texts come would decide after each restart which of two gets the plain name.

    Args:
        path: the file; None remembers for this process alone.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._texts = _loaded(path)

    def __contains__(self, text: str) -> bool:
        return text in self._texts

    def add(self, text: str) -> None:
        """Remember a text.

        Raises:
            NamesExhaustedError: there are too many.
        """
        with self._lock:
            if len(self._texts) >= MOST_AMBIGUOUS:
                raise NamesExhaustedError(f"more than {MOST_AMBIGUOUS} names are ambiguous")
            self._texts.add(text)
            if self._path is not None:
                _save(self._path, sorted(self._texts))


def _loaded(path: Path | None) -> set[str]:
    with suppress(OSError, ValueError):  # not there, or not ours any more: names are found anew
        texts = json.loads(path.read_text()) if path else []
        if isinstance(texts, list):
            return {text for text in texts[:MOST_AMBIGUOUS] if isinstance(text, str)}
    return set()


def _save(path: Path, texts: list[str]) -> None:
    new = path.with_name(f"{path.name}.new")
    with suppress(OSError):  # a full disk shows elsewhere; here it costs the same name after a restart
        new.write_text(json.dumps(texts, indent=0))
        new.replace(path)


class Names:
    """Gives each text a legal name of its own. One thread at a time.

    The first text with a legal name gets just that; others get a suffix made from the text.

    Args:
        legal: makes a legal name of a text, the same for several perhaps.
        most: how many texts at most.
        ambiguous: remembers who gets a suffix.
        realm: keeps these names apart from others in `ambiguous`.
        on_clash: called with two texts that would have the same name.
    """

    def __init__(
        self,
        legal: Callable[[str], str],
        most: int,
        ambiguous: Ambiguous,
        realm: str,
        on_clash: Callable[[str, str], None] = lambda _first, _second: None,
    ) -> None:
        self._legal = legal
        self._most = most
        self._ambiguous = ambiguous
        self._realm = realm
        self._on_clash = on_clash
        self._by_text: dict[str, str] = {}
        self._owners: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._by_text)

    def __contains__(self, text: str) -> bool:
        return text in self._by_text

    def name(self, text: str) -> str:
        """Return a text's name, always the same.

        Raises:
            NamesExhaustedError: there are too many.
        """
        return self._by_text.get(text) or self._new(text)

    def _new(self, text: str) -> str:
        if len(self._by_text) >= self._most:
            raise NamesExhaustedError(f"more than {self._most}")
        name = self._free_name(text)
        self._by_text[text], self._owners[name] = name, text
        return name

    def _free_name(self, text: str) -> str:
        name, key = self._legal(text), f"{self._realm}\n{text}"
        if key not in self._ambiguous:
            if name not in self._owners:
                return name
            self._ambiguous.add(key)
            self._on_clash(self._owners[name], text)
        name = _with_suffix(name, text)
        if name in self._owners:
            raise NamesExhaustedError(f"its name is that of {self._owners[name]!r}")
        return name


def _with_suffix(name: str, text: str) -> str:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{name[: _LONGEST - _SUFFIX]}_{digest}"
