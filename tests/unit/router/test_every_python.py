"""What is put on the path of a router's Pythons bounds how deep they go, and hides nothing of the system."""

import os
import subprocess
import sys

from ocs.router.process import router_command


def run(script, **variables):
    """Run a script as a Python of the router would."""
    environment = {**os.environ, **variables}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout.strip()


def environment_of_router(tmp_path):
    return router_command(tmp_path, binary=sys.executable).env


def test_no_library_lets_it_go_deeper_than_the_stack(tmp_path):
    path = environment_of_router(tmp_path)["PYTHONPATH"]
    script = "import sys; sys.setrecursionlimit(100_000); print(sys.getrecursionlimit())"
    assert run(script) == "100000"
    assert run(script, PYTHONPATH=path) == "1000"


def test_less_can_be_had(tmp_path):
    path = environment_of_router(tmp_path)["PYTHONPATH"]
    assert run("import sys; sys.setrecursionlimit(500); print(sys.getrecursionlimit())", PYTHONPATH=path) == "500"


def test_the_path_that_was_there_and_the_file_of_the_same_name_stay(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.of_the_system = 5")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    path = environment_of_router(tmp_path)["PYTHONPATH"]
    script = "import sys; sys.setrecursionlimit(5000); print(sys.of_the_system, sys.getrecursionlimit())"
    assert run(script, PYTHONPATH=path) == "5 1000"
