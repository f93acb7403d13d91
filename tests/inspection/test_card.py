import json
import math
import re
from dataclasses import replace

import pytest
import torch

from remanence.inspection import LINES, Subject, as_json, card, inspect, subjects_of_run, table, write
from remanence.nn import Elman, FastWeights


@pytest.fixture(scope="module")
def fastlane_card(fastlane_run):
    (subject,) = subjects_of_run(fastlane_run)
    (found,) = inspect([replace(subject, x=subject.x[:, :64])])
    return found


def test_a_leak_is_measured_as_theory_has_it(make_leak):
    subject = Subject.from_noise("leak", "a leak", make_leak(0.5))
    (found,) = inspect([replace(subject, x=subject.x[:, :48], length=16)])
    figures = {name: each.figures for name, each in found.findings.items()}
    assert figures["gradient"]["horizon"] == 7  # 0.5⁷ < 1% < 0.5⁶
    assert math.isclose(figures["lyapunov"]["largest"], math.log(0.5), rel_tol=1e-6)
    assert math.isclose(figures["correction"]["gain"], 1, rel_tol=1e-6)
    assert figures["fixed_points"]["kinds"] == ["globally asymptotically stable"]
    assert figures["control"]["rank"] == figures["observability"]["rank"] == 3
    assert figures["memory"]["half_life"] < 4
    assert figures["memory"]["first"] > 0.6
    assert "holding" not in figures


@pytest.mark.parametrize(
    ("decay", "word", "why"), [(1.3, "explodes after 18", "grows without bound"), (1.0, "> 48 steps", "as far apart")]
)
def test_what_does_not_fade_is_said(make_leak, decay, word, why):
    subject = Subject.from_noise("leak", "a leak", make_leak(decay))
    subject = replace(subject, x=subject.x[:, :48])
    lines = {line.name: line for line in LINES}
    assert lines["gradient"].measure(subject).short == word  # 1.3¹⁸ > 100 > 1.3¹⁷
    assert why in lines["lyapunov"].measure(subject).sentence


class FlipFlop(Elman):
    """h' = tanh(2 h + x): holds a bit at 0.96 or -0.96, one for each channel."""

    def __init__(self, channels):
        super().__init__(channels, channels)
        with torch.no_grad():
            self.weight_hh.copy_(2 * torch.eye(channels))
            self.weight_ih.copy_(torch.eye(channels))
            self.bias.zero_()


def measure_correction(module, x):
    lines = {line.name: line for line in LINES}
    return lines["correction"].measure(Subject.from_inputs("it", "a net", module.double(), x))


def test_errors_are_corrected_by_flip_flops_and_fade_with_the_contents_of_a_leak(make_leak):
    x = torch.zeros(4, 256, 2).double()
    x[:, 0] = torch.tensor([[5.0, 5], [5, -5], [-5, 5], [-5, -5]])
    held = measure_correction(FlipFlop(2), x)
    count = held.figures["perturbations"]
    assert count == 4 * 4 * 12  # times, sequences, differences and their opposites
    assert held.figures["corrected"] == count
    assert held.short == f"{count} of {count} corrected"
    assert f"were corrected within {held.figures['steps']} steps. 0% of the errors is left, and 100%" in held.sentence
    assert math.isclose(held.figures["retained"], 1, rel_tol=1e-6)
    assert held.figures["remaining"] < 1e-9
    leak = measure_correction(make_leak(0.9, 2), x)
    assert leak.figures["corrected"] == count  # 0.9³² < 0.1
    assert leak.short == f"{count} of {count}, by forgetting"
    assert "forgotten or overwritten at the same pace" in leak.sentence
    assert math.isclose(leak.figures["gain"], 1, rel_tol=1e-6)
    assert math.isclose(leak.figures["retained"], 0.9**32, rel_tol=1e-6)
    kept = measure_correction(make_leak(1.0, 2), x)
    assert (kept.figures["corrected"], kept.figures["recovery_time"]) == (0, None)
    assert "a linear memory corrects none either" in kept.sentence


def test_one_row_is_cut_into_sequences(make_leak):
    x = torch.randn(1, 256, 2, generator=torch.Generator().manual_seed(0)).double()
    alone = measure_correction(make_leak(0.9, 2), x)
    rows = torch.cat([x.view(4, 64, 2), torch.zeros(4, 192, 2).double()], 1)
    assert alone.figures == measure_correction(make_leak(0.9, 2), rows).figures


def test_errors_need_different_sequences(make_leak):
    with pytest.raises(ValueError, match="at least two sequences that lead to different states"):
        measure_correction(make_leak(0.9, 2), torch.ones(4, 256, 2).double())


@pytest.mark.slow
def test_a_run_end_to_end(fastlane_card, tmp_path):
    found = fastlane_card
    assert "trained on retrieval with seed 0 (finished)" in found.subject.about
    assert set(found.findings) == {line.name for line in LINES}
    assert not [name for name, each in found.findings.items() if "missing" in each.figures]
    assert found.findings["holding"].figures["neurons"] == 6
    page = write([found], tmp_path, "remanence inspect lane").read_text()
    assert page.count("<picture>") == len([each for each in found.findings.values() if each.draw])
    assert all(alt for alt in re.findall(r'<img [^>]*alt="([^"]*)"', page))
    assert not re.search(r'(src|href)(set)?="(?!data:)', page)
    assert "<script" not in page


def test_several_are_side_by_side(fastlane_card, make_leak, monkeypatch, tmp_path):
    monkeypatch.setattr(card, "LINES", LINES[:2])
    subject = Subject.from_noise("leak", "a leak", make_leak(0.5))
    missing = card.Finding.missing("not now")
    other = card.Card(subject, {line.name: missing for line in LINES})
    both = [fastlane_card, other]
    assert [str(column.header) for column in table(both).columns] == ["", "lane", "leak"]
    rows = as_json(both)
    assert json.loads(json.dumps(rows)) == rows
    assert [row["state_size"] for row in rows] == [6, 3]
    page = write(both, tmp_path, "remanence inspect a b").read_text()
    assert "leak: Not measured: not now." in page


def test_an_instrument_that_fails_leaves_the_others_alone(make_leak, monkeypatch):
    def broken(subject):
        raise RuntimeError("out of ideas\nand of lines")

    monkeypatch.setattr(card, "LINES", (replace(LINES[0], measure=broken), LINES[2]))
    subject = Subject.from_noise("leak", "a leak", make_leak(0.5))
    told = []
    (found,) = inspect([subject], lambda subject, line, done: told.append((line.name, done)))
    assert found.findings["gradient"].sentence == "Not measured: out of ideas."
    assert found.findings["lyapunov"].figures["largest"] < 0
    assert told == [("gradient", False), ("gradient", True), ("lyapunov", False), ("lyapunov", True)]


@pytest.mark.parametrize(("decay", "message"), [(1e9, "not finite from step 36 on"), (0.0, "Inputs move nothing")])
def test_states_that_leave_all_bounds_or_never_move(make_leak, decay, message, tmp_path):
    leak = make_leak(decay)
    if decay == 0:
        leak.register_forward_pre_hook(lambda module, given: (0 * given[0], *given[1:]))
    subject = Subject.from_noise("leak", "a leak", leak)
    cards = inspect([replace(subject, x=subject.x[:, :48])])
    assert message in " ".join(each.sentence for each in cards[0].findings.values())
    assert "Fixed points" in write(cards, tmp_path, "remanence inspect").read_text()


def test_a_state_too_large_for_jacobians():
    lines = {line.name: line for line in LINES}
    subject = Subject.from_noise("fast", "fast weights", FastWeights(3, 40))
    subject = replace(subject, x=subject.x[:, :30])
    assert lines["gradient"].measure(subject).figures["steps"] == 30
    with pytest.raises(ValueError, match=r"the state has 1,640 numbers"):
        lines["lyapunov"].measure(subject)


def test_short_sequences_are_laid_end_to_end():
    x = torch.arange(60.0).double().view(20, 3, 1)
    subject = Subject.from_inputs("elman", "a net", Elman(1, 2).double(), x)
    assert subject.x.flatten().tolist() == list(range(60))
    assert subject.length == 3
    long = Subject.from_inputs("elman", "a net", Elman(1, 2).double(), torch.zeros(3, 1000, 1).double())
    assert long.x.shape == (3, 256, 1)
    assert "the first 256 steps" in long.about
