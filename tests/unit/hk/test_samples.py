"""Reading a whole file by spt3g alone."""

import pytest

from ocs.hk import DamagedFileError, quiet_library, read_file
from tests.harness.g3_files import ADDRESS, G3File


@pytest.fixture
def file(tmp_path):
    return G3File(tmp_path / "1.g3").block([1.0, 2.0], x=[1.5, 2.5])


def test_every_block_is_there(file):
    (one,) = read_file(file.path)

    assert (one.address, one.block, one.ticks.tolist()) == (ADDRESS, "t", [100_000_000, 200_000_000])
    assert list(one.columns["x"]) == [1.5, 2.5]


def test_a_flipped_bit_is_noticed(file):
    content = bytearray(file.path.read_bytes())
    content[-40] ^= 1
    file.path.write_bytes(content)

    with quiet_library(), pytest.raises(DamagedFileError):
        list(read_file(file.path))
