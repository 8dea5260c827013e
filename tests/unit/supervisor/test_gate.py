"""No child begins before it has been let in."""

import os
import subprocess
import sys

import pytest

from ocs.supervisor import gate as gate_module
from ocs.supervisor.gate import GATE_FD, Gate, gated

SCRIPT = f"""
import os, sys
print("begun", os.getpid() == os.getsid(0))
try:
    os.fstat({GATE_FD})
except OSError:
    print("no gate")
print(sys.argv[1:])
"""


@pytest.fixture(params=["shell", "python"])
def start(request, monkeypatch):
    if request.param == "python":
        monkeypatch.setattr(gate_module.shutil, "which", lambda _name: None)
    started = []

    def start(gate):
        started.append(
            subprocess.Popen(
                gated((sys.executable, "-I", "-S", "-c", SCRIPT, "with blank", "$HOME")),
                stdout=subprocess.PIPE,
                text=True,
                pass_fds=(GATE_FD,),
                preexec_fn=lambda: os.dup2(gate.inner, GATE_FD),  # noqa: PLW1509 - no thread holds a lock here
            )
        )
        gate.handed_over()
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_child_that_is_let_in_begins_in_a_session_of_its_own_and_without_the_gate(start):
    gate = Gate()
    child = start(gate)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.1)
    assert gate.shut
    gate.open()
    assert not gate.shut
    assert child.stdout.read().splitlines() == ["begun True", "no gate", "['with blank', '$HOME']"]


def test_a_child_whose_supervisor_is_gone_never_begins(start):
    gate = Gate()
    child = start(gate)
    gate.close()
    child.wait(10)
    assert child.stdout.read() == ""


def test_opening_for_a_child_that_has_died_is_no_error():
    gate = Gate()
    gate.handed_over()
    gate.open()
    gate.close()
    with pytest.raises(OSError):
        os.fstat(gate.inner)
