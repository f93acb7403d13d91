import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanence.report.labels import do_overlap, spread_out, wrap_label

boxes = st.lists(st.tuples(st.floats(-50, 150), st.floats(0.5, 12.0)), min_size=1, max_size=8)


@given(boxes)
def test_boxes_spread_out_touch_at_most_and_stay_inside(wanted):
    centres, heights = zip(*wanted, strict=True)
    places = np.array(spread_out(centres, heights, 0.0, 100.0))
    low, high = places - np.array(heights) / 2, places + np.array(heights) / 2
    assert low.min() > -1e-6
    assert high.max() < 100 + 1e-6
    order = np.argsort(low)
    assert (high[order][:-1] <= low[order][1:] + 1e-6).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_boxes_that_do_not_touch_stay_where_they_are(shifts):
    centres = [10.0 * (index + 1) + shift for index, shift in enumerate(shifts)]
    assert spread_out(centres, [2.0] * len(centres), 0.0, 100.0) == pytest.approx(centres)


@given(st.text(alphabet="ab _.", max_size=80), st.integers(3, 20))
def test_wrapped_text_fits_its_lines_and_loses_nothing_that_fits(text, letters):
    lines = wrap_label(text, letters).split("\n")
    assert len(lines) <= 3
    assert all(len(line) <= letters for line in lines)
    if not lines[-1].endswith("…"):
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    ("other", "over"),
    [
        ((1.0, 1.0, 3.0, 3.0), True),
        ((2.0, 0.0, 3.0, 2.0), False),
        ((0.5, 0.5, 1.0, 1.0), True),
        ((5.0, 5.0, 6.0, 6.0), False),
    ],
)
def test_overlap(other, over):
    assert do_overlap((0.0, 0.0, 2.0, 2.0), other) == over
