import re
from pathlib import Path

import pytest

from remanence import nn, tasks
from remanence.training.recipe import read_recipe
from remanence.training.run import train

ROOT = Path(__file__).parents[1]


TUTORIAL = sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs" / "tutorial").glob("*.md"))


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/instruments.md", "docs/memories.md", *TUTORIAL])
def test_the_python_of_a_page_runs(page, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    names = {}  # a later block goes on where an earlier one ended
    for block in blocks:
        exec(block, names)


def test_every_memory_is_in_the_table():
    text = (ROOT / "README.md").read_text()
    assert all(f"| `{name}` |" in text for name in nn.layers)


def test_every_task_is_in_the_table():
    text = (ROOT / "docs" / "tasks.md").read_text()
    assert all(f"| `{name}` |" in text for name in tasks.tasks)


PAGES = sorted(
    str(page.relative_to(ROOT))
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/results/*.md", "recipes/**/*.md")
    for page in ROOT.glob(pattern)
)


@pytest.mark.parametrize("page", PAGES)
def test_no_interval_reaches_below_0(page):
    numbers = r"(?<![\d.,-])([\d.,]*\d) ± ([\d.,]*\d)"
    for mean, spread in re.findall(numbers, (ROOT / page).read_text()):
        assert float(spread.replace(",", "")) <= float(mean.replace(",", "")), f"{mean} ± {spread}"


def test_the_table_of_the_demo_is_that_of_its_recipe():
    recipe = read_recipe(ROOT / "recipes" / "demo.yaml")
    text = (ROOT / "README.md").read_text().partition("```text\n")[2].partition("```")[0]
    for comparison, block in zip(recipe.comparisons, text.split("\n\n")[:2], strict=True):
        task, _, *rows = block.splitlines()
        assert task.split()[0] == comparison.task.name
        found = {row.split()[0]: row.split() for row in rows}
        layers = [str(layer) for layer in comparison.layers]
        assert {*found} == {*layers, "chance"}
        for layer in layers:
            assert found[layer][1] == str(comparison.hidden_sizes[0])
            assert found[layer][-1] == str(recipe.count_seeds(comparison))
            if comparison.training.steps_per_epoch:
                assert found[layer][6] == str(comparison.training.epochs * comparison.training.steps_per_epoch)


@pytest.mark.slow
def test_the_demo_lets_every_seed_of_fast_weights_solve_retrieval(tmp_path):
    """A seed that the README does not show, trained as the demo trains."""
    comparison = read_recipe(ROOT / "recipes" / "demo.yaml").comparisons[0]
    config = next(run for run in comparison.runs([7]) if run.layer.name == "fast_weights")
    result = train(config, tmp_path / "run")
    assert result.test_metric is not None
    assert result.test_metric < 0.05
