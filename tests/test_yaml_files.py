from pathlib import Path

import pytest
import yaml

from remanence.yaml_files import load_yaml, parse_yaml

LAUGHS = "\n".join(["a0: &a0 [ha, ha]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12))])
MERGES = "\n".join(
    ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 12))]
)
CHAIN = "\n".join(["a0: &a0 [1]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 3000))])
HOSTILE = {
    "billion laughs": LAUGHS,
    "merged laughs": MERGES,
    "chain of aliases": CHAIN,
    "lists": "[" * 100_000,
    "closed lists": "[" * 5000 + "]" * 5000,
    "mappings": "{a: " * 5000,
    "blocks": "\n".join(" " * n + "a:" for n in range(1000)),
    "keys": "? " * 5000,
    "itself": "a: &a [*a]",
    "around itself": "a: &a {b: {c: *a}}",
    "large": "a: " + "x" * (1 << 21),
    "long": "[" + "1, " * 200_000 + "]",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_would_have_no_end_is_one_line(text):
    with pytest.raises(ValueError, match=r"^recipe\.yaml, line \d+: ") as error:
        parse_yaml(text, Path("recipe.yaml"))
    assert "\n" not in str(error.value)
    with pytest.raises(yaml.YAMLError):
        load_yaml(text)


@pytest.mark.parametrize(
    "text", ["", "a: 1", "- [1, 2]\n- {b: &x [3], c: *x}", "base: &b {x: 1}\nmore: {<<: *b, y: 2}"]
)
def test_what_people_write_comes_through(text):
    assert parse_yaml(text, Path("recipe.yaml")) == yaml.safe_load(text)


@pytest.mark.parametrize("text", ["a: !!python/object/apply:os.system [id]", "!!python/name:print"])
def test_nothing_is_run(text):
    with pytest.raises(ValueError, match="could not determine a constructor"):
        parse_yaml(text, Path("recipe.yaml"))
