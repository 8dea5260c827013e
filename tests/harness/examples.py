"""The examples of the documentation, found by the comment above each: `<!-- run -->` and the like."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
_EXAMPLE = re.compile(r"^<!-- (?P<what>[^>]+) -->\n```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def examples(page: str) -> list[tuple[str, str]]:
    """Return the marked Python examples of a page below `docs/`: what the comment says, and the code."""
    return [match.group("what", "code") for match in _EXAMPLE.finditer((DOCS / page).read_text())]


def code_blocks(page: str, language: str) -> list[str]:
    """Return all blocks of a language, marked or not."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
