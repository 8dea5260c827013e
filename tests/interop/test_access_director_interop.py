"""Exclusive access across ours and the published package: every director with every agent and every client."""

import os
from itertools import product
from pathlib import Path

import pytest
import yaml

from tests.harness.peers import SIDES, answers
from tests.harness.waiting import wait_for

pytestmark = pytest.mark.interop

DRIVE = Path(__file__).parent / "scripts" / "drive_grant.py"
CONFIG = {
    "distrib_hashfunc": "md5",  # the published agents know no stronger one
    "passwords": [{"default": True, "password_1": "", "password_2": "two", "password_3": "three"}],
    "exclusive_access_blocks": [
        {
            "name": "fakes",
            "password": "may I",
            "hash": "md5",
            "grants": [{"agent_class": "FakeDataAgent", "cred_level": 3, "lockout_levels": [1, 2, 3]}],
        }
    ],
}


@pytest.fixture(scope="module")
def agents(start, module_site):
    """Both directors, and for each an agent of both sides: (director's side, agent's side) → handle."""
    (module_site.directory / "acc.yaml").write_text(yaml.safe_dump(CONFIG))
    directors = {side: start(side, f"acc-{side}", "AccessDirector", ["--config-file", "acc.yaml"]) for side in SIDES}
    started = {
        (director, side): start(
            side, f"fake-{director}-{side}", "FakeDataAgent", ["--access-policy", f"director:acc-{director}"]
        )
        for director, side in product(SIDES, SIDES)
    }
    for handle in (*directors.values(), *started.values()):
        handle.wait_until_ready()
    for handle in started.values():
        wait_for(lambda handle=handle: handle.call("", "get_api")["access_control"]["update_count"])
    return started


@pytest.fixture(scope="module")
def transcript(agents, pythons, module_site):
    def drive(director, agent, client):
        return answers(
            pythons[client],
            str(DRIVE),
            f"acc-{director}",
            f"fake-{director}-{agent}",
            *module_site.args,
            env={**os.environ, "OCS_CONFIG_DIR": str(module_site.directory)},
        )

    return drive


@pytest.mark.parametrize("client", SIDES)
@pytest.mark.parametrize("agent", SIDES)
@pytest.mark.parametrize("director", SIDES)
def test_a_grant_is_acquired_felt_renewed_and_released(transcript, director, agent, client):
    steps = transcript(director, agent, client)
    assert steps["before"] == [False, True, True]
    assert (steps["wrong password"]["ok"], steps["wrong password"]["keys"]) == (False, ["error"])
    given = ["expire_at", "grant_name", "message", "password", "step"]
    assert steps["acquire"] == {"ok": True, "message": "grant acquired", "keys": given}
    assert steps["held"] == [False, False, False, True]
    assert (steps["again"]["ok"], steps["again"]["keys"]) == (False, ["error"])
    given = ["expire_at", "grant_name", "message", "step"]
    assert steps["renew"] == {"ok": True, "message": "grant renewed", "keys": given}
    assert steps["release"] == {"ok": True, "message": "grant released", "keys": ["grant_name", "message", "step"]}
    assert steps["after"] == [False, True, True, False]
    assert (steps["release again"]["ok"], steps["release again"]["keys"]) == (False, ["error"])


def test_operations_feeds_and_arguments_are_those_of_the_published_one(agents, start, module_site):
    from tests.harness.agents import bridge_call

    told = {side: bridge_call(module_site.http_url, f"observatory.acc-{side}", "get_api") for side in SIDES}
    for part in ("tasks", "processes", "feeds"):
        names = {side: {entry[0] for entry in told[side][part]} for side in SIDES}
        assert names["published"] <= names["ours"]
    envelopes = {side: dict(told[side]["feeds"])["controls"] for side in SIDES}
    assert envelopes["ours"].keys() >= envelopes["published"].keys()
    assert envelopes["ours"]["record"] is envelopes["published"]["record"] is False
