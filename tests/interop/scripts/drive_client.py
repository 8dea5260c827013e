"""Does with the OCSClient of the running interpreter what a control script does, and writes down what came of it.

    drive_client.py INSTANCE_ID SITE_ARGUMENTS...

The instance is that of agents/classic.py. Answers with one JSON object: step → what the client gave back.
"""

import json
import sys
import time

from ocs import ERROR, OK, TIMEOUT
from ocs.ocs_client import OCSClient, OCSReply

NAMES = {OK: "OK", ERROR: "ERROR", TIMEOUT: "TIMEOUT"}
STEPS = {}


def step(function):
    STEPS[function.__name__] = function
    return function


def reply(answer):
    assert isinstance(answer, OCSReply), answer
    assert tuple(answer) == (answer.status, answer.msg, answer.session), answer
    return {"code": NAMES[answer.status], "msg": answer.msg, "repr": repr(answer), "session": answer.session}


def refused(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except Exception as error:  # what is raised is what is compared
        return {"raised": [kind.__name__ for kind in type(error).__mro__], "text": str(error)}
    return {"raised": []}


@step
def attributes(client):
    return sorted(name for name in vars(client) if not name.startswith("_") and name not in ("instance_id", "privs"))


@step
def methods(client):
    wanted = ("start", "wait", "status", "stop", "abort")
    return {name: [m for m in wanted if hasattr(getattr(client, name), m)] for name in ("double", "slow", "tick")}


@step
def docstring(client):
    return client.double.start.__doc__


@step
def never_run(client):
    return [reply(client.double.status()), reply(client.double.wait()), reply(client.sample.status())]


@step
def end_what_does_not_run(client):
    ended = [reply(client.slow.abort()), reply(client.sample.stop()), reply(client.double.abort())]
    return [*ended, refused(getattr, client.double, "stop")]


@step
def call_a_task(client):
    return reply(client.double(value=21))


@step
def start_and_wait(client):
    return [reply(client.free.start(a=1, b=[1.5, None, {"c": "d"}])), reply(client.free.wait(timeout=10))]


@step
def no_parameters(client):
    return [reply(client.free()), reply(client.none_taken())]


@step
def bad_parameters(client):
    return [
        reply(client.double.start(value="two")),
        reply(client.double.start(value=100)),
        reply(client.double.start(unit="F")),
        reply(client.double.start(vaule=3)),
        reply(client.none_taken.start(a=1)),
        reply(client.double.status()),
    ]


@step
def failures(client):
    return [reply(client.fail()), reply(client.crash())]


@step
def above_the_level(client):
    return reply(client.restricted())


@step
def task_waits_and_is_aborted(client):
    started = reply(client.slow.start())
    again = reply(client.slow.start())
    begun = time.monotonic()
    waited = [reply(client.slow.wait(timeout=0.3)), reply(client.slow.wait(timeout=-1))]
    took = time.monotonic() - begun
    aborted = reply(client.slow.abort())
    ended = reply(client.slow.wait(timeout=10))
    return [started, again, *waited, aborted, ended, reply(client.slow.abort()), 0.25 < took < 5]


@step
def process_from_a_thread(client):
    answers = [reply(client.sample.stop()), reply(client.sample.start(degraded=True)), reply(client.sample.start())]
    deadline = time.monotonic() + 10
    while client.sample.status().session["op_code"] != 8 and time.monotonic() < deadline:
        time.sleep(0.02)
    answers += [reply(client.sample()), reply(client.sample.wait(timeout=0.1)), reply(client.sample.stop())]
    return [*answers, reply(client.sample.wait(timeout=10)), reply(client.sample.stop())]


@step
def process_in_the_reactor(client):
    answers = [reply(client.tick.status()), reply(client.tick.stop()), reply(client.tick.wait(timeout=10))]
    return [*answers, reply(client.tick.start()), refused(getattr, client.tick, "abort")]


@step
def unknown_operations(client):
    ask = client._client.request  # scripts use it, private or not: it is the ControlClient underneath
    wrong = [("start", "nothing"), ("dance", "double"), ("stop", "double"), ("abort", "tick")]
    return [reply(OCSReply(*ask(*each))) for each in wrong]


@step
def unknown_attribute(client):
    return refused(getattr, client, "nothing")


def main():
    instance_id, *arguments = sys.argv[1:]
    client = OCSClient(instance_id, args=arguments)
    answers = {name: function(client) for name, function in STEPS.items()}
    answers["unknown_agent"] = refused(OCSClient, "nobody", args=arguments)
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
