"""YAML that somebody mistyped, or means ill: one line with the place, in no time."""

import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.errors import SiteConfigError
from ocs.scf import reading
from ocs.scf.bounds import MAX_BYTES
from ocs.site_config import SiteConfig

HUB = "hub: {wamp_server: ws://h, wamp_http: http://h, wamp_realm: r, address_root: o}\n"


def laughs(*, levels=9, width=10, item="[x]"):
    """Return lines of which each means ``width`` times the one before."""
    lines = [f"a0: &a0 {item}"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]" for i in range(1, levels + 1)]
    return "\n".join(lines) + "\n"


def merge_laughs(*, levels=12, width=10):
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * width)}], k{i}: 1}}" for i in range(1, levels + 1)]
    return "\n".join(lines) + "\n"


def in_arguments(value):
    return f"hosts: {{h: {{agent-instances: [{{instance-id: a, agent-class: A, arguments: {value}}}]}}}}\n"


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        ("a: b\nc: \x00", ":2:4", "no text (0x00)"),
        ("[" * 100_000, ":1:101", "nested more than 100 levels"),
        ("{a: " * 100_000, ":1:401", "nested more than 100 levels"),
        ("- " * 20_000 + "a", ":1:201", "nested more than 100 levels"),
        ("\n".join(" " * depth + "a:" for depth in range(1_000)), ":101:101", "nested more than 100 levels"),
        (merge_laughs(), ":6:5", "merging (<<) makes this too large"),
        ("a: 1" + ":1" * 200_000, ":1:4", "too long for a number"),
        ("a: 0x" + "f" * 100_000, ":1:4", "too long for a number"),
        ("a: 1\nb: 2026-13-45", ":2:4", "'2026-13-45' is no timestamp"),
        ("a: !!int ''", ":1:4", "is no int"),
        ("a: !!timestamp x", ":1:4", "is no timestamp"),
        ("a: !!bool x", ":1:4", "is no bool"),
        ("a: !!python/object:os.system ls", ":1:4", "could not determine a constructor"),
        ("{[a]: b}", ":1:2", "unhashable key"),
        ("a: 1\n---\nb: 2", ":2:1", "another document"),
        ("a: *x", ":1:4", "undefined alias"),
        ("a: 'x\ny", ":2:2", "unexpected end of stream"),
        ("a: 1\n\tb: 2", ":2:1", "spaces, not tabs"),
        ("a: b: c", ":1:5", "quote text that has ': '"),
        ("a:\n  - b\n  c: d", ":3:3", "begins with '- '"),
        ("a:\n    b: 1\n  c: 1", ":3:3", "indent this as"),
        ("a: 1\nb\n", ":3:1", "a key needs ': ' after it"),
        ("a: 1\na: 2", ":2:1", "'a' is given a second time, the first is in line 1"),
    ],
)
def test_bad_yaml_is_one_line_with_its_place(text, place, told):
    with pytest.raises(SiteConfigError) as caught:
        reading.parse(text, "site.yaml")
    assert str(caught.value).startswith(f"site.yaml{place}: ")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


REPEATED = (
    f"i: &i [{'{instance-id: a, agent-class: A}, ' * 1000}]\n"
    f"hosts: {{{', '.join(f'h{n}: {{agent-instances: *i}}' for n in range(1000))}}}\n"
)


@pytest.mark.parametrize(
    "text",
    [
        laughs() + in_arguments("*a9"),
        laughs(item="[]", levels=18, width=2) + in_arguments("*a18"),
        laughs() + "hosts: *a9\n",
        laughs() + "hosts: {h: *a9}\n",
        laughs() + "hosts: {h: {agent-instances: [{instance-id: *a9, agent-class: A}]}}\n",
        laughs() + "hosts: {h: {agent-instances: [{instance-id: a, agent-class: A, manage: *a9}]}}\n",
        laughs() + "hosts: {h: {agent-instances: [{instance-id: a, agent-class: A, start-level: *a9}]}}\n",
        laughs() + in_arguments("[{a: *a9}]"),
        laughs() + "hosts: {h: {crossbar_timeout: *a9, agent-instances: []}}\n",
        REPEATED,
    ],
    ids=["words", "lists of nothing", "hosts", "host", "id", "manage", "level", "mapping", "timeout", "repeated hosts"],
)
def test_a_few_lines_that_mean_a_billion_are_refused_in_a_line(text):
    started = time.process_time()
    with pytest.raises(SiteConfigError) as caught:
        SiteConfig.from_dict(reading.parse(HUB + text, "site.yaml"))
    assert len(str(caught.value)) < 500
    assert time.process_time() - started < 20  # not a timing: the alternative is hours


def test_what_merges_itself_ends():
    assert reading.parse("a: &a {<<: *a, b: 1}", "site.yaml")["a"]["b"] == 1


def test_a_file_that_is_far_too_large_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text("#" * (MAX_BYTES + 1))
    with pytest.raises(SiteConfigError, match="is larger than 2 MiB"):
        SiteConfig.from_yaml(path)


def test_a_file_that_never_ends_is_refused():
    with pytest.raises(SiteConfigError, match="is larger than 2 MiB"):
        SiteConfig.from_yaml("/dev/zero")


@pytest.mark.parametrize(
    ("content", "place"), [(b"a: 1\nb: \xff\xfe", ":2: is not UTF-8"), (b"\xff\xfea", ":1: is not")]
)
def test_a_file_that_is_not_text_is_told_with_the_line(tmp_path, content, place):
    path = tmp_path / "site.yaml"
    path.write_bytes(content)
    with pytest.raises(SiteConfigError, match=f"{path}{place}"):
        SiteConfig.from_yaml(path)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(SiteConfigError, match="cannot be read: Is a directory"):
        SiteConfig.from_yaml(tmp_path)


def test_what_a_mistake_quotes_cannot_drive_the_terminal():
    with pytest.raises(SiteConfigError) as caught:
        SiteConfig.from_dict(reading.parse(HUB + 'hosts: {"\\e[2Jx\\n": 1}', "site.yaml"))
    assert str(caught.value).isprintable()


def test_brackets_without_end_do_not_end_the_program():
    script = "from ocs.scf import reading\ntry: reading.parse('[' * 10**6, 'x')\nexcept Exception as e: print(e)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, "nested" in run.stdout) == (0, True)


def test_all_duplicates_are_known_and_the_last_may_be_taken():
    document = reading.Document("a: 1\nb: {c: 1, c: 2}\na: 3", "f")
    assert [message.partition(" '")[0] for message in document.duplicates] == ["f:3:1:", "f:2:11:"]
    assert document.value(last_of_duplicates=True) == {"a": 3, "b": {"c": 2}}


def test_the_line_of_what_is_missing_is_that_of_what_lacks_it():
    document = reading.Document("a:\n  b:\n  - c: 1\n", "f")
    assert [document.line_of(keys) for keys in [(), ("a",), ("a", "b", 0), ("a", "b", 0, "d"), ("x",)]] == [
        1,
        1,
        3,
        3,
        1,
    ]
    assert document.node_at(("a", "b", 0, "c")).value == "1"
    assert document.node_at(("a", "d")) is None


YAML_LIKE = st.lists(
    st.sampled_from(
        [*"[]{}:,-?&*!|>'\"%@`#~\n\t ", ": ", "- ", "\n  ", "&a ", "*a", "<<: ", "!!int ", "a", "hub", "1", "\x00"]
    ),
    max_size=30,
).map("".join)


@given(YAML_LIKE | st.text(max_size=40))
def test_whatever_the_text_there_is_a_value_or_one_line(text):
    try:
        reading.parse(text, "site.yaml")
    except SiteConfigError as error:
        message = str(error)
    else:
        message = "site.yaml"
    assert message.startswith("site.yaml")
    assert "\n" not in message
