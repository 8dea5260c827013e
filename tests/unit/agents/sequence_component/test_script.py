"""Loading a sequence script."""

import sys

import pytest

from ocs.agents.sequence_component.script import LARGEST, load, unload
from ocs.errors import SequenceScriptError

GOOD = '''"""Observes.

At length.
"""
from ocs.sequence import step

@step("first")
def one(run): ...

@step("second", weight=2)
def two(run): ...
'''


@pytest.fixture(autouse=True)
def own_interpreter_state(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path):
    def write(text, name="scan.py"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_a_script_has_its_steps_and_its_first_line(write):
    script = load(write(GOOD))
    assert [(step.title, step.weight) for step in script.steps] == [("first", 1.0), ("second", 2.0)]
    assert (script.doc, script.name) == ("Observes.", "scan")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("import time\nx = (\n", 2, "was never closed"),
        ("\n\n1 / 0\n", 3, "ZeroDivisionError: division by zero"),
        ("import nothing_of_this_name\n", 1, "No module named 'nothing_of_this_name'"),
        ("def f():\n    raise SystemExit(3)\nf()\n", 2, "SystemExit: 3"),
        ("from ocs.sequence import step\n@step\ndef f(run): ...\n", 2, "parentheses"),
        (GOOD + "\n@step('first')\ndef three(run): ...\n", 13, "two steps"),
    ],
)
def test_what_is_wrong_is_one_line_with_file_and_line(write, text, line, words):
    path = write(text)
    with pytest.raises(SequenceScriptError) as raised:
        load(path)
    assert str(raised.value).startswith(f"{path}:{line}: ")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("text", "words"), [("", "no steps"), ("#" * (LARGEST + 1), "larger"), ("x = '\0'", "null")])
def test_what_is_no_script_is_refused(write, text, words):
    with pytest.raises(SequenceScriptError, match=words):
        load(write(text))


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(SequenceScriptError, match="No such file"):
        load(tmp_path / "gone.py")


def test_a_script_leaves_nothing_when_it_is_unloaded(write):
    before = set(sys.modules)
    unload(load(write(GOOD)))
    assert {name for name in set(sys.modules) - before if "scan" in name} == set()


def test_a_script_that_fails_leaves_nothing(write):
    before = set(sys.modules)
    with pytest.raises(SequenceScriptError):
        load(write("1 / 0"))
    assert set(sys.modules) == before


def test_a_script_finds_what_stands_beside_it_and_finds_it_anew(write):
    write("TITLE = 'one'\n", "titles_of_scan.py")
    script = "import titles_of_scan\nfrom ocs.sequence import step\n@step(titles_of_scan.TITLE)\ndef f(run): ...\n"
    assert load(write(script)).steps[0].title == "one"
    write("TITLE = 'another'\n", "titles_of_scan.py")
    assert load(write(script)).steps[0].title == "another"


def test_dataclasses_work_in_scripts(write):
    load(
        write(
            "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: 'int' = 1\n" + GOOD.partition('"""\n')[2]
        )
    )


@pytest.mark.parametrize(("step", "number"), [("second", 1), (1, 0), (2, 1)])
def test_a_step_is_found_by_title_and_by_number(write, step, number):
    assert load(write(GOOD)).number_of(step) == number


@pytest.mark.parametrize("step", ["third", 0, 3, True, None, 1.0])
def test_a_step_that_is_not_there_is_told(write, step):
    with pytest.raises(SequenceScriptError, match="it has: 1 'first', 2 'second'"):
        load(write(GOOD)).number_of(step)
