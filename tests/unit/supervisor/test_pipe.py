"""The pipe that a child prints into, whoever reads it."""

import os
import subprocess
import sys

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.task import deferLater

from ocs.supervisor.output import ChildOutput
from ocs.supervisor.pipe import Pipe, pipe_name


@pytest.fixture(params=["fifo", "nameless", "no room for a name"])
def pipe(request, tmp_path):
    places = {"fifo": tmp_path / "pipes" / "child", "no room for a name": tmp_path / "file" / "child"}
    (tmp_path / "file").touch()
    pipe = Pipe(reactor, places.get(request.param), ChildOutput(reactor, None))
    pipe.open()
    yield pipe
    pipe.close()


@pytest.fixture
def writer(pipe):
    fd = pipe.writing_end()
    yield fd
    os.close(fd)


@pytest_twisted.ensureDeferred
async def test_what_is_printed_is_read(pipe, writer):
    os.write(writer, b"one\ntwo\n")
    await pipe.drained()
    assert pipe._output.tail.lines() == ["one", "two"]


@pytest_twisted.ensureDeferred
async def test_a_pipe_lives_longer_than_those_who_print_into_it(pipe):
    for line in (b"one\n", b"two\n"):
        fd = pipe.writing_end()
        os.write(fd, line)
        os.close(fd)
    await pipe.drained()
    assert pipe._output.tail.lines() == ["one", "two"]


def test_a_writer_without_a_reader_gets_no_error_and_room_for_a_megabyte(pipe, writer):
    pipe.close()
    os.set_blocking(writer, False)
    assert os.write(writer, bytes(2 << 20)) == 1 << 20


@pytest_twisted.ensureDeferred
async def test_a_writer_is_made_to_wait_while_the_disk_cannot_follow(pipe, writer, monkeypatch):
    output = pipe._output
    monkeypatch.setattr(output, "is_full", lambda: True)
    os.write(writer, b"one\n")
    await deferLater(reactor, 0)
    while not output.tail.count:
        await deferLater(reactor, 0.001)
    os.write(writer, b"two\n")
    await deferLater(reactor, 0.05)
    assert output.tail.lines() == ["one"]
    monkeypatch.undo()
    pipe.read()
    await pipe.drained()
    assert output.tail.lines() == ["one", "two"]


@pytest_twisted.ensureDeferred
async def test_draining_ends_though_somebody_goes_on_printing(pipe, writer):
    os.write(writer, b"x\n" * 1000)
    drained = pipe.drained()
    drained.addCallback(lambda _result: done.append(True))
    done = []
    while not done:
        os.write(writer, b"y\n")
        await deferLater(reactor, 0)
    assert pipe._output.tail.count >= 1000


@pytest_twisted.ensureDeferred
async def test_another_supervisor_goes_on_where_the_first_has_stopped(tmp_path):
    path = tmp_path / "pipes" / "child"
    first, second = (Pipe(reactor, path, ChildOutput(reactor, None)) for _ in range(2))
    first.open()
    fd = first.writing_end()
    first.close()
    os.write(fd, b"while nobody read\n")
    second.open()
    await second.drained()
    assert second._output.tail.lines() == ["while nobody read"]
    second.close(remove=True)
    assert not path.exists()
    os.close(fd)


def test_what_lies_where_a_pipe_should_be_is_replaced(tmp_path):
    path = tmp_path / "child"
    path.write_text("no pipe")
    pipe = Pipe(reactor, path, ChildOutput(reactor, None))
    pipe.open()
    assert path.is_fifo()
    pipe.close()


@given(st.lists(st.text(min_size=1), max_size=5))
def test_names_of_pipes_are_names_of_files_and_differ_as_the_children_do(names):
    made = [pipe_name(name) for name in names]
    assert not any("/" in name or "\0" in name or name.startswith(".") for name in made)
    assert len(set(made)) == len(set(names))


def test_a_plain_name_stays_as_it_is():
    assert pipe_name("fake-data_1.2") == "fake-data_1.2"


MANY = """
import fcntl, os
from ocs.supervisor.output import ChildOutput
from ocs.supervisor.pipe import Pipe, PipeRoom

class Reactor:
    def addReader(self, reader):
        pass

if os.geteuid() == 0:
    os.setuid(65534)
room, pipes = PipeRoom(), []
for _ in range(200):
    pipes.append(Pipe(Reactor(), None, ChildOutput(None, None), room))
    pipes[-1].open()
print({fcntl.fcntl(pipe.fileno(), fcntl.F_GETPIPE_SZ) for pipe in pipes})
"""


def test_what_one_user_may_have_in_pipes_is_shared_by_all_children():
    done = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, check=True, timeout=60)
    # One size; 64 MiB for two hundred, less what the user has in other pipes.
    assert done.stdout in ("{262144}\n", "{131072}\n")
