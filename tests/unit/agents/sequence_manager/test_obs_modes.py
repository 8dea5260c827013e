"""The file of observing modes."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.sequence_manager.modes_file import ModesFile
from ocs.agents.sequence_manager.obs_modes import parse, read
from ocs.components.names import Prefix
from ocs.errors import ObsModeError
from tests.harness.examples import DOCS

GOOD = """\
obsModes:
  dark:
    resources: [camera-1, dome]
    sequencers: [esw, {TCS: pointing}]
  flat:
    sequencers:
      - ESW
"""


def test_a_mode_has_resources_and_sequencers():
    dark = parse(GOOD, "modes.yaml")["dark"]
    assert dark.resources == ("camera-1", "dome")
    assert [(each.prefix, each.script) for each in dark.sequencers] == [
        (Prefix("ESW", "dark"), None),
        (Prefix("TCS", "dark"), "pointing"),
    ]


def test_json_is_read_too():
    text = json.dumps({"obsModes": {"dark": {"resources": ["a/b"], "sequencers": ["ESW"]}}}, indent="\t")
    assert parse(text, "modes.json")["dark"].resources == ("a/b",)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("obsModes:\n  dark: [\n", 3, ""),
        ("modes: {}\n", 1, "needs the key obsModes"),
        ("obsModes: {a: {sequencers: [ESW]}}\nmore: 1\n", 2, "more: is not a key of this file"),
        ("obsModes: {}\n", 1, "at least one observing mode"),
        ("obsModes:\n  dark:\n    sequencer: [ESW]\n", 3, "these are: resources, sequencers"),
        ("obsModes:\n  dark:\n    sequencers: []\n", 3, "at least one sequencer"),
        ("obsModes:\n  dark:\n    sequencers: ESW\n", 3, "must be a list"),
        ("obsModes:\n  dark:\n    sequencers:\n    - ESW\n    - 7\n", 5, "must be a subsystem"),
        ("obsModes:\n  dark:\n    sequencers:\n    - ESW\n    - esw\n", 5, "ESW.dark is given twice"),
        ("obsModes:\n  dark:\n    resources:\n    - a\n    - a\n    sequencers: [ESW]\n", 5, "a is given twice"),
        ("obsModes:\n  dark:\n    resources:\n    - 1\n    sequencers: [ESW]\n", 4, "must be a name"),
        ("obsModes:\n  a.b:\n    sequencers: [ESW]\n", 2, "a.b"),
        ("obsModes:\n  12:\n    sequencers: [ESW]\n", 2, "must be text"),
        ("obsModes:\n  dark:\n    sequencers: [ESW]\n  dark:\n    sequencers: [ESW]\n", 4, "second time"),
    ],
)
def test_what_is_wrong_is_one_line_with_file_and_line(text, line, words):
    with pytest.raises(ObsModeError) as raised:
        parse(text, "modes.yaml")
    assert str(raised.value).startswith(f"modes.yaml:{line}:")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_mistake_in_json_has_its_line_too():
    with pytest.raises(ObsModeError, match=r"^modes\.json:3:1: is no JSON"):
        parse('{\n"obsModes": 1,\n}', "modes.json")
    with pytest.raises(ObsModeError, match=r"^modes\.json:3: obsModes\.dark\.sequencers"):
        parse('{"obsModes":\n {"dark":\n  {"sequencers": []}}}', "modes.json")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ObsModeError, match="no such file of observing modes"):
        read(tmp_path / "gone.yaml")


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(["ESW", "dark", "resources"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["obsModes", "resources", "sequencers", "dark", "ESW"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(found=_values)
def test_whatever_the_file_holds_is_modes_or_a_mistake(found):
    with suppress(ObsModeError):
        modes = parse(json.dumps({"obsModes": found}), "modes.json")
        assert all(mode.sequencers for mode in modes.values())


def test_the_example_is_a_good_one():
    assert set(read(DOCS / "examples/sequences/obs-modes.yaml")) == {"fake_observation", "two_cameras", "engineering"}


def test_a_file_is_read_again_when_it_has_changed_and_the_last_good_reading_stays(tmp_path):
    path = tmp_path / "modes.yaml"
    path.write_text(GOOD)
    modes = ModesFile(path)
    assert not modes.refresh()
    path.write_text("obsModes:\n  dark: 1\n")
    assert modes.refresh()
    assert (list(modes.modes), modes.trouble.startswith(f"{path}:2:")) == (["dark", "flat"], True)
    path.write_text(GOOD.replace("flat", "another_one"))
    assert modes.refresh()
    assert (list(modes.modes), modes.trouble) == (["dark", "another_one"], None)


def test_a_file_that_goes_away_keeps_its_modes(tmp_path):
    path = tmp_path / "modes.yaml"
    path.write_text(GOOD)
    modes = ModesFile(path)
    path.unlink()
    assert modes.refresh()
    assert "no such file" in modes.trouble
    assert modes.modes
