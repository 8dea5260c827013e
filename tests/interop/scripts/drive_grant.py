"""Does with the running interpreter's clients what a script that needs exclusive access does.

    drive_grant.py DIRECTOR AGENT SITE_ARGUMENTS...

The agent is a FakeDataAgent. Answers with one JSON object: step → what came of it.
"""

import json
import sys
import time

from ocs import OK
from ocs.access import ExclusiveAccessClient
from ocs.ocs_client import OCSClient

DIRECTOR, AGENT, ARGUMENTS = sys.argv[1], sys.argv[2], sys.argv[3:]


def may(password):
    client = OCSClient(AGENT, privs=password, args=ARGUMENTS)
    code = client.delay_task.start(delay=0.01, succeed=True).status
    client.delay_task.wait()
    return code == OK


def who_may(*passwords, awaited):
    """Ask until it is as awaited: rules need a moment to come."""
    deadline = time.monotonic() + 5
    while (answer := [may(password) for password in passwords]) != awaited and time.monotonic() < deadline:
        time.sleep(0.05)
    return answer


def shape(result):
    ok, detail = result
    return {"ok": ok, "message": detail.get("message"), "keys": sorted(detail)}


mine = ExclusiveAccessClient(DIRECTOR, "nina", "fakes", "may I")
other = ExclusiveAccessClient(DIRECTOR, "otto", "fakes", "wrong")
steps = {
    "before": who_may("", "two", "three", awaited=[False, True, True]),
    "wrong password": shape(other.acquire()),
    "acquire": shape(mine.acquire()),
}
held = mine.password
steps |= {
    "held": who_may("", "two", "three", held, awaited=[False, False, False, True]),
    "again": shape(ExclusiveAccessClient(DIRECTOR, "otto", "fakes", "may I").acquire()),
    "renew": shape(mine.renew(time.time() + 200)),
    "release": shape(mine.release()),
    "after": who_may("", "two", "three", held, awaited=[False, True, True, False]),
    "release again": shape(mine.release()),
}
print(json.dumps(steps))
