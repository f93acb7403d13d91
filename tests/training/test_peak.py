"""The most memory of a run: a figure where the system gives one, and never a reason not to train."""

import pytest
import torch

from remanence.training import peak

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="the memory of the GPU is measured instead")


@pytest.mark.parametrize("place", ["a folder", "nowhere/at/all"])
def test_where_the_peak_cannot_be_forgotten_there_is_no_figure(monkeypatch, tmp_path, place):
    """A folder stands for a file that cannot be written: root writes everywhere."""
    (tmp_path / "a folder").mkdir()
    peak.forget_peak()
    monkeypatch.setattr(peak, "CLEAR", tmp_path / place)
    peak.forget_peak()
    assert peak.measure_peak_mib() is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("Name:\tpyth\udcffn\nVmHWM:\t  2048 kB\n", 2.0),
        ("Name:\tpython\nVmRSS:\t 1 kB\n", None),
        ("", None),
        (None, None),
    ],
)
def test_whatever_the_system_says(monkeypatch, tmp_path, status, expected):
    monkeypatch.setattr(peak, "CLEAR", tmp_path / "clear")
    monkeypatch.setattr(peak, "STATUS", tmp_path / "status")
    if status is not None:
        (tmp_path / "status").write_bytes(status.encode(errors="surrogateescape"))
    peak.forget_peak()
    assert peak.measure_peak_mib() == expected
