"""Reading files for their MD5: which are read, and what is said of the others."""

import contextlib
import errno
import hashlib
import os
import socket
from contextlib import contextmanager
from pathlib import Path

import pytest

from ocs.agents.pysmurf_monitor import reading
from ocs.agents.pysmurf_monitor.hashing import Item
from ocs.agents.pysmurf_monitor.messages import REASONS, Announcement
from ocs.agents.pysmurf_monitor.reading import CHANGED, CHUNK, LARGE, NOT_THERE, SMALL, Reader, told, where_is
from ocs.agents.pysmurf_monitor.roots import Roots

NOBODY = 65534


@contextmanager
def no_privileges():
    """Be somebody who may not read everything, as root may."""
    own = os.geteuid()
    if own != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(own)


def open_below(folder):
    """Tell what is open there; elsewhere other parts of the process open things as they like."""
    held = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists them
            held.append(str(descriptor.readlink()))
    return [path for path in held if path.startswith(str(folder))]


def item_for(path):
    return Item(Announcement(str(path), "crate1slot2", "smurf", "x", False, 0.0))


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def read(data):
    """Read a file: `read(path)` -> item."""
    reader = Reader(Roots([str(data)], [str(data / "suprsync.db")]))

    def read_one(path, limit=None):
        item = item_for(path)
        reader.read(item, limit)
        reader.close()
        assert item.refused in REASONS | {""}
        assert bool(item.md5) + bool(item.trouble) + bool(item.refused) <= 1
        return item

    yield read_one
    assert open_below(data) == []


@pytest.mark.parametrize("size", [0, 1, 4096, SMALL, SMALL + 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_a_files_md5_and_size(data, read, size):
    contents = os.urandom(size)
    (data / "x").write_bytes(contents)
    item = read(data / "x")
    assert (item.md5, item.size) == (hashlib.md5(contents, usedforsecurity=False).hexdigest(), size)


def test_files_of_many_folders_are_not_mixed_up(data):
    reader = Reader(Roots([str(data)]))
    paths = [data / f"{number % 3}" / f"{number % 2}.txt" for number in range(6)]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_text(str(path))
    items = [item_for(path) for path in paths]
    assert all(reader.read(item) for item in items)
    reader.close()
    assert [item.md5 for item in items] == [hashlib.md5(str(path).encode()).hexdigest() for path in paths]


def test_what_was_found_before_is_forgotten(data):
    (data / "x").write_bytes(b"x")
    item, reader = item_for(data / "x"), Reader(Roots(None))
    item.trouble, item.refused = NOT_THERE, "not_a_file"
    reader.read(item)
    reader.close()
    assert (item.trouble, item.refused) == ("", "")


# What is not there


@pytest.mark.parametrize("name", ["x", "folder/x", "file/x"])
def test_what_is_not_there(data, read, name):
    (data / "file").write_bytes(b"")
    assert read(data / name).trouble == NOT_THERE


def test_a_link_to_nothing_is_not_there(data, read):
    (data / "x").symlink_to(data / "nothing")
    assert read(data / "x").trouble == NOT_THERE


def test_links_in_a_circle_cannot_be_read(data, read):
    (data / "x").symlink_to(data / "y")
    (data / "y").symlink_to(data / "x")
    assert read(data / "x").trouble.startswith("cannot be read: ")


@pytest.mark.parametrize("which", ["file", "folder"])
def test_what_may_not_be_read(data, read, which):
    (data / "folder").mkdir()
    path = data / "folder" / "x"
    path.write_bytes(b"x")
    closed = path if which == "file" else path.parent
    mode = closed.stat().st_mode
    closed.chmod(0)
    try:
        with no_privileges():
            assert read(path).trouble == "cannot be read: Permission denied"
    finally:
        closed.chmod(mode)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.ENOENT, (NOT_THERE, "")),
        (errno.ENOTDIR, (NOT_THERE, "")),
        (errno.EACCES, ("cannot be read: Permission denied", "")),
        (errno.EIO, ("cannot be read: Input/output error", "")),
        (errno.ESTALE, ("cannot be read: Stale file handle", "")),
        (errno.EMFILE, ("cannot be read: Too many open files", "")),
        (errno.ENXIO, ("", "not_a_file")),
        (errno.ENAMETOOLONG, ("", "bad_path")),
    ],
)
def test_what_the_system_says_is_passing_or_final(code, expected):
    assert told(OSError(code, os.strerror(code))) == expected


# What is no file


def make_fifo(path):
    os.mkfifo(path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def make_folder(path):
    path.mkdir()


def make_device(path):
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))
    except OSError as error:
        pytest.skip(f"devices cannot be made here: {error}")


@pytest.mark.parametrize("make", [make_fifo, make_socket, make_folder, make_device])
def test_only_files_are_read(data, read, make):
    make(data / "x")
    item = read(data / "x")
    # Some places allow a device to be made, and not to be opened.
    assert item.refused == "not_a_file" or (make is make_device and "cannot be read" in item.trouble)


@pytest.mark.parametrize("name", ["\0x", "\ud800x", "no-folder/\0x", "no-folder/\ud800x"])
def test_what_cannot_be_a_path(tmp_path, name):
    item, reader = item_for(f"{tmp_path}/{name}"), Reader(Roots(None))
    reader.read(item)
    reader.close()
    assert item.refused == "bad_path"


def test_a_name_that_is_too_long_is_never_there(data, read):
    assert read(data / ("x" * 256)).refused == "bad_path"


# Where a file is


def test_a_path_from_outside(read, tmp_path):
    (tmp_path / "x").write_bytes(b"x")
    assert read(tmp_path / "x").refused == "outside_roots"


def test_the_database_is_forbidden(data, read):
    (data / "suprsync.db").write_bytes(b"x")
    assert read(data / "suprsync.db").refused == "forbidden"


def test_a_link_to_a_file_outside(data, read, tmp_path):
    (tmp_path / "secret").write_bytes(b"x")
    (data / "x").symlink_to(tmp_path / "secret")
    assert read(data / "x").refused == "outside_roots"


def test_a_link_to_the_database(data, read):
    (data / "suprsync.db").write_bytes(b"x")
    (data / "x").symlink_to("suprsync.db")
    assert read(data / "x").refused == "outside_roots"


def test_a_folder_that_leads_outside(data, read, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/x").write_bytes(b"x")
    (data / "folder").symlink_to(tmp_path / "other")
    assert read(data / "folder/x").refused == "outside_roots"


def test_a_folder_outside_is_refused_even_if_the_file_is_not_there(data, read, tmp_path):
    (tmp_path / "other").mkdir()
    (data / "folder").symlink_to(tmp_path / "other")
    assert read(data / "folder/x").refused == "outside_roots"


def test_a_path_from_outside_that_leads_inside(data, read, tmp_path):
    (data / "x").write_bytes(b"x")
    (tmp_path / "alias").symlink_to(data)
    assert read(tmp_path / "alias/x").refused == "outside_roots"


@pytest.mark.parametrize("target", ["real", "folder/real"])
def test_a_link_within_is_followed(data, read, target):
    (data / "folder").mkdir()
    (data / target).write_bytes(b"x")
    (data / "x").symlink_to(target)
    assert read(data / "x").md5 == hashlib.md5(b"x", usedforsecurity=False).hexdigest()


def test_a_link_to_a_fifo_within_is_no_file(data, read):
    os.mkfifo(data / "fifo")
    (data / "x").symlink_to("fifo")
    assert read(data / "x").refused == "not_a_file"


def test_a_root_that_is_a_link(tmp_path):
    (tmp_path / "disk2").mkdir()
    (tmp_path / "disk2/x").write_bytes(b"x")
    (tmp_path / "link").symlink_to("disk2")
    item, reader = item_for(tmp_path / "link/x"), Reader(Roots([str(tmp_path / "link")]))
    reader.read(item)
    reader.close()
    assert item.md5


def test_an_open_folder_is_told_by_its_real_path(data, tmp_path):
    (tmp_path / "link").symlink_to(data)
    descriptor = os.open(tmp_path / "link", os.O_RDONLY)
    try:
        assert where_is(descriptor, str(tmp_path / "link")) == str(data)
    finally:
        os.close(descriptor)


def test_where_the_system_does_not_tell_the_path_is_resolved(data, tmp_path):
    (tmp_path / "link").symlink_to(data)
    assert where_is(1_000_000, str(tmp_path / "link")) == str(data)  # no descriptor has such a number


# Files that change


class Meddling:
    """A reader's `os`, which does something to the file before it has been read to the end."""

    def __init__(self, meddle):
        self._meddle = meddle
        self._left = 1

    def __getattr__(self, name):
        function = getattr(os, name)
        return self._meddled(function) if name in ("read", "readv") else function

    def _meddled(self, function):
        def call(*arguments):
            if self._left:
                self._left -= 1
                self._meddle()
            return function(*arguments)

        return call


def append(path):
    with path.open("ab") as file:
        file.write(b"more")


def cut(path):
    os.truncate(path, 10)


def rewrite(path):
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"other")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


@pytest.mark.parametrize("change", [append, cut, rewrite])
@pytest.mark.parametrize("size", [4096, 2 * CHUNK])
def test_a_file_that_changes_while_it_is_read(data, read, monkeypatch, change, size):
    path: Path = data / "x"
    path.write_bytes(bytes(size))
    monkeypatch.setattr(reading, "os", Meddling(lambda: change(path)))
    item = read(path)
    assert (item.trouble, item.md5) == (CHANGED, "")


def test_a_file_that_is_deleted_while_it_is_read_was_there(data, read, monkeypatch):
    path = data / "x"
    path.write_bytes(b"x")
    monkeypatch.setattr(reading, "os", Meddling(path.unlink))
    assert read(path).md5


# Large ones


def test_a_file_that_is_too_large_is_left_alone(data):
    (data / "x").write_bytes(b"")
    os.truncate(data / "x", LARGE + 1)
    item, reader = item_for(data / "x"), Reader(Roots([str(data)]))
    assert not reader.read(item, LARGE)
    assert (item.md5, item.trouble, item.refused, reader.bytes_read) == ("", "", "", 0)
    reader.close()


def test_reading_is_broken_off(data):
    (data / "x").write_bytes(bytes(2 * CHUNK))
    item, reader = item_for(data / "x"), Reader(Roots([str(data)]))
    reader.stopped = True
    assert not reader.read(item)
    assert (item.md5, item.trouble) == ("", "")
    reader.close()


def test_a_reader_counts_what_it_reads(data):
    (data / "small").write_bytes(b"abc")
    (data / "large").write_bytes(bytes(CHUNK + 1))
    reader = Reader(Roots([str(data)]))
    for name in ("small", "large"):
        reader.read(item_for(data / name))
    reader.close()
    assert reader.bytes_read == CHUNK + 4
