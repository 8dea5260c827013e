"""Files that were cut or changed: what is read was written, and what is missing is what was damaged."""

import pytest

from ocs.journal import Journal, read_journal

COUNT = 12


@pytest.fixture
def folder(tmp_path):
    """A journal of three segments with four entries each."""
    with Journal(tmp_path / "journal", segment_bytes=130) as journal:
        for index in range(COUNT):
            journal.append(index, 1, b"%012d" % index)
        journal.sync()
        assert journal.segments == 3
    return tmp_path / "journal"


def files(folder):
    return sorted(folder.glob("*.journal"))


def read(entries):
    found = list(entries)
    assert all(entry.body == b"%012d" % entry.index for entry in found)
    return [entry.index for entry in found]


def test_a_last_segment_cut_anywhere_is_read_as_far_as_it_goes_and_goes_on(folder):
    last = files(folder)[-1]
    content = last.read_bytes()
    for size in range(8, len(content)):
        last.write_bytes(content[:size])
        whole = 8 + (size - 8) // 29
        assert read(read_journal(folder)) == list(range(whole))
        with Journal(folder) as journal:
            assert read(journal.read()) == list(range(whole))
            assert journal.repaired == (size - 8) % 29
            assert journal.damaged == []
            journal.append(whole, 1, b"%012d" % whole)
        with Journal(folder) as journal:
            assert read(journal.read()) == list(range(whole + 1))
            assert journal.repaired == 0
        last.write_bytes(content)


@pytest.mark.parametrize("zeros", [1, 16, 17, 5000, 1_000_000])
def test_zeros_at_the_end_are_cut_off(folder, zeros):
    with files(folder)[-1].open("ab") as file:
        file.write(bytes(zeros))
    with Journal(folder) as journal:
        assert journal.repaired == zeros
        assert read(journal.read()) == list(range(COUNT))


def test_any_wrong_byte_in_the_last_segment_costs_what_comes_from_there_on(folder):
    last = files(folder)[-1]
    content = last.read_bytes()
    for at in range(8, len(content)):
        last.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        with Journal(folder) as journal:
            assert read(journal.read()) == list(range(8 + (at - 8) // 29))
            assert journal.repaired > 0
        last.write_bytes(content)


@pytest.mark.parametrize("which", [0, 1])
def test_any_wrong_byte_elsewhere_costs_the_rest_of_its_segment_and_is_noted(folder, which):
    file = files(folder)[which]
    content = file.read_bytes()
    for at in range(8, len(content)):
        file.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        whole = 4 * which + (at - 8) // 29
        expected = [*range(whole), *range(4 * which + 4, COUNT)]
        assert read(read_journal(folder)) == expected
        with Journal(folder) as journal:
            assert read(journal.read()) == expected
            assert len(journal.damaged) == 1
            assert journal.repaired == 0
            assert list(map(read, [journal.read(), journal.read(11)])) == [expected, [11]]
        file.write_bytes(content)


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("at", range(8))
def test_a_wrong_byte_in_a_header_costs_nothing(folder, which, at):
    file = files(folder)[which]
    content = file.read_bytes()
    file.write_bytes(content[:at] + b"?" + content[at + 1 :])
    with Journal(folder) as journal:
        assert read(journal.read()) == list(range(COUNT))
        journal.append(COUNT, 1, b"%012d" % COUNT)
        journal.sync()
        assert read(journal.read()) == list(range(COUNT + 1))


def test_a_segment_of_another_version_is_left_as_it_is(folder):
    last = files(folder)[-1]
    last.write_bytes(b"OCSJRNL\x02" + bytes(range(256)))
    content = last.read_bytes()
    with Journal(folder) as journal:
        assert journal.last_index == 7
        assert journal.repaired == 0
        journal.append(20, 1, b"%012d" % 20)
        journal.sync()
        assert read(journal.read()) == [*range(8), 20]
        assert "another version" in journal.damaged[0]
    assert last.read_bytes() == content


def test_a_segment_cut_to_nothing_does_not_stop_the_others(folder):
    for which in range(3):
        content = files(folder)[which].read_bytes()
        files(folder)[which].write_bytes(b"")
        with Journal(folder) as journal:
            expected = [index for index in range(COUNT) if index // 4 != which]
            assert read(journal.read()) == expected
        files(folder)[which].write_bytes(content)


def test_a_missing_segment_does_not_stop_the_others(folder):
    files(folder)[1].unlink()
    with Journal(folder) as journal:
        assert read(journal.read()) == [0, 1, 2, 3, 8, 9, 10, 11]


def test_a_segment_that_was_not_complete_is_none(folder):
    (folder / f"{COUNT:020d}.new").write_bytes(b"OCSJRNL\x01")
    with Journal(folder) as journal:
        assert read(journal.read()) == list(range(COUNT))
        assert not list(folder.glob("*.new"))


def test_a_sector_that_cannot_be_read_costs_the_rest_of_its_segment(folder, monkeypatch):
    import os

    real = os.pread
    with Journal(folder) as journal:
        begin = files(folder)[1].stat().st_ino

        def pread(fd, size, at):
            if os.fstat(fd).st_ino == begin:
                raise OSError(5, "Input/output error")
            return real(fd, size, at)

        monkeypatch.setattr(os, "pread", pread)
        assert read(journal.read()) == [0, 1, 2, 3, 8, 9, 10, 11]
        assert journal.damaged == [f"{files(folder)[1]}: cannot be read at byte 8: Input/output error"]


def test_a_last_segment_that_cannot_be_read_is_left_and_another_begun(folder, monkeypatch):
    import os

    last = files(folder)[-1]
    content = last.read_bytes()
    real = os.pread

    def pread(fd, size, at):
        if os.fstat(fd).st_ino == last.stat().st_ino:
            raise OSError(5, "Input/output error")
        return real(fd, size, at)

    monkeypatch.setattr(os, "pread", pread)
    with Journal(folder) as journal:
        journal.append(30, 1, b"%012d" % 30)
        journal.sync()
        assert read(journal.read()) == [*range(8), 30]
    assert last.read_bytes() == content
