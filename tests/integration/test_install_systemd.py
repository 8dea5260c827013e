"""ocs-install-systemd: what it has written, run as systemd runs it, tells systemd what that waits for."""

import contextlib
import os
import signal
import socket
import subprocess

import pytest

from ocs.cli.install_systemd import main
from tests.harness.managing import end_all, processes_of

pytestmark = pytest.mark.slow


@pytest.fixture
def site(site):
    site.add_instance("HostManager", "hm-1")
    site.add_instance("FakeDataAgent", "fake-1")
    yield site
    end_all(site.directory)


@pytest.fixture
def listener(tmp_path):
    """Stands in for systemd at its socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        listening.settimeout(40)
        yield listening


@pytest.fixture
def service(site, tmp_path, listener, monkeypatch):
    """The launcher script, running; with a watchdog of 2 s."""
    monkeypatch.setenv("OCS_STATE_DIR", str(site.state_dir))
    monkeypatch.setenv("OCS_CONFIG_DIR", str(site.directory))
    assert main([*site.args, "--output-dir", str(tmp_path / "out of the way")]) == 0
    launcher = tmp_path / "out of the way" / "launcher-hm-1.sh"
    environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
    with (tmp_path / "journal").open("wb") as journal:
        process = subprocess.Popen(
            ["/bin/sh", launcher], env=environment, cwd=site.directory, stdout=journal, stderr=journal
        )
    yield process
    if process.poll() is None:
        process.kill()
    process.wait()
    print((tmp_path / "journal").read_text())


def hear(listener, assignment):
    """Wait until somebody says it, and return who."""
    while True:
        data, ancillary, _, _ = listener.recvmsg(4096, socket.CMSG_SPACE(12))
        if assignment in data.decode().splitlines():
            return int.from_bytes(ancillary[0][2][:4], "little")


def test_the_launched_process_itself_is_ready_alive_and_ends_in_order(service, site, listener):
    assert hear(listener, "READY=1") == service.pid
    assert hear(listener, "WATCHDOG=1") == service.pid
    service.send_signal(signal.SIGTERM)
    assert service.wait(60) == 0
    assert processes_of("fake-1", site.directory) == []


def test_the_agents_of_one_that_is_killed_run_on(service, site, listener):
    hear(listener, "READY=1")
    with contextlib.suppress(TimeoutError):
        while not processes_of("fake-1", site.directory):
            listener.recv(4096)
    (agent,) = processes_of("fake-1", site.directory)
    service.kill()
    service.wait()
    assert processes_of("fake-1", site.directory) == [agent]
