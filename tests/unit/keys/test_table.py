"""The table of a closed site: who is admitted, and what is no table."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocs.errors import KeysError
from ocs.keys.table import Identity, PublicKey, SiteTable

NEW, OLD = "a" * 64, "b" * 64
AGENT = Identity("fake-1", "agent", ("fake-1",), (PublicKey(NEW), PublicKey(OLD, 100.0)), 1.0)
DIRECTOR = Identity("access-dir", "director", ("access-dir",))
TABLE = SiteTable({each.name: each for each in (AGENT, DIRECTOR, Identity("client", "client"))})


def test_it_comes_back_as_it_was_written(tmp_path):
    TABLE.write(tmp_path)
    assert SiteTable.read(tmp_path) == TABLE
    assert [path.name for path in tmp_path.iterdir()] == ["site.json"]


def test_both_keys_are_good_until_the_old_one_ends():
    assert TABLE.admit("fake-1", NEW, 1e12) is AGENT
    assert TABLE.admit("fake-1", OLD, 99.9) is AGENT
    with pytest.raises(KeysError, match="may not connect"):
        TABLE.admit("fake-1", OLD, 100.0)


def test_a_refusal_does_not_tell_which_names_there_are():
    def refusal(name, public):
        with pytest.raises(KeysError) as refused:
            TABLE.admit(name, public, 100.0)
        return str(refused.value).replace(name, "NAME")

    cases = [("fake-1", OLD), ("fake-1", "c" * 64), ("nobody", NEW), ("client", NEW)]
    assert len({refusal(*case) for case in cases}) == 1


def test_who_is_taken_out_is_gone():
    with pytest.raises(KeysError):
        TABLE.without("fake-1").admit("fake-1", NEW, 0.0)
    assert TABLE.directors == {"access-dir"}


def test_an_agent_without_instances_has_its_name(tmp_path):
    entries = {"a-1": {"role": "agent", "keys": []}, "c": {"role": "client"}}
    (tmp_path / "site.json").write_text(json.dumps({"version": 1, "identities": entries}))
    table = SiteTable.read(tmp_path)
    assert (table.identities["a-1"].instances, table.identities["c"].instances) == (("a-1",), ())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "[" * 100_000,
        '{"version": 2, "identities": {}}',
        '{"version": 1, "identities": []}',
        '{"version": 1, "identities": {"../x": {"role": "agent"}}}',
        '{"version": 1, "identities": {"x": 1}}',
        '{"version": 1, "identities": {"x": {"role": "king"}}}',
        '{"version": 1, "identities": {"x": {"role": ["agent"]}}}',
        '{"version": 1, "identities": {"x": {"role": "client", "instances": ["x"]}}}',
        '{"version": 1, "identities": {"x": {"role": "agent", "instances": "x"}}}',
        '{"version": 1, "identities": {"x": {"role": "agent", "instances": ["a..b"]}}}',
        '{"version": 1, "identities": {"x": {"role": "agent", "instances": [1]}}}',
        '{"version": 1, "identities": {"x": {"role": "agent", "keys": [{"public": "AB"}]}}}',
        '{"version": 1, "identities": {"x": {"role": "agent", "keys": ["a"]}}}',
        '{"version": 1, "identities": {"x": {"role": "agent", "made": NaN}}}',
        '{"version": 1, "identities": {"x": {"role": "agent", "keys": [{"public": "%s", "until": "x"}]}}}'.replace(
            "%s", NEW
        ),
        '{"version": 1, "identities": {"x": {"role": "agent", "made": 1%s}}}'.replace("%s", "0" * 400),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "site.json").write_text(text)
    with pytest.raises(KeysError, match=r"site\.json") as refused:
        SiteTable.read(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_missing_table_is_told_with_the_remedy(tmp_path):
    with pytest.raises(KeysError, match="ocs keys init"):
        SiteTable.read(tmp_path)


def test_a_table_that_everybody_can_write_is_none(tmp_path):
    TABLE.write(tmp_path)
    (tmp_path / "site.json").chmod(0o666)
    with pytest.raises(KeysError, match="chmod 644"):
        SiteTable.read(tmp_path)


@pytest.mark.parametrize("instance", ["*", "a*b", "a.*", "**", "a*.b", "", ".", "a..b", "a b", "a#"])
def test_what_is_no_instance_is_refused(instance):
    with pytest.raises(KeysError, match="cannot be an instance-id"):
        Identity("some", "agent", (instance,))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["agent", "a" * 64]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["public", "until", "x"]), inner),
    max_leaves=6,
)
entries = st.fixed_dictionaries({}, optional=dict.fromkeys(["role", "instances", "keys", "made"], values)) | values


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["fake-1", "", "..", "a b"]), entries, max_size=2))
def test_whatever_is_in_it_the_answer_is_a_table_or_a_line(tmp_path, identities):
    (tmp_path / "site.json").write_text(json.dumps({"version": 1, "identities": identities}))
    told, table = read(tmp_path)
    assert "\n" not in told
    if table is not None:
        table.write(tmp_path)
        assert read(tmp_path) == ("", table)


def read(folder):
    try:
        return "", SiteTable.read(folder)
    except KeysError as error:
        return str(error), None
