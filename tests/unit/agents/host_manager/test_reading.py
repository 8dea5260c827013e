"""The site config file as the manager reads it, with its last good reading for a reserve."""

import pytest

from ocs.agents.host_manager.reading import SiteReader
from ocs.errors import SiteConfigError
from ocs.scf import last_good

HUB = """\
hub: {wamp_server: "ws://h/ws", wamp_http: "http://h/call", wamp_realm: r, address_root: o}
hosts:
  here:
    agent-instances:
      - {agent-class: HostManager, instance-id: hm-1}
      - {agent-class: HostManager, instance-id: hm-2}
      - {agent-class: A, instance-id: ignored, manage: ignore}
"""
GOOD = HUB + "      - {agent-class: A, instance-id: a}\n"
BETTER = GOOD + "      - {agent-class: A, instance-id: b}\n"
BROKEN = "hub: [\n"


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("OCS_STATE_DIR", str(tmp_path / "state"))
    path = tmp_path / "site.yaml"
    path.write_text(GOOD)
    return path


def reader(file, own_id="hm-1"):
    return SiteReader(str(file), "here", own_id)


def names(reading):
    return [instance.instance_id for instance in reading.instances]


def test_managers_and_what_is_to_be_ignored_are_not_read(file):
    assert names(reader(file).read()) == ["a"]


def test_the_manager_itself_is_not_read_whatever_its_class(file):
    assert names(reader(file, own_id="a").read()) == []


def test_a_broken_file_raises_with_its_place_and_the_last_good_one_is_there(file):
    reader(file).read()
    file.write_text(BROKEN)
    with pytest.raises(SiteConfigError, match=r"site\.yaml:2:1"):
        reader(file).read()
    assert names(reader(file).read_last_good()) == ["a"]


def test_where_nothing_was_ever_good_there_is_no_last_good_reading(file):
    assert reader(file).read_last_good() is None


def test_agents_read_the_file_itself_while_it_is_good(file):
    reading = reader(file)
    reading.read()
    assert reading.file_for_children() == str(file)
    file.write_text(BETTER)
    assert reading.file_for_children() == str(file)


def test_agents_read_the_last_good_one_while_the_file_is_broken(file):
    reading = reader(file)
    reading.read()
    file.write_text(BROKEN)
    assert reading.file_for_children() == last_good.copy_of(str(file)) != str(file)
    file.write_text(GOOD)
    assert reading.file_for_children() == str(file)


def test_agents_read_the_last_good_one_while_the_file_is_away(file):
    reading = reader(file)
    reading.read()
    file.unlink()
    assert reading.file_for_children() == last_good.copy_of(str(file))


def test_a_disk_that_refuses_costs_the_copy_and_not_the_reading(file, tmp_path):
    (tmp_path / "state").write_text("in the way")
    assert names(reader(file).read()) == ["a"]
    assert last_good.copy_of(str(file)) is None


def test_files_of_one_name_in_several_folders_have_a_copy_each(file, tmp_path):
    other = tmp_path / "other" / "site.yaml"
    other.parent.mkdir()
    other.write_text(BETTER)
    reader(file).read()
    reader(other).read()
    assert names(reader(file).read_last_good()) == ["a"]
    assert names(reader(other).read_last_good()) == ["a", "b"]
