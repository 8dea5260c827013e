"""Docker services as instances: claimed, unclaimed, missing, outdated; and the runner that takes its time."""

import pytest
from twisted.internet.defer import Deferred

from ocs.agents.host_manager.roster import Roster
from ocs.agents.host_manager.runner import NO_RUNNER
from ocs.agents.host_manager.services import ServiceRunner, follow_services, new_tags
from ocs.errors import OCSError
from ocs.site_config import InstanceConfig


def service(*, running=True, **more):
    return {"running": running, "exit_code": 0 if running else 127, "image_id": "i", "running_image": "i", **more}


class FakeCompose:
    """Compose files whose actions end when the test says."""

    def __init__(self, **services):
        self.services = {name.replace("_", "-"): entry for name, entry in services.items()}
        self.trouble = ""
        self.actions = []

    async def up(self, name):
        await self._act("up", name)

    async def down(self, name):
        await self._act("down", name)

    async def _act(self, what, name):
        done = Deferred()
        self.actions.append((what, name, done))
        await done


def roster(*names):
    made = Roster(lambda _record: NO_RUNNER)
    made.take_reading(
        InstanceConfig.from_dict({"instance-id": name, "agent-class": "A", "manage": "docker/up"}) for name in names
    )
    return made


def follow(found, compose):
    follow_services(found, compose, lambda: None)
    return {name: (each.agent_class, each.operable) for name, each in found.items()}


def test_an_instance_is_matched_with_its_service():
    found = roster("a", "b")
    assert follow(found, FakeCompose(ocs_a=service())) == {"a": ("A[d]", True), "b": ("A[d?]", False)}
    assert found["a"].prot.status == (True, None)
    assert found["b"].prot.status == (None, None)
    assert found["a"].full_name == "A[d]:a"


def test_a_service_that_nobody_claims_is_only_watched():
    found = roster()
    assert follow(found, FakeCompose(crossbar=service())) == {"crossbar": ("[docker]", True)}
    record = found["crossbar"]
    assert (record.passive_tracking, record.target_state, record.management) == (True, "passive", "docker")


def test_services_come_and_go():
    found, compose = roster("a"), FakeCompose()
    follow(found, compose)
    compose.services = {"ocs-a": service(), "crossbar": service()}
    assert follow(found, compose) == {"a": ("A[d]", True), "crossbar": ("[docker]", True)}
    compose.services = {}
    assert follow(found, compose) == {"a": ("A[d?]", False)}


def test_a_service_that_is_claimed_later_is_no_longer_only_watched():
    found, compose = roster(), FakeCompose(ocs_a=service())
    follow(found, compose)
    assert list(found) == ["ocs-a"]
    found.take_reading([InstanceConfig.from_dict({"instance-id": "a", "agent-class": "A", "manage": "docker"})])
    assert follow(found, compose) == {"a": ("A[d]", True)}


def test_a_runner_outlives_the_next_look():
    found, compose = roster("a"), FakeCompose(ocs_a=service())
    follow(found, compose)
    runner = found["a"].prot
    follow(found, compose)
    assert found["a"].prot is runner


@pytest.mark.parametrize(
    ("entry", "required"),
    [
        (service(), False),
        (service(image_id="j"), True),
        (service(image_id="unknown"), False),
        (service(running=False, image_id="j"), False),
    ],
)
def test_another_image_requires_a_restart(entry, required):
    found = roster("a")
    follow(found, FakeCompose(ocs_a=entry))
    assert found["a"].restart_required is required


def test_tags_that_docker_does_not_have_are_told_by_instance():
    assert new_tags(roster("a", "b"), {"ocs-a": "ocs:2", "crossbar": "x"}) == {"a": "ocs:2"}


def test_while_docker_does_not_answer_nobody_knows_what_runs():
    runner = ServiceRunner(FakeCompose(ocs_a=service(running=None)), "ocs-a", lambda: None)
    assert runner.status == (None, None)


class Running:
    def __init__(self):
        self.compose, self.done = FakeCompose(ocs_a=service(running=False)), []
        self.runner = ServiceRunner(self.compose, "ocs-a", lambda: self.done.append(True))

    @property
    def asked(self):
        return [what for what, _name, _done in self.compose.actions]


def test_it_is_busy_until_docker_has_done_it():
    running = Running()
    running.runner.up()
    assert running.runner.busy
    running.compose.actions[0][2].callback(None)
    assert not running.runner.busy
    assert running.done == [True]


def test_one_thing_at_a_time_and_the_last_wish_counts():
    running = Running()
    running.runner.up()
    running.runner.down()
    running.runner.up()
    running.runner.down()
    assert running.asked == ["up"]
    running.compose.actions[0][2].callback(None)
    assert running.asked == ["up", "down"]


def test_what_docker_refuses_is_told_until_the_next_start():
    running = Running()
    running.runner.up()
    running.compose.actions[0][2].errback(OCSError("no such image:\n  ocs:7"))
    assert running.runner.failed == "no such image: ocs:7"
    running.runner.up()
    assert running.runner.failed == ""
