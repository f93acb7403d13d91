import numpy as np

from remanence.tasks.pictures import drawn


def test_shades_and_blocks():
    assert drawn(np.array([[0, 255], [100, 0]])) == "  ##\n--"
    large = np.zeros((128, 128), int)
    large[3, 5] = 255
    lines = drawn(large).split("\n")
    assert len(lines) == 64
    assert lines[1] == "    ##"
