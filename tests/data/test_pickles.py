import os
import pickle

import numpy as np
import pytest

from remanence.data.pickles import read_plain

ARRAY = np.arange(24, dtype=np.uint8).reshape(4, 6)


@pytest.mark.parametrize("protocol", range(2, 5))
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_bytes_and_plain_values(protocol, order):
    data = {"data": np.asarray(ARRAY, order=order), b"labels": [3, 1], "name": b"batch"}
    found = read_plain("file", pickle.dumps(data, protocol))
    np.testing.assert_array_equal(found["data"], ARRAY)
    assert found["labels"] == [3, 1]
    assert found["name"] == b"batch"


def test_what_python_2_wrote():
    """Of ``{'data': array([[1, 2]], dtype=uint8), 'labels': [7]}``, protocol 2, byte strings throughout."""
    content = (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b"
        b"\x87Rq\x05(K\x01K\x01K\x02\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x02\x01\x02tbU\x06labels]q\x08K\x07au."
    )
    found = read_plain("file", content)
    np.testing.assert_array_equal(found["data"], np.array([[1, 2]], np.uint8))
    assert found["labels"] == [7]


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/remanence-evil",)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_nothing_of_the_pickle_is_run(protocol):
    with pytest.raises(ValueError, match=r"file cannot be read: it asks for (posix|nt)\.system"):
        read_plain("file", pickle.dumps({"data": Evil()}, protocol))


@pytest.mark.parametrize("array", [np.array([Evil()], object), np.arange(3.0), np.array(["text"])])
def test_other_arrays_are_refused(array):
    with pytest.raises(ValueError, match="file cannot be read"):
        read_plain("file", pickle.dumps({"data": array}, 2))


def test_damaged_pickles_are_named():
    content = pickle.dumps({"data": ARRAY}, 2)
    for wrong in (content[:-5], content[:40], b"", b"no pickle", pickle.dumps([1], 2)):
        with pytest.raises(ValueError, match="file cannot be read"):
            read_plain("file", wrong)
    with pytest.raises(ValueError, match="not of the size that it claims"):
        read_plain("file", content.replace(b"K\x04K\x06\x86", b"K\x04K\x07\x86"))


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02]r\xff\xff\xff\x3f.",  # the place of an object: 2**30 - 1
        b"\x80\x05\x96" + (1 << 33).to_bytes(8, "little") + b".",  # bytes that can be changed: 8 GiB
        b"\x80\x04\x8e" + (1 << 33).to_bytes(8, "little") + b".",  # bytes
        b"\x80\x04\x8d" + (1 << 33).to_bytes(8, "little") + b".",  # text
        b"\x80\x04\x95" + (1 << 33).to_bytes(8, "little") + b".",  # a frame
        b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    ],
)
def test_no_more_is_made_than_the_file_holds(content, within):
    with within(1 << 25), pytest.raises(ValueError, match="file cannot be read"):
        read_plain("file", content)
