"""A copy of the site config file as it was last good."""

from pathlib import Path

import pytest

from ocs.errors import HostNotFoundError, InstanceNotFoundError, SiteConfigError, SiteFileNotFoundError
from ocs.scf import last_good


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("OCS_STATE_DIR", str(tmp_path / "state"))
    path = tmp_path / "site.yaml"
    path.write_text("good")
    return path


def test_a_copy_is_kept_and_found_by_the_name_of_the_file(file):
    last_good.keep_copy(str(file))
    file.write_text("broken")
    assert Path(last_good.copy_of(str(file))).read_text() == "good"


def test_the_file_may_be_named_from_its_folder(file, monkeypatch):
    last_good.keep_copy(str(file))
    monkeypatch.chdir(file.parent)
    assert last_good.copy_of("site.yaml") == last_good.copy_of(str(file))


def test_a_later_copy_replaces_the_earlier(file):
    last_good.keep_copy(str(file))
    file.write_text("better")
    last_good.keep_copy(str(file))
    assert Path(last_good.copy_of(str(file))).read_text() == "better"


def test_without_a_copy_there_is_none(file):
    assert last_good.copy_of(str(file)) is None


def test_it_is_in_the_home_unless_the_environment_says_otherwise(file, monkeypatch):
    monkeypatch.delenv("OCS_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(file.parent / "home"))
    last_good.keep_copy(str(file))
    assert last_good.copy_of(str(file)).startswith(str(file.parent / "home" / "ocs" / "site-files"))


@pytest.mark.parametrize(
    ("error", "mistake"),
    [
        (SiteConfigError("x"), True),
        (SiteFileNotFoundError("x"), False),
        (HostNotFoundError("x"), False),
        (InstanceNotFoundError("x"), False),
    ],
)
def test_only_a_mistake_in_the_file_is_made_good_by_the_copy(error, mistake):
    assert last_good.is_mistake(error) is mistake
