"""Which process a component says it is, and whether it can be."""

import os
import subprocess
import sys
import time

import pytest

from ocs.agents.spawn_agent.family import Member
from ocs.agents.spawn_agent.identity import process_of
from ocs.components.description import Description
from ocs.components.names import ComponentId, Prefix
from ocs.errors import SpawnError
from ocs.supervisor.proc import age, stamp


def component(**metadata):
    return Description(ComponentId(Prefix("ESW", "a"), "SequenceComponent"), "uri", metadata)


def test_a_process_that_is_as_old_as_it_says_is_meant():
    assert process_of(component(started=time.time()), os.getpid()) == Member(os.getpid(), stamp(os.getpid()))


@pytest.mark.parametrize("started", [None, "yesterday"])
def test_one_that_does_not_say_when_it_began_is_believed(started):
    assert process_of(component(started=started), os.getpid()).pid == os.getpid()


def test_a_process_that_began_after_the_component_is_another():
    with pytest.raises(SpawnError, match=f"process {os.getpid()}, which is another by now"):
        process_of(component(started=time.time() - age(os.getpid()) - 10), os.getpid())


def test_a_process_that_has_ended_is_none():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(SpawnError, match="but there is none on this machine"):
        process_of(component(), process.pid)
