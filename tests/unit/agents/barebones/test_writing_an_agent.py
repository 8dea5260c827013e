"""The guide for agent authors: its excerpts are the agent's code, its examples run."""

import inspect
import textwrap

import pytest
import yaml

from ocs.agents.barebones.agent import BarebonesAgent
from ocs.scf.model import InstanceConfig
from tests.harness.examples import DOCS, code_blocks, examples

PAGE = "developer/writing-an-agent.md"
EXCERPTS = [(what.removeprefix("from "), code) for what, code in examples(PAGE) if what.startswith("from ")]
RUN = [code for what, code in examples(PAGE) if what == "run"]


def test_every_python_block_is_an_excerpt_or_is_run():
    assert len(examples(PAGE)) == len(code_blocks(PAGE, "python"))


@pytest.mark.parametrize(("path", "code"), EXCERPTS)
def test_an_excerpt_is_what_the_file_says(path, code):
    source = (DOCS.parent / path).read_text()
    assert code in source or textwrap.indent(code, "    ") in source


def test_every_method_is_explained():
    shown = "".join(code for _, code in EXCERPTS)
    methods = [name for name, _ in inspect.getmembers(BarebonesAgent, inspect.isfunction)]
    assert [name for name in methods if f"def {name}(" not in shown] == []


def test_the_test_example_has_tests_that_pass():
    namespace = {}
    for code in RUN:
        exec(code, namespace)
    tests = [function for name, function in namespace.items() if name.startswith("test_")]
    assert len(tests) == 2
    for function in tests:
        function()


@pytest.mark.parametrize("page", [PAGE, "agents/barebones.md", "agents/fake-data.md", "agents/registry.md"])
def test_the_instances_shown_are_valid(page):
    for block in code_blocks(page, "yaml"):
        for instance in yaml.safe_load(block):
            assert InstanceConfig.from_dict(instance, None).instance_id == instance["instance-id"]
