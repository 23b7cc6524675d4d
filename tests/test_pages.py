"""Memory that is given back piece by piece as it is handed over to be shared."""

import gzip
import io
import mmap

import numpy as np
import pytest

from psgd.data.idx import read_idx
from psgd.data.pages import Pages, read_whole
from psgd.errors import DataError
from psgd.group.sharing import Packed, pack, place, room_for, unpack

PAGE = mmap.PAGESIZE


@pytest.mark.parametrize("length", [1, 5000, 3 << 20])
@pytest.mark.parametrize("wrong", [-1, 0, 1])
def test_all_of_a_file_is_read_whatever_was_expected(length, wrong):
    content = np.random.default_rng(0).bytes(length)
    read = read_whole(io.BytesIO(content), length + wrong)
    assert bytes(read) == content
    assert isinstance(read, Pages) == (wrong == 0)


def test_a_gzipped_file_of_two_pieces(tmp_path):
    """Whose end tells of the second one only."""
    content = b"\0\0\x08\x01\0\0\x27\x10" + bytes(range(250)) * 40
    (tmp_path / "x").write_bytes(gzip.compress(content[:9000]) + gzip.compress(content[9000:]))
    assert read_idx(tmp_path / "x").tobytes() == content[8:]


@pytest.mark.parametrize("length", [2, 3, 17])
def test_a_gzipped_file_that_is_hardly_begun(tmp_path, length):
    (tmp_path / "x").write_bytes(gzip.compress(bytes(100))[:length])
    with pytest.raises(DataError, match="truncated or corrupt"):
        read_idx(tmp_path / "x")


def packed(thing: object) -> Packed:
    found = pack(thing)
    assert found
    return found


def shared(packed: Packed) -> object:
    memory = memoryview(bytearray(room_for(packed.sizes)))
    sizes = packed.sizes
    place(packed.arrays, memory)
    return unpack(packed.pickled, sizes, memory)


@pytest.mark.parametrize("begin", [0, 16, PAGE + 8])
@pytest.mark.parametrize("size", [1, 3 * PAGE, (2 << 20) + 24])
def test_what_lies_alone_is_given_back(begin, size):
    """The whole pages of it; nothing before or behind it."""
    draw = np.random.default_rng(0)
    pages = Pages(begin + size + 8)
    pages[:] = b"\1" * len(pages)
    array = np.frombuffer(pages, np.uint8, size, begin)
    array[:] = draw.integers(1, 256, size)
    expected = array.copy()
    assert np.array_equal(shared(packed(array)), expected)
    left = np.frombuffer(pages, np.uint8)
    assert left[:begin].all()
    assert left[begin + size :].all()
    assert np.count_nonzero(left) < 3 * PAGE + begin + 8


def test_what_others_lie_in_too_is_kept():
    """As a dataset's parts may be views of one array; and arrays of their own, which are copied."""
    pages = Pages(8 * PAGE)
    whole = np.frombuffer(pages, np.uint8)
    whole[:] = np.arange(8 * PAGE) % 251
    expected = whole.copy()
    first, second, own = shared(packed([whole[: 6 * PAGE], whole[2 * PAGE :], np.arange(5)]))
    assert np.array_equal(first, expected[: 6 * PAGE])
    assert np.array_equal(second, expected[2 * PAGE :])
    assert np.array_equal(own, np.arange(5))
    assert np.array_equal(whole, expected)


def test_mapped_files_are_not_packed(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(10))
    assert pack(np.asarray(np.load(tmp_path / "x.npy", mmap_mode="r"))) is None
