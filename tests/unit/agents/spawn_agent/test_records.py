"""What a spawn agent remembers: kept on the disk, read again, also from a file that is damaged."""

import json

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor

from ocs.agents.spawn_agent.records import ExitNote, Record, RecordsFile, read_records, surplus
from ocs.components.names import ComponentId, Prefix


def note(ended=20.0, **changes):
    return ExitNote(**{"started": 10.0, "ended": ended, "code": 1, "signal": None, "text": "exit code 1", **changes})


def record(name="a", *notes, confirmed=""):
    made = Record(ComponentId(Prefix("ESW", name), "SequenceComponent"), f"seqcomp-esw-{name}", confirmed)
    made.exits.extend(notes)
    return made


def plain(records):
    return {name: each.to_json() for name, each in records.items()}


@pytest_twisted.ensureDeferred
async def test_what_is_saved_is_read_again(tmp_path):
    records = {"a": record("a", note(), note(30.0, code=None, signal=9), confirmed="boot/1"), "b": record("b")}
    file = RecordsFile(reactor, tmp_path / "components.json")
    file.save(records)
    await file.written()
    assert plain(read_records(tmp_path / "components.json")) == plain(records)
    assert [path.name for path in tmp_path.iterdir()] == ["components.json"]


@pytest_twisted.ensureDeferred
async def test_of_many_savings_the_last_is_what_counts(tmp_path):
    file = RecordsFile(reactor, tmp_path / "components.json")
    for number in range(20):
        file.save({f"c{number}": record()})
    await file.written()
    assert list(read_records(tmp_path / "components.json")) == ["c19"]


@pytest_twisted.ensureDeferred
async def test_a_disk_that_refuses_is_trouble_until_it_does_not(tmp_path):
    folder = tmp_path / "state"
    file = RecordsFile(reactor, folder / "components.json")
    file.save({"a": record()})
    await file.written()
    assert "No such file" in file.trouble
    folder.mkdir()
    file.save({"a": record()})
    await file.written()
    assert file.trouble == ""
    assert list(read_records(folder / "components.json")) == ["a"]


@pytest_twisted.ensureDeferred
async def test_without_a_path_nothing_is_written():
    file = RecordsFile(reactor, None)
    file.save({"a": record()})
    await file.written()
    assert file.trouble == ""
    assert read_records(None) == {}


@pytest.mark.parametrize(
    "damaged",
    ["5", "{}", "[]", "null", '{"component": {}, "instance_id": "a", "confirmed": "", "exits": []}', '{"exits": [{}]}'],
)
def test_one_damaged_record_does_not_cost_the_others(tmp_path, damaged):
    path = tmp_path / "components.json"
    path.write_text(f'{{"a": {json.dumps(record().to_json())}, "b": {damaged}}}')
    assert list(read_records(path)) == ["a"]


@given(st.binary() | st.text().map(str.encode) | st.just(b"[" * 100_000))
def test_any_file_can_be_read(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("records") / "components.json"
    path.write_bytes(content)
    assert isinstance(read_records(path), dict)


def test_a_folder_in_the_place_of_the_file_is_as_good_as_none(tmp_path):
    assert read_records(tmp_path) == {}


def test_the_last_ten_ends_are_remembered():
    one = record("a", *(note(float(ended)) for ended in range(15)))
    assert [each.ended for each in Record.from_json(one.to_json()).exits] == [float(ended) for ended in range(5, 15)]


def test_of_too_many_those_are_forgotten_that_ended_the_longest_ago():
    records = {str(ended): record("a", note(float(ended))) for ended in (3, 1, 2, 5)}
    assert surplus(records, ["1"], 2) == ["2", "3"]
    assert surplus(records, ["1"], 4) == []


@given(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)), st.integers(0, 10))
def test_what_runs_is_never_forgotten(known, running, most):
    records = {str(number): record("a", note(float(number))) for number in known}
    names = set(map(str, running)) & set(records)
    forgotten = surplus(records, names, most)
    assert not set(forgotten) & names
    assert len(records) - len(forgotten) == max(min(most, len(records)), len(names))
