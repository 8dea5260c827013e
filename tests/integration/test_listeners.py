"""Who listens to others receives what they publish as it is, and takes nothing away from other listeners."""

import json
import subprocess
import sys

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from ocs.core.membership import Membership
from tests.harness.wamp import wamp_session

BEYOND_64_BITS = 2**70


@pytest_twisted.ensureDeferred
async def test_an_integer_beyond_64_bits_reaches_the_program_that_listens_to_all(site, router):
    command = [sys.executable, "-m", "ocs.client_cli", *site.args, "listen", "..feeds."]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:  # noqa: ASYNC220 - starting it is quick
        try:
            assert (await deferToThread(listener.stdout.readline)).startswith("Listening to ")
            async with wamp_session(router) as publisher:
                publisher.publish("observatory.old.feeds.odd", [{"n": BEYOND_64_BITS}, {"record": False}])
                line = await deferToThread(listener.stdout.readline)
        finally:
            listener.terminate()
    assert json.loads(line.partition("] ")[2]) == {"n": BEYOND_64_BITS}


class Agent:
    realm_joined = False


@pytest.mark.parametrize("options", [None, {"match": "wildcard"}])
def test_an_agent_with_any_subscription_counts_as_one_that_hears_others(options):
    membership = Membership(Agent(), lambda *_: None)
    assert not membership.hears_others
    membership.want((print, "observatory.x.feeds.y", options), force=False)
    assert membership.hears_others
