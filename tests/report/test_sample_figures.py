import numpy as np
import torch

from remanence import tasks
from remanence.report.sample_figures import draw_sample, format_answer, lay_out, make_palette
from remanence.tasks import Batch


def names(axes):
    return {(text.get_position()): text.get_text() for text in axes.texts}


def test_tokens_and_targets_stand_below_each_other():
    task = tasks.create("copy", delay=2, length=2)
    assert task.vocabulary is not None
    batch = task.first(1)
    (axes,) = draw_sample(task, batch, 0).axes
    for line, values in enumerate((batch.inputs[0], batch.targets[0])):
        assert [names(axes)[step, line] for step in range(6)] == [task.vocabulary[token] for token in values]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["input", "target"]


def test_what_is_not_asked_for_stays_empty():
    task = tasks.create("mqar", pairs=2, length=40)
    assert task.vocabulary is not None
    batch = task.first(1)
    (axes,) = draw_sample(task, batch, 0).axes
    asked = {step: task.vocabulary[value] for step, value in enumerate(batch.targets[0].tolist()) if value != -100}
    shown = {column + 32 * (line // 3): text for (column, line), text in names(axes).items() if line % 3 == 1}
    assert shown == asked


def test_lines_are_wrapped_and_padded():
    grid = lay_out(torch.arange(5), None, 3)
    assert grid.tolist() == [[0, 1, 2], [3, 4, -100]]
    grid = lay_out(torch.arange(4), torch.tensor([9, -100, 7, 6]), 3)
    assert grid.tolist() == [[0, 1, 2], [9, -100, 7], [-100] * 3, [3, -100, -100], [6, -100, -100]]


def test_a_long_sequence_has_colours_alone_and_stays_a_picture():
    task = tasks.create("copy", delay=10_000)
    figure = draw_sample(task, task.first(1), 0)
    (axes,) = figure.axes
    assert names(axes) == {}
    assert figure.get_size_inches().max() < 12
    (image,) = axes.get_images()
    shown = image.get_array()
    assert shown is not None
    assert task.vocabulary is not None
    assert (shown[0, :10] == np.array(make_palette(task.vocabulary))[task.first(1).inputs[0, :10]]).all()


def test_symbols_have_colours_of_their_own():
    for count in (2, 20, 21, 100):
        colours = make_palette([str(symbol) for symbol in range(count)])
        assert len(set(colours)) == count
    zero, one = make_palette(["0", "1"])
    assert np.abs(np.subtract(zero, one)).max() > 0.2


def test_signals_are_lines_and_their_targets_too():
    task = tasks.create("flipflop", bits=2, length=7)
    batch = task.first(1)
    given, asked = draw_sample(task, batch, 0).axes
    for axes, values in ((given, batch.inputs[0]), (asked, batch.targets[0])):
        lines = [np.asarray(line.get_ydata()) for line in axes.lines]
        assert len(lines) == 2
        assert np.allclose(lines[0], values[:, 0])
        assert np.allclose(np.diff(lines[1]), np.diff(values[:, 1]))
        assert lines[1].mean() < lines[0].mean()


def test_irregular_steps_stand_at_their_times():
    class Timed(tasks.Recall):
        timed = True

    times = torch.tensor([[1.0, 0.5, 3.0]])
    figure = draw_sample(Timed(symbols=2), Batch(torch.rand(1, 3, 2), torch.tensor([1]), timespans=times), 0)
    assert np.asarray(figure.axes[0].lines[0].get_xdata()).tolist() == [1.0, 1.5, 4.5]


def test_images_are_images():
    task = tasks.create("digits")
    figure = draw_sample(task, task.first(1), 0)
    (image,) = figure.axes[0].get_images()
    assert torch.equal(torch.from_numpy(np.asarray(image.get_array())), task.first(1).inputs[0].view(8, 8))


def test_the_title_has_the_answer():
    assert format_answer(tasks.create("recall"), torch.tensor(3)) == ": class 3"
    assert format_answer(tasks.create("adding"), torch.tensor([1.25])) == ": 1.25"
    assert format_answer(tasks.create("parity"), torch.tensor([1, 0])) == ""
