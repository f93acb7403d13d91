import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from remanence.data.npy import read_npy


def saved(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@given(arrays.arrays(st.sampled_from([np.float32, np.int64, np.dtype("<U5"), np.dtype(">f8")]), arrays.array_shapes()))
def test_what_numpy_saves(array):
    for each in (array, np.asfortranarray(array)):
        np.testing.assert_array_equal(read_npy("file", saved(each)), each)


def claiming(shape, descr="<f4", data=b"1234"):
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    "content",
    [
        claiming((1 << 40,)),
        claiming((1 << 62, 1 << 62)),
        claiming((-1,)),
        claiming((0, -4)),
        claiming((2,)),
        claiming((1 << 40,), "V0", b""),
        claiming((1,), "O", b"12345678"),
        claiming(tuple([1] * 100)),
        saved(np.zeros(3))[:-1],
        saved(np.array([{}], object), allow_pickle=True),
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x09\x00",
        b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535,
    ],
)
def test_others_are_refused_before_anything_is_made(content, within):
    with within(1 << 24), pytest.raises(ValueError, match=r"^file ") as error:
        read_npy("file", content)
    assert "\n" not in str(error.value)
