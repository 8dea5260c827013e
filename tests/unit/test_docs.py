"""The documentation holds together: links lead somewhere, programs and agents have their pages."""

import re
import tomllib
from pathlib import Path

import pytest

from ocs import plugin

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page):
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not missing


def test_every_page_can_be_reached_from_the_index():
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / link).resolve() for link in LINK.findall(index.read_text())}
    pages = {page for page in (ROOT / "docs").rglob("*.md") if page != index and page.parent.name != "decisions"}
    assert pages - linked == set()


def test_every_program_is_in_the_documentation():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    text = "".join(page.read_text() for page in PAGES)
    assert [name for name in scripts if name not in text] == []


def test_every_agent_class_has_a_page():
    text = "".join(page.read_text() for page in (ROOT / "docs" / "agents").glob("*.md"))
    assert [name for name in plugin.agents if name not in text] == []


def test_every_make_target_that_the_readme_names_exists():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake (\w+)", re.sub(r"\s+", " ", (ROOT / "README.md").read_text())))
    assert {"run", "test", "check", "bench"} <= named & targets
