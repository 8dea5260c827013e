"""What the exporter knows of a site: who is told, and for how long."""

import pytest

from ocs.agents.prometheus_exporter.site_view import SiteView
from ocs.presence.asking import Question
from ocs.presence.heartbeat import MalformedHeartbeatError
from ocs.presence.roster import Moment

ROOT = "observatory"


def at(seconds):
    return Moment(1790000000.0 + seconds, seconds)


def beat(instance_id, agent_class="FakeDataAgent", codes=None, **more):
    return (codes or {}), {"agent_address": f"{ROOT}.{instance_id}", "agent_class": agent_class, **more}


def told(view, now, hears=True):
    return {(name, labels): value for name, labels, value in view.snapshot(now, hears=hears).figures()}


def turn(view, now):
    for _ in view.tick(now):
        pass


@pytest.fixture
def view():
    return SiteView(ROOT, stale_after=30.0, forget_after=1000.0)


def test_an_agent_its_operations_and_its_messages(view):
    view.hear(beat("fake-1", codes={"acq": 8, "delay": 5}, last_seq=12), at(0.0))
    assert told(view, at(2.0)) == {
        ("ocs_agents", ("alive",)): 1,
        ("ocs_agents", ("expired",)): 0,
        ("ocs_agent_up", ("fake-1", "FakeDataAgent")): 1,
        ("ocs_operation_code", ("fake-1", "FakeDataAgent", "acq")): 8,
        ("ocs_operation_degraded", ("fake-1", "FakeDataAgent", "acq")): 1,
        ("ocs_operation_code", ("fake-1", "FakeDataAgent", "delay")): 5,
        ("ocs_operation_degraded", ("fake-1", "FakeDataAgent", "delay")): 0,
        ("ocs_agent_heartbeat_age_seconds", ("fake-1", "FakeDataAgent")): 2.0,
        ("ocs_agent_messages_total", ("fake-1",)): 12,
    }


def test_an_agent_that_falls_silent_is_down_and_its_operations_expired(view):
    view.hear(beat("fake-1", codes={"acq": 3}), at(0.0))
    for second in range(7):
        view.hear(beat("other"), at(second))
        turn(view, at(second))
    found = told(view, at(6.5))
    assert found["ocs_agent_up", ("fake-1", "FakeDataAgent")] == 0
    assert found["ocs_operation_code", ("fake-1", "FakeDataAgent", "acq")] == 7
    assert found["ocs_agents", ("expired",)] == 1


def test_while_nobody_can_be_heard_nobody_is_said_to_be_up_or_down(view):
    view.hear(beat("fake-1", codes={"acq": 3}), at(0.0))
    names = {name for name, _ in told(view, at(60.0), hears=False)}
    assert names == {"ocs_agent_heartbeat_age_seconds"}


def test_an_agent_that_is_gone_for_long_is_forgotten(view):
    view.hear(beat("fake-1", last_seq=3), at(0.0))
    for second in range(0, 1010, 4):
        view.hear(beat("other"), at(second))
        turn(view, at(second))
    assert {labels[0] for name, labels in told(view, at(1009.0)) if name != "ocs_agents"} == {"other"}


def test_an_answer_is_told_until_it_is_stale(view):
    view.hear(beat("hk", "AggregatorAgent"), at(0.0))
    [question] = view.questions()
    assert question == Question("hk", "record")
    view.answer(question, {"data": {"values_recorded": 5}}, at(0.0))
    assert told(view, at(29.0))["ocs_recorder_samples_total", ("hk",)] == 5
    assert ("ocs_recorder_samples_total", ("hk",)) not in told(view, at(31.0))


def test_who_is_silent_or_has_no_figures_is_not_asked(view):
    view.hear(beat("fake-1"), at(0.0))
    view.hear(beat("hk", "AggregatorAgent"), at(0.0))
    for second in range(7):
        view.hear(beat("other"), at(second))
        turn(view, at(second))
    assert view.questions() == []


def test_questions_are_counted_by_what_came_of_them(view):
    view.hear(beat("hk", "AggregatorAgent"), at(0.0))
    view.answer(Question("hk", "record"), {"data": None}, at(0.0))
    view.no_answer(Question("hk", "record"))
    assert view.asked == {("AggregatorAgent", "answered"): 1, ("AggregatorAgent", "unanswered"): 1}


@pytest.mark.parametrize("number", [None, True, -1, 2**63, "12", 1.5])
def test_numbers_of_messages_that_are_none_are_not_told(view, number):
    view.hear(beat("fake-1", last_seq=number), at(0.0))
    assert ("ocs_agent_messages_total", ("fake-1",)) not in told(view, at(1.0))


def test_a_message_that_is_no_heartbeat_changes_nothing(view):
    with pytest.raises(MalformedHeartbeatError):
        view.hear("rubbish", at(0.0))
    assert view.roster.malformed == 1
    assert view.roster.agents == {}
