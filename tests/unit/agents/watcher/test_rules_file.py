"""The rules file: what it may say, and how its mistakes are told."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocs.agents.watcher.amounts import duration, seconds_text, size
from ocs.agents.watcher.rules import Email, Escalation, Kind, Webhook
from ocs.agents.watcher.rules_file import RulesFile, parse_rules, read_rules
from ocs.errors import WatchRulesError
from tests.harness.examples import code_blocks

ROOT = Path(__file__).parents[4]

TARGETS = """\
targets:
  - name: chat
    webhook: {url: "https://chat.example.org/x", token_file: /t}
  - {name: night, interval: 10 min, gather: 0, email: {host: h, from: a@b, to: c@d, tls: starttls, port: 587}}
notify: chat
"""


def rules(*lines):
    return parse_rules(TARGETS + "rules:\n" + "\n".join(lines) + "\n", "rules.yaml").rules


def mistake(text):
    with pytest.raises(WatchRulesError) as raised:
        parse_rules(text, "rules.yaml")
    return str(raised.value)


def mistake_or_nothing(text):
    try:
        parse_rules(text, "rules.yaml")
    except WatchRulesError as error:
        return str(error)
    return ""


def test_targets_and_who_is_told():
    found = parse_rules(
        TARGETS + "rules: [{name: a, kind: expired}, {name: b, kind: expired, notify: [night, chat]}]", "f"
    )
    assert found.targets["chat"].way == Webhook("https://chat.example.org/x", "/t")
    assert found.targets["night"].way == Email("h", "a@b", ("c@d",), 587, "starttls")
    assert (found.targets["night"].interval, found.targets["night"].gather) == (600, 0)
    assert [rule.notify for rule in found.rules] == [("chat",), ("night", "chat")]


def test_a_rule_has_its_kinds_defaults_and_what_is_said():
    [disk, hot] = rules(
        "- {name: disk, kind: disk}",
        "- {name: hot, kind: value_outside, feeds: [a, b], field: t, high: 3, for: 1 min, latch: true,",
        "   escalate: [{after: 1h, to: night}, {after: 2h, to: [chat, night]}]}",
    )
    assert disk.low == 10 * 2**30
    assert (hot.kind, hot.feeds, hot.fields, hot.high, hot.wait, hot.latch) == (Kind.VALUE, "a,b", "t", 3.0, 60, True)
    assert hot.escalate == (Escalation(3600, ("night",)), Escalation(7200, ("chat", "night")))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{kind: expired}", "the key 'name' is missing"),
        ("{name: a}", "the key 'kind' is missing"),
        ("{name: a, kind: expird}", "kind: 'expird' is none of: expired, operation_failed,"),
        ("{name: a, kind: expired, agent: x}", "'agent' is not known here; known: name, kind,"),
        ("{name: a, kind: expired, for: soon}", "for: 'soon' is no length of time"),
        ("{name: a, kind: expired, severity: bad}", "severity: 'bad' is none of: info, warning, critical"),
        ("{name: a, kind: expired, latch: maybe}", "latch: has to be true or false"),
        ("{name: a, kind: expired, notify: nobody}", "notify: there is no target 'nobody'; there is: chat, night"),
        ("{name: a, kind: no_data_for}", "'a' needs a 'for'"),
        ("{name: a, kind: degraded_longer_than}", "'a' needs a 'for'"),
        ("{name: a, kind: value_outside, field: t}", "needs a limit"),
        ("{name: a, kind: value_outside, low: 1}", "needs a 'field'"),
        ("{name: a, kind: value_outside, field: t, low: 2, high: 1}", "nothing lies between"),
        ("{name: a, kind: value_outside, field: t, low: .nan}", "low: nan is no number"),
        ("{name: a, kind: data_outside, low: 1}", "needs an 'operation' and the 'path'"),
        ("{name: a, kind: disk, paths: data}", "paths: folders have to begin with /"),
        ("{name: a, kind: value_outside, field: t, low: 2, hysteresis: -1}", "hysteresis: -1 is no hysteresis"),
        ("{name: a, kind: expired, agents: []}", "agents: an empty list would fit everything"),
        ("{name: 'a*', kind: expired}", "name: 'a*': a name has at most 100 characters"),
        ("{name: a, kind: expired, escalate: [{after: 2h, to: chat}, {after: 1h, to: chat}]}", "has to come later"),
        ("{name: a, kind: expired, escalate: {after: 2h}}", "escalate: the key 'to' is missing"),
    ],
)
def test_a_mistake_is_told_with_its_line(line, words):
    text = mistake(TARGETS + "rules:\n" + f"- {{name: ok, kind: expired}}\n- {line}\n")
    assert text.startswith("rules.yaml:8: rules[1]")
    assert words in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rules: [", "rules.yaml:2:1: did not find"),
        ("", "the file has to be a mapping"),
        ("targets: []", "the key 'rules' is missing"),
        ("rules: {}", "has to be a list"),
        ("rules: []\nruls: []", "'ruls' is not known here"),
        ("rules: [{name: a, kind: expired}, {name: a, kind: expired}]", "there is a rule 'a' already"),
        ("rules: []\ntargets: [{name: a}]", "either a webhook or an email"),
        ("rules: []\ntargets: [{name: a, webhook: {url: ftp://x}}]", "has to begin with http:// or https://"),
        ("rules: []\ntargets: [{name: a, webhook: {url: 'http://h:99999/x'}}]", "url: is no URL"),
        ("rules: []\ntargets: [{name: a, webhook: {url: 'http://h/x y'}}]", "url: is no URL"),
        ("rules: []\ntargets: [{name: a, webhook: {url: 'https:///x'}}]", "url: is no URL"),
        ("rules: []\ntargets: [{name: a, email: {host: h, from: a, to: b@c}}]", "is no address"),
        ("rules: []\ntargets: [{name: a, email: {host: h, from: a@b, to: []}}]", "to: nobody is named"),
        ("rules: []\ntargets: [{name: a, email: {host: h, from: a@b, to: c@d, password_file: /f}}]", "'username'"),
        ("rules: []\ntargets: [{name: a, email: {host: h, from: a@b, to: b@c, port: 0}}]", "0 is no port"),
    ],
)
def test_mistakes_outside_the_rules(text, words):
    assert words in mistake(text)


@given(st.text(max_size=60))
def test_any_text_is_rules_or_one_line_that_says_what_is_wrong(text):
    said = mistake_or_nothing(text)
    assert said.startswith("rules.yaml") or not said
    assert "\n" not in said


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(["name", "kind", "for", "agents", "escalate", "notify", "low", "field"]), JSONISH)
)
def test_a_rule_of_anything_is_refused_in_one_line(rule):
    import yaml

    text = yaml.safe_dump({"rules": [{"kind": "value_outside", **rule}]}, allow_unicode=True)
    assert "\n" not in mistake_or_nothing(text)


def test_the_last_good_reading_stays_in_force(tmp_path):
    path = tmp_path / "rules.yaml"
    file = RulesFile(path)
    assert file.refresh()
    assert file.trouble == f"{path}: there is no such file (there are no rules)"
    assert file.never_good
    path.write_text("rules: [{name: a, kind: expired}]")
    assert file.refresh()
    assert not file.refresh()
    assert (file.trouble, len(file.rules.rules)) == (None, 1)
    path.write_text("rules: [{name: a, kind: expired}, 3]")
    assert file.refresh()
    assert "last good reading" in file.trouble
    assert len(file.rules.rules) == 1
    path.unlink()
    assert file.refresh()
    assert len(file.rules.rules) == 1


def test_the_files_that_come_with_ocs_have_no_mistake():
    found = [*ROOT.glob("site-config/*/watcher-rules.yaml"), *ROOT.glob("docker/site/watcher-rules.yaml")]
    assert found
    for file in found:
        assert read_rules(file).rules


def test_the_example_of_the_documentation_has_no_mistake():
    [example] = [text for text in code_blocks("agents/watcher.md", "yaml") if "rules:" in text]
    assert len(parse_rules(example, "watcher.md").rules) == 3


@pytest.mark.parametrize(("text", "value"), [("30", 30), (30, 30), ("1.5 h", 5400), ("2d", 172800), ("10min", 600)])
def test_lengths_of_time(text, value):
    assert duration(text) == value


@pytest.mark.parametrize(("text", "value"), [("10 GiB", 10 * 2**30), ("5 kB", 5000), (7, 7)])
def test_sizes(text, value):
    assert size(text) == value


@pytest.mark.parametrize("text", ["-1 s", "5 weeks", "", None, True, "nan", "1e5", [], "٣ s"])
def test_what_is_no_length_of_time(text):
    with pytest.raises(ValueError, match="is no length of time"):
        duration(text)


@given(st.floats(0, 1e9))
def test_a_length_of_time_as_shown_is_near_to_it(seconds):
    assert abs(duration(seconds_text(seconds)) - seconds) <= 0.26 * seconds + 1
