"""Reading YAML from users or from untrusted files, within bounds of size and depth."""

from pathlib import Path
from typing import Any

from remanence.errors import UserError
from remanence.extras import require_extra

with require_extra("train", "reading YAML"):
    import yaml

LARGEST = 1 << 20  # letters in a file
DEEPEST = 50  # levels in one another
MOST = 20_000  # values, each alias counted as all that it stands for


def parse_yaml(text: str, path: Path) -> Any:
    """Parse the text of a file.

    Raises:
        ValueError: it is no YAML, or larger than any that we write or need; the message has the line.
    """
    try:
        return load_yaml(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise UserError(f"{path}, line {line}: {error.problem}") from error
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise UserError(
            f"{path}, line {line}: the character {chr(error.character)!a} is not allowed in YAML"
        ) from error


def load_yaml(text: str) -> Any:
    """Parse a text.

    Raises:
        yaml.YAMLError: it is no YAML, or larger than any that we write or need.
    """
    if len(text) > LARGEST:
        mark = yaml.Mark("", LARGEST, text.count("\n", 0, LARGEST), 0, None, 0)
        raise yaml.MarkedYAMLError(problem=f"more than {LARGEST:,} letters", problem_mark=mark)
    depth = 0
    for number, event in enumerate(yaml.parse(text, yaml.SafeLoader)):  # does not recurse, unlike all that follows
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST or number > 2 * MOST:
            problem = f"more than {MOST:,} values or {DEEPEST} levels"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
    root = yaml.compose(text, yaml.SafeLoader)
    if root is not None:
        _measure(root, {})
    return yaml.safe_load(text)


def _measure(node: yaml.Node, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Measure values and levels in a node; an alias counts as all that it stands for."""
    if id(node) not in known:
        known[id(node)] = MOST + 1, 1  # while it is measured: an alias to what surrounds it has no end
        children: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            children = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        parts = [_measure(child, known) for child in children]
        known[id(node)] = 1 + sum(count for count, _ in parts), 1 + max((levels for _, levels in parts), default=0)
    count, levels = known[id(node)]
    if count > MOST or levels > DEEPEST:
        problem = f"more than {MOST:,} values or {DEEPEST} levels, or an alias to what surrounds it"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
    return count, levels
