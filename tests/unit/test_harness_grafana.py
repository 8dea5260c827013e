"""What stands for Grafana in the tests of dashboards fills in variables as Grafana does."""

import pytest

from tests.harness.grafana import NoValuesError, fill, panels, resolve

TWO = {"agent": ["observatory.a", "observatory.b"], "one": ["a.b"], "__interval": ["10s"]}


@pytest.mark.parametrize(
    ("text", "backend", "filled"),
    [
        ('up{agent=~"$agent"}', "prometheus", r'up{agent=~"(observatory\\.a|observatory\\.b)"}'),
        ('up{agent=~"${one}"}', "prometheus", 'up{agent=~"a.b"}'),
        ("rate(x[$__interval])", "prometheus", "rate(x[10s])"),
        ("/^${agent:regex}$/", "influxdb", r"/^(observatory\.a|observatory\.b)$/"),
        ("/^${one:regex}$/", "influxdb", r"/^a\.b$/"),
        ('FROM "$one"', "influxdb", 'FROM "a.b"'),
        ("${one:raw}(x)", "influxdb", "a.b(x)"),
    ],
)
def test_variables_are_filled_in(text, backend, filled):
    assert fill(text, TWO, backend) == filled


@pytest.mark.parametrize("text", ["$nobody", "${one:strange}"])
def test_an_unknown_variable_or_format_is_an_error(text):
    with pytest.raises(KeyError):
        fill(text, TWO, "prometheus")


def test_a_variable_is_listed_with_those_before_it_filled_in():
    listed = {"first": ["b", "a"], "of a": ["xa", "y"]}
    source = {"type": "influxdb"}
    first = {"name": "first", "type": "query", "query": "first", "datasource": source}
    second = {**first, "name": "second", "query": "of $first", "regex": "/^x${part:raw}/", "includeAll": True}
    part = {"name": "part", "type": "textbox", "query": ""}
    dashboard = {"templating": {"list": [first, part, second]}}
    found = resolve(dashboard, {}, lambda backend, query: listed[query])
    assert found == {"first": ["a"], "part": [""], "second": ["xa"]}


def test_a_variable_without_values_is_an_error():
    variable = {"name": "agent", "type": "query", "query": "q", "datasource": {"type": "influxdb"}}
    with pytest.raises(NoValuesError, match="agent has no values"):
        resolve({"templating": {"list": [variable]}}, {}, lambda backend, query: [])


def test_panels_in_collapsed_rows_are_found():
    row = {"type": "row", "panels": [{"type": "stat", "title": "in"}]}
    assert [panel["title"] for panel in panels({"panels": [row, {"type": "stat", "title": "out"}]})] == ["in", "out"]
