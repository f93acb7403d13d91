import numpy as np

from remanence.tasks.pictures import draw_image


def test_shades_and_blocks():
    assert draw_image(np.array([[0, 255], [100, 0]])) == "  ##\n--"
    large = np.zeros((128, 128), int)
    large[3, 5] = 255
    lines = draw_image(large).split("\n")
    assert len(lines) == 64
    assert lines[1] == "    ##"
