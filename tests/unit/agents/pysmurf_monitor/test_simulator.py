"""Files are written and announced at their times, and what nobody hears is counted."""

import io
import json
import socket
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from ocs.agents.pysmurf_monitor.simulation import Plan, steady, until
from ocs.agents.pysmurf_monitor.simulator import Publisher, Sender
from ocs.errors import SimulatorError
from tests.harness.pysmurf import HOST, free_udp_port

START = 1_790_000_000.0


class Time:
    """A clock that sleeping moves on."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class World:
    """A publisher whose datagrams are kept, with the time of each and whether its file was there."""

    def __init__(self, folder, *, slow=0.0, size=1000, **options):
        self.time, self.slow = Time(), slow
        self.plan = Plan(str(folder), START, rate=10.0, size=size, metadata_rate=0.0)
        self.sent = []
        self.publisher = Publisher(self.plan, self.send, clock=self.time, sleep=self.time.sleep, **options)

    def send(self, data):
        told = json.loads(data)
        path = told["payload"].get("path", "")
        self.sent.append((self.time.now - 100.0, told, Path(path).exists() or Path(f"{path}.npy").exists()))
        self.time.now += self.slow

    def publish(self, number=40):
        self.publisher.publish(until(steady(self.plan), files=number))
        return self.files()

    def files(self):
        return [(at, told, there) for at, told, there in self.sent if "path" in told["payload"]]


def files_below(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_each_is_announced_at_its_time(tmp_path):
    world = World(tmp_path)
    assert [at for at, _, _ in world.publish()] == pytest.approx([number / 10 for number in range(40)])


def test_a_publisher_that_is_behind_does_not_wait(tmp_path):
    world = World(tmp_path, slow=1.0)
    times = [at for at, _, _ in world.sent] if world.publish() else []
    assert times == pytest.approx([float(number) for number in range(len(times))])


def test_time_goes_by_faster(tmp_path):
    world = World(tmp_path, speed=4.0)
    assert [at for at, _, _ in world.publish()] == pytest.approx([number / 40 for number in range(40)])


def test_a_file_is_there_when_it_is_announced(tmp_path):
    assert all(there for _, _, there in World(tmp_path).publish())


def test_late_files_come_after_their_announcement_and_all_come(tmp_path):
    world = World(tmp_path, late=0.55)

    announced = world.publish()

    assert not any(there for _, _, there in announced)
    assert len(files_below(tmp_path)) == 40
    assert world.time.now - 100.0 == pytest.approx(3.9 + 0.55)


def test_late_files_are_not_waited_for_at_the_end_of_the_stream_alone(tmp_path):
    world, seen = World(tmp_path, late=0.25), []

    world.publisher.publish(until(steady(world.plan), files=40), lambda _: seen.append(len(files_below(tmp_path))))

    assert seen[-1] == 40 - 3  # of the last quarter of a second


def test_what_was_announced_is_written_though_it_is_broken_off(tmp_path):
    world = World(tmp_path, late=60.0)

    def interrupted():
        yield from islice(steady(world.plan), 10)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.publisher.publish(interrupted())
    assert len(files_below(tmp_path)) == len(world.files()) > 0


def test_nothing_is_written_if_only_announced(tmp_path):
    world = World(tmp_path, files=False)
    assert len(world.publish()) == 40
    assert files_below(tmp_path) == []


def test_the_tally_counts(tmp_path):
    world = World(tmp_path)
    world.publish()
    tally = world.publisher.tally
    assert (tally.files, tally.written, tally.datagrams) == (40, 40_000, len(world.sent))
    assert (tally.seconds, tally.rate) == (pytest.approx(3.9), pytest.approx(40 / 3.9))


@pytest.mark.parametrize("size", [0, 1, 128, 129, 1000, (3 << 20) + 5])
def test_files_have_the_size_that_is_asked_for(tmp_path, size):
    World(tmp_path, size=size).publish(20)
    assert {path.stat().st_size for path in files_below(tmp_path)} == {size}


def test_files_differ(tmp_path):
    World(tmp_path, size=100).publish()
    assert len({path.read_bytes() for path in files_below(tmp_path)}) == 40


def test_equal_plans_give_equal_files(tmp_path):
    contents = []
    for _ in range(2):
        World(tmp_path).publish()
        contents.append([path.read_bytes() for path in files_below(tmp_path)])
    assert contents[0] == contents[1]


def test_arrays_can_be_loaded(tmp_path):
    World(tmp_path).publish()
    arrays = [np.load(io.BytesIO(path.read_bytes())) for path in tmp_path.rglob("*.npy")]
    assert {array.shape for array in arrays} == {(1000 - 128,)}


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "smurf_data").write_text("a file")
    with pytest.raises(SimulatorError, match=r"smurf_data.* cannot be written: "):
        World(tmp_path).publish()


def test_datagrams_arrive_as_they_were_sent():
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as monitor:
        monitor.bind((HOST, 0))
        monitor.settimeout(5)
        sender = Sender(HOST, monitor.getsockname()[1])
        sender(b"one")
        sender(b"two")
        sender.close()
        assert [monitor.recv(100) for _ in range(2)] == [b"one", b"two"]
    assert sender.unheard == 0


def test_what_nobody_listens_to_is_counted():
    sender = Sender(HOST, free_udp_port())
    for _ in range(10):
        sender(b"hello")
    sender.close()
    assert 9 <= sender.unheard <= 10  # the system tells with the next


def test_one_who_begins_to_listen_gets_everything_from_then_on():
    port = free_udp_port()
    sender = Sender(HOST, port)
    sender(b"lost")
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as monitor:
        monitor.bind((HOST, port))
        monitor.settimeout(5)
        sender(b"one")
        sender(b"two")
        assert [monitor.recv(100) for _ in range(2)] == [b"one", b"two"]
    sender.close()
    assert sender.unheard == 1


def test_a_host_without_an_address_is_named():
    with pytest.raises(SimulatorError, match=r"nothing can be sent to nowhere\.invalid:8200: "):
        Sender("nowhere.invalid", 8200)


def test_a_datagram_that_is_too_long_is_told_in_one_line():
    sender = Sender(HOST, free_udp_port())
    with pytest.raises(SimulatorError, match=r"nothing can be sent to .*: Message too long"):
        sender(b"x" * 70_000)
    sender.close()
