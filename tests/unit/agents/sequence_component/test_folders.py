"""Which file a script's name means."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.sequence_component.folders import ScriptFolders, default_folders, script_names
from ocs.errors import SequenceScriptError


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "sequences"
    (folder / "esw").mkdir(parents=True)
    (folder / "scan.py").write_text("")
    (folder / "esw" / "dark.py").write_text("")
    (tmp_path / "secret.py").write_text("")
    return folder


@pytest.mark.parametrize("name", ["scan", "scan.py", "esw/../scan.py"])
def test_a_name_means_a_file_in_the_folder(folder, name):
    assert ScriptFolders([folder]).find([name]) == folder / "scan.py"


def test_a_path_into_the_folder_is_allowed(folder):
    assert ScriptFolders([folder]).find([str(folder / "scan.py")]) == folder / "scan.py"


def test_the_first_name_that_there_is_and_the_first_folder_win(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "scan.py").write_text("")
    folders = ScriptFolders([folder, other])
    assert folders.find(script_names("ESW", "dark")) == folder / "esw" / "dark.py"
    assert folders.find(script_names("ESW", "scan")) == folder / "scan.py"


@pytest.mark.parametrize("name", ["../secret", "../secret.py", "esw/../../secret", "/etc/passwd", "../nothing", "~/x"])
def test_nothing_outside_is_found_or_told_of(folder, name):
    with pytest.raises(SequenceScriptError, match=r"outside|no script") as raised:
        ScriptFolders([folder]).find([name])
    assert "\n" not in str(raised.value)


def test_a_path_to_elsewhere_is_refused(folder, tmp_path):
    with pytest.raises(SequenceScriptError, match="outside"):
        ScriptFolders([folder]).find([str(tmp_path / "secret.py")])


def test_a_link_that_leads_out_is_refused(folder, tmp_path):
    (folder / "link.py").symlink_to(tmp_path / "secret.py")
    with pytest.raises(SequenceScriptError, match="leads out"):
        ScriptFolders([folder]).find(["link"])


def test_a_folder_may_be_a_link_itself(folder, tmp_path):
    (tmp_path / "linked").symlink_to(folder)
    assert ScriptFolders([tmp_path / "linked"]).find(["scan"]) == folder / "scan.py"


@pytest.mark.parametrize("name", ["", "a\0b", "a\nb", "x" * 500, 7])
def test_what_is_no_name_is_refused(folder, name):
    with pytest.raises(SequenceScriptError):
        ScriptFolders([folder]).find([name])


@given(name=st.text(alphabet="./ab~\\ *", max_size=30))
def test_whatever_the_name_the_file_is_inside(tmp_path_factory, name):
    root = tmp_path_factory.getbasetemp() / "any"
    (root / "in").mkdir(parents=True, exist_ok=True)
    for file in ("a.py", "in/a.py", "in/b.py"):
        (root / file).write_text("")
    try:
        found = ScriptFolders([root / "in"]).find([name])
    except SequenceScriptError:
        return
    assert found.is_relative_to(root / "in")


def test_where_scripts_may_be(tmp_path):
    site = str(tmp_path / "site.yaml")
    assert default_folders(["a"], site, {})[0].name == "a"
    both = default_folders([], site, {"OCS_SCRIPT_DIR": f"/x{os.pathsep}/y", "OCS_CONFIG_DIR": "/c"})
    assert [str(each) for each in both] == ["/x", "/y"]
    assert default_folders([], site, {"OCS_CONFIG_DIR": "/c"}) == [tmp_path / "sequences"]
    assert [str(each) for each in default_folders([], None, {"OCS_CONFIG_DIR": "/c"})] == ["/c/sequences"]


def test_without_a_folder_no_script_is_found():
    with pytest.raises(SequenceScriptError, match="--script-dir"):
        ScriptFolders(default_folders([], None, {})).find(["scan"])


@pytest.mark.parametrize("name", ["é" * 300, "x/" * 150 + "x"])
def test_a_name_that_no_file_can_have_means_none(folder, name):
    with pytest.raises(SequenceScriptError, match="there is no script"):
        ScriptFolders([folder]).find([name])
