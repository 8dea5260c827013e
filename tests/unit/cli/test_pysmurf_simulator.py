"""The simulator as a program: what it publishes, what it says of that, and how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing

import pytest

from ocs.cli import pysmurf_simulator
from tests.harness.pysmurf import HOST, free_udp_port
from tests.harness.waiting import wait_for


class Monitor:
    """A port that takes datagrams."""

    def __init__(self):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._socket.bind((HOST, 0))
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]
        self.close = self._socket.close

    def heard(self):
        found = []
        while True:
            try:
                found.append(json.loads(self._socket.recv(65536)))
            except BlockingIOError:
                return found


@pytest.fixture
def monitor():
    with closing(Monitor()) as port:
        yield port


@pytest.fixture
def simulate(monitor, tmp_path):
    """Run the program against the monitor: returns its exit code and what the monitor heard."""

    def run(*arguments):
        code = pysmurf_simulator.main(["--port", str(monitor.port), "--data-dir", str(tmp_path), *arguments])
        return code, monitor.heard()

    return run


def paths_of(heard):
    return [told["payload"]["path"] for told in heard if "file" in told["type"]]


def files_below(folder):
    return {str(path) for path in folder.rglob("*") if path.is_file()}


def refusal(capsys, *arguments):
    """Return what the program says to a command line with a mistake."""
    with pytest.raises(SystemExit) as ended:
        pysmurf_simulator.main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err.partition(": ")[2].partition(" (see ")[0]


def test_files_are_there_and_announced(simulate, tmp_path):
    code, heard = simulate("--count", "30", "--rate", "1000")

    assert code == 0
    announced = paths_of(heard)
    assert len(announced) == 30
    assert {path.removesuffix(".npy") for path in announced} == {
        path.removesuffix(".npy") for path in files_below(tmp_path)
    }


def test_the_summary_says_how_many_how_much_how_fast(simulate, tmp_path, capsys):
    simulate("--count", "30", "--rate", "1000", "--size", "2k", "--stream-id", "a", "--stream-id", "b")

    first, second = capsys.readouterr().out.splitlines()

    assert first.startswith("announced 30 files of 2 streams to 127.0.0.1:")
    assert "files/s), " in first
    assert second == f"wrote 61,440 bytes below {tmp_path}"


def test_the_summary_for_machines(simulate, capsys):
    _, heard = simulate("--count", "30", "--rate", "1000", "--json", "--start", "1790000000", "--seed", "3")

    told = json.loads(capsys.readouterr().out)

    assert (told["files"], told["written"], told["datagrams"]) == (30, 30_000, len(heard))
    assert (told["start"], told["seed"], told["unheard"]) == (1_790_000_000, 3, 0)
    assert told["rate"] == pytest.approx(30 / told["seconds"])


def test_it_ends_after_a_time(simulate):
    _, heard = simulate("--duration", "0.2", "--rate", "100")
    assert len(paths_of(heard)) == 20


def test_nothing_is_written_if_only_announced(simulate, tmp_path):
    _, heard = simulate("--count", "5", "--rate", "1000", "--no-files")
    assert len(paths_of(heard)) == 5
    assert files_below(tmp_path) == set()


def test_late_files_come_too(simulate, tmp_path):
    simulate("--count", "5", "--rate", "1000", "--late", "0.1")
    assert len(files_below(tmp_path)) == 5


def test_equal_seeds_and_starts_give_equal_datagrams(simulate):
    same = ("--count", "30", "--rate", "1000", "--start", "1790000000", "--seed", "5")
    assert simulate(*same) == simulate(*same)


def test_a_day_of_six_streams(simulate, capsys):
    code, _ = simulate("--day", "--speed", "100000", "--no-files", "--metadata-rate", "0", "--json")
    told = json.loads(capsys.readouterr().out)
    assert code == 0
    assert told["streams"] == [f"crate1slot{slot}" for slot in range(2, 8)]
    assert told["files"] == 6 * (1278 + 120)


def test_a_part_of_a_day(simulate):
    _, heard = simulate("--day", "--speed", "100000", "--stream-id", "lone", "--count", "200", "--metadata-rate", "0")
    assert len(paths_of(heard)) == 200
    assert {told["id"].removeprefix("STREAMER:") for told in heard} == {"lone"}


def test_where_nobody_listens_that_is_said(tmp_path, capsys):
    port = free_udp_port()

    code = pysmurf_simulator.main(["--port", str(port), "--data-dir", str(tmp_path), "--count", "9", "--rate", "1000"])

    assert code == 1
    assert f"nobody listened on 127.0.0.1:{port} to " in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")

    assert pysmurf_simulator.main(["--data-dir", str(tmp_path / "file"), "--count", "1"]) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be written: Not a directory" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--count", "0"), "argument --count: '0' is no number above 0"),
        (("--rate", "0"), "argument --rate: '0' is not above 0"),
        (("--rate", "nan"), "argument --rate: 'nan' is no number from 0 on"),
        (("--port", "65536"), "argument --port: '65536' is no port from 1 to 65535"),
        (("--size", "3 MB"), "argument --size: '3 MB' is no size such as 500, 64k or 100M"),
        (("--late", "-1"), "argument --late: '-1' is no number from 0 on"),
        (("--stream-id", "../x"), "argument --stream-id: '../x' has more than letters, digits and ._:+- in it"),
        (("--speed", "2"), "--speed goes with --day; without, --rate says how fast it is"),
        (("--day", "--rate", "2"), "--rate does not go with --day, which has its own times; --speed makes it faster"),
    ],
)
def test_mistakes_are_told_in_one_line(capsys, arguments, said):
    assert refusal(capsys, *arguments).startswith(said)


@pytest.mark.parametrize(("ends", "code"), [((), 0), (("--duration", "60"), 130)])
def test_ctrl_c_ends_it_with_a_summary(monitor, tmp_path, ends, code):
    command = [sys.executable, "-m", "ocs.cli.pysmurf_simulator", "--port", str(monitor.port), "--json", *ends]
    with subprocess.Popen(
        [*command, "--data-dir", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        heard = wait_for(monitor.heard)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)

    assert process.returncode == code
    assert err == b""
    assert json.loads(out)["datagrams"] >= len(heard)


def test_a_bar_on_a_terminal(monitor, tmp_path):
    leader, follower = os.openpty()
    command = [sys.executable, "-m", "ocs.cli.pysmurf_simulator", "--port", str(monitor.port), "--duration", "1"]
    subprocess.run(
        [*command, "--data-dir", str(tmp_path)],
        stdout=subprocess.DEVNULL, stderr=follower, timeout=30, check=True, env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(follower)
    shown = os.read(leader, 1 << 16)
    os.close(leader)
    assert b"files" in shown
