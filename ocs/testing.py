"""Fixtures for the test suites of agent authors: the agent as a real process, a client of it, the router it needs.

Put into a test module or a ``conftest.py``, beside a ``default.yaml`` that describes the test site::

    run_agent = create_agent_runner_fixture("../my_package/agents/lakeshore/agent.py", "lakeshore")
    client = create_client_fixture("LSASIM")

    def test_init(run_agent, client):
        assert client.init_lakeshore().session["success"]

Needs pytest; with coverage installed, what the agent executes is counted too.
"""

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from ocs.errors import RouterError
from ocs.router import health

__all__ = ["check_crossbar_connection", "create_agent_runner_fixture", "create_client_fixture"]

EXIT_S = 10.0
"""How long an agent has to end after it was asked to, in seconds, before it is killed."""


def create_agent_runner_fixture(
    agent_path: str | os.PathLike[str],
    agent_name: str,
    args: Sequence[str] | None = None,
    timeout: float = 60,
    kill_to_exit: bool = False,
) -> Callable[..., Any]:
    """Make a pytest fixture that runs an agent script for the time of a test.

    The script is started under coverage (where that is installed) in the current folder, with ``--site-file
    ./default.yaml`` and ``OCS_CONFIG_DIR`` set to that folder, and is sent SIGINT at the end. How it ended and all its
    output are printed after the test, where pytest shows them on a failure.

    Args:
        agent_path: the script, relative to the current folder.
        agent_name: short name, for messages.
        args: further command-line arguments.
        timeout: in seconds, after which a running agent is interrupted, so that a test that hangs on it fails; make it
            longer than the test.
        kill_to_exit: end the agent with SIGKILL at once, for those that ignore SIGINT.

    Returns:
        The fixture; its value is the process (`subprocess.Popen`).
    """

    @pytest.fixture
    def run_agent() -> Iterator["subprocess.Popen[bytes]"]:
        command = _agent_command(Path(agent_path), args or ())
        with tempfile.TemporaryFile() as output, _started(command, output) as agent, _interrupted_after(agent, timeout):
            yield agent
            how = _end(agent, kill_to_exit=kill_to_exit)
            _show(f"agent {agent_name} {how}", output)

    return run_agent


def _agent_command(agent_path: Path, args: Sequence[str]) -> list[str]:
    under = ["-m", "coverage", "run", "--parallel-mode"] if importlib.util.find_spec("coverage") else []
    return [sys.executable, "-u", *under, str(agent_path), "--site-file", "./default.yaml", *args]


@contextmanager
def _started(command: Sequence[str], output: IO[bytes]) -> Iterator["subprocess.Popen[bytes]"]:
    with tempfile.TemporaryDirectory(prefix="ocs-state-", ignore_cleanup_errors=True) as state:
        # What an agent writes down where the site file names no place is not for whoever runs the tests to keep.
        environment = {**os.environ, "OCS_CONFIG_DIR": str(Path.cwd()), "XDG_STATE_HOME": state}
        agent = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            yield agent
        finally:
            agent.kill()
            agent.wait()


@contextmanager
def _interrupted_after(agent: "subprocess.Popen[bytes]", timeout: float) -> Iterator[None]:
    """Interrupt the agent if the body is not done within ``timeout`` seconds."""
    timer = threading.Timer(timeout, agent.send_signal, [signal.SIGINT])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _end(agent: "subprocess.Popen[bytes]", *, kill_to_exit: bool) -> str:
    """End the agent and tell how it ended."""
    if agent.poll() is not None:
        return f"ended by itself during the test, with exit code {agent.returncode}"
    agent.send_signal(signal.SIGKILL if kill_to_exit else signal.SIGINT)
    try:
        agent.wait(EXIT_S)
    except subprocess.TimeoutExpired:
        agent.kill()
        agent.wait()
        return f"had to be killed: it did not end within {EXIT_S:g} s of SIGINT"
    return f"ended with exit code {agent.returncode}"


def _show(headline: str, output: IO[bytes]) -> None:
    output.seek(0)
    text = output.read().decode(errors="replace")
    sys.stdout.write(f"--- {headline}; its output: ---\n{text}\n")  # pytest shows it where the test failed


def create_client_fixture(instance_id: str, timeout: float = 30, privs: str | int | None = None) -> Callable[..., Any]:
    """Make a pytest fixture that gives a client of an agent, as soon as the agent answers.

    The site is that of ``default.yaml`` in the current folder, as for the agent.

    Args:
        instance_id: the agent.
        timeout: in seconds, after which the test fails because the agent does not answer.
        privs: password, or level of privilege, for the client.

    Returns:
        The fixture; its value is an `OCSClient`.
    """

    @pytest.fixture
    def client_fixture(monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setenv("OCS_CONFIG_DIR", str(Path.cwd()))
        return _patient_client(instance_id, privs, time.monotonic() + timeout)

    return client_fixture


def _patient_client(instance_id: str, privs: str | int | None, deadline: float, interval: float = 0.1) -> Any:
    from ocs.ocs_client import OCSClient  # noqa: PLC0415 - the module under test in some suites: not before coverage

    while True:
        try:
            return OCSClient(instance_id, privs=privs, args=[])
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
        time.sleep(interval)


def check_crossbar_connection(port: int = 18001, interval: float = 5, max_attempts: int = 6) -> None:
    """Wait until a router answers on this machine, by asking for its ``/info`` page.

    Args:
        port: of the router of the test site.
        interval: between attempts, in seconds.
        max_attempts: attempts before giving up.

    Raises:
        RouterError: none answered.
    """
    url = f"http://localhost:{port}/info"
    for attempt in range(max_attempts):
        if attempt:
            time.sleep(interval)
        if health.answers_http(url, timeout=max(interval, 1.0)) == 200:  # noqa: PLR2004 - the HTTP status of success
            return
    raise RouterError(
        f"no router answers at {url} after {max_attempts} attempts, {interval:g} s apart: start one first"
    )
