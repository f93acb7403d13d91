"""Recipes: YAML files that define the runs of a comparison."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, Field, PositiveInt, ValidationError, model_validator

from remanence.errors import UserError
from remanence.files import read_text
from remanence.registry import find_nearest, refuse_imports
from remanence.runs.config import LayerConfig, ModelConfig, RunConfig, Sizes, Strict, TaskConfig, TrainingConfig
from remanence.runs.renamed import current_name, update_section
from remanence.training.search import Search
from remanence.training.sizes import fit_hidden_size
from remanence.yaml_files import DEEPEST, load_yaml, parse_yaml

Seeds = Annotated[int, Field(gt=0, le=10_000)]
MOST_RUNS = 100_000
Model = TypeVar("Model", bound=Strict)


class Comparison(Strict):
    """Several layers on one task under the same training: every layer, at every hidden size, with every seed.

    Attributes:
        parameters: instead of hidden sizes: each layer is as large as it can be with so many parameters in the whole
            model.
        seeds: how many seeds, from 0; default: as many as the recipe has.
    """

    task: TaskConfig
    layers: tuple[str | LayerConfig, ...] = Field(min_length=1)
    hidden_sizes: Sizes = (50,)
    parameters: PositiveInt | None = None
    seeds: Seeds | None = None
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _check_sizes(self) -> "Comparison":
        own = [layer.model_fields_set for layer in self.layers if isinstance(layer, LayerConfig)]
        sized_already = "hidden_sizes" in self.model_fields_set or any("hidden_size" in fields for fields in own)
        if self.parameters is not None and sized_already:
            raise UserError("parameters determines the hidden sizes: give only one of the two")
        return self

    def runs(self, seeds: Sequence[int]) -> Iterator[RunConfig]:
        """Yield the configuration of every run, seed by seed, so that early results are comparable.

        Args:
            seeds: the seeds of the runs.
        """
        configs = [self.config(layer) for layer in self.iter_layers()]
        for seed in seeds:
            yield from (config.model_copy(update={"seed": seed}) for config in configs)

    def config(self, layer: LayerConfig, settings: Mapping[str, Any] | None = None) -> RunConfig:
        """Build the configuration of one layer with the first seed, sized by ``parameters`` if given.

        Args:
            layer: which one.
            settings: fields to set, by name.

        Raises:
            ValueError: a field does not exist, or its value is wrong.
        """
        plain = self.apply_settings(layer, settings or {})
        return plain if self.parameters is None else fit_hidden_size(plain, self.parameters)

    def apply_settings(self, layer: LayerConfig, settings: Mapping[str, Any]) -> RunConfig:
        """Build the configuration of one layer with the hidden size that the layer gives.

        Args:
            layer: which one.
            settings: fields to set, by name.
        """
        plain = RunConfig(task=self.task, layer=layer, model=self.model, training=self.training)
        if not settings:
            return plain
        data = plain.model_dump(mode="json")
        for field, value in settings.items():
            set_field(data, field.split("."), value)
        return validate(RunConfig, data, where="the search")

    def iter_layers(self) -> Iterator[LayerConfig]:
        """Yield every layer; those given only by name at every hidden size."""
        for layer in self.layers:
            if isinstance(layer, LayerConfig):
                yield layer
            else:
                yield from (LayerConfig(name=layer, hidden_size=size) for size in self.hidden_sizes)


class Recipe(Strict):
    """A titled list of comparisons.

    Attributes:
        title: what the recipe shows, in one line.
        seeds: how many seeds, from 0.
        comparisons: one for each task or setting.
        search: fields for which each layer gets the best value of those tried (:func:`remanence.training.sweep`);
            default: none.
    """

    title: str
    seeds: Seeds = 3
    comparisons: tuple[Comparison, ...] = Field(min_length=1)
    search: Search | None = None

    @model_validator(mode="after")
    def _check_run_count(self) -> "Recipe":
        runs = sum(
            len(comparison.layers) * len(comparison.hidden_sizes) * self.count_seeds(comparison)
            for comparison in self.comparisons
        )
        if runs > MOST_RUNS:
            raise UserError(f"layers, hidden sizes and seeds make {runs:,} runs, at most {MOST_RUNS:,} can be planned")
        return self

    def runs(self) -> list[RunConfig]:
        """List the configuration of every run, before a search."""
        return [run for comparison in self.comparisons for run in comparison.runs(range(self.count_seeds(comparison)))]

    def names(self) -> Iterator[str]:
        """Yield the names of all tasks and layers."""
        for comparison in self.comparisons:
            yield comparison.task.name
            yield from (layer if isinstance(layer, str) else layer.name for layer in comparison.layers)

    def count_seeds(self, comparison: Comparison) -> int:
        """Return how many seeds the runs of a comparison have.

        Args:
            comparison: one of this recipe.
        """
        return comparison.seeds or self.seeds


def read_recipe(path: Path, overrides: Sequence[str] = (), *, allow_import: bool = False) -> Recipe:
    """Read a recipe, and set the overridden fields in each of its comparisons.

    Args:
        path: a YAML file.
        overrides: ``field=value``, such as ``seeds=5`` or ``training.learning_rate=0.01``.
        allow_import: whether the file may name tasks and layers as ``package.module:Class``, whose code is run then.

    Returns:
        The recipe.

    Raises:
        ValueError: the file is missing, is no YAML or has a wrong field (the message has the line), or it names what
            would have to be imported.
    """
    try:
        text = read_text(path)
    except OSError as error:
        raise UserError(f"cannot read the recipe {path}: {error.strerror}") from error
    data = parse_yaml(text, path)
    if not isinstance(data, dict):
        raise UserError(f"{path}, line 1: a recipe is a mapping with title and comparisons")
    recipe = validate(Recipe, data, where=f"{path}", text=text)
    if not allow_import:
        refuse_imports(recipe.names(), path)
    return build_recipe(data, overrides)


def build_recipe(data: dict[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """Build a recipe from plain data; overridden fields are set in it or in each of its comparisons.

    Args:
        data: the fields, as in a recipe file.
        overrides: settings ``field=value``, such as ``seeds=5`` or ``training.learning_rate=0.01``; default: none.

    Returns:
        The recipe.

    Raises:
        ValueError: a field is unknown or has a wrong value.

    Example:
        >>> data = {"title": "Two memories", "comparisons": [{"task": "retrieval", "layers": ["lstm", "fast_weights"]}]}
        >>> len(build_recipe(data, ["seeds=5"]).runs())
        10
    """
    for section in data["comparisons"]:
        update_names(section)
    for field, value in map(parse_override, overrides):
        for section in [data] if field[0] in Recipe.model_fields else data["comparisons"]:
            set_field(section, field, value)
    return validate(Recipe, data, where="the settings")


def build_run_config(data: dict[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """Build the configuration of a single run from plain data.

    Args:
        data: the fields, as in ``config.yaml``; missing fields have their defaults.
        overrides: settings ``field=value``, such as ``training.learning_rate=0.01``; default: none.

    Returns:
        The configuration.

    Raises:
        ValueError: a field is unknown or has a wrong value.

    Example:
        >>> data = {"task": {"name": "retrieval"}, "layer": {"name": "lstm"}}
        >>> build_run_config(data, ["training.epochs=5"]).training.epochs
        5
    """
    update_names(data)
    for field, value in map(parse_override, overrides):
        set_field(data, field, value)
    return validate(RunConfig, data, where="the settings")


def update_names(section: Any) -> None:
    """Give fields that were renamed their present names, so that a setting replaces the value under the old one."""
    if isinstance(section, dict) and isinstance(section.get("training"), dict):
        section["training"] = update_section("training", section["training"])


def parse_override(override: str) -> tuple[list[str], Any]:
    """Parse ``"training.learning_rate=0.01"`` to (["training", "learning_rate"], 0.01).

    Raises:
        ValueError: no ``=``, or a value that is no YAML.
    """
    field, equals, value = override.partition("=")
    if not equals or not field:
        raise UserError(f"--set takes FIELD=VALUE, such as training.learning_rate=0.01; got {override!r}")
    try:
        return current_name(field).split("."), parse_number(load_yaml(value))
    except yaml.YAMLError as error:
        raise UserError(f"--set {field}: {value!r} is not a value") from error


def parse_number(value: Any) -> Any:
    """Convert texts such as 1e-3 to numbers, which YAML 1.1 reads as text for want of a point."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def set_field(data: dict[str, Any], field: Sequence[str], value: Any) -> None:
    """Set ``data[a][b] = value`` for the field a.b, making sections as needed."""
    if len(field) > DEEPEST:
        raise UserError(f"--set {field[0]}...: too many nested fields")
    for key in field[:-1]:
        inner = data.setdefault(key, {})
        if key in ("task", "layer") and isinstance(inner, str):  # given by its name alone
            inner = data[key] = {"name": inner}
        if not isinstance(inner, dict):
            raise UserError(f"--set {'.'.join(field)}: {key} is a value, it has no fields")
        data = inner
    data[field[-1]] = value


def validate(model: type[Model], data: Mapping[str, Any], *, where: str, text: str | None = None) -> Model:
    """Validate, with an error for people: where (with the line, if ``text`` is given), which field, what is wrong."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # Of a union's alternatives the one that went furthest into the data is what was meant. A field that is missing
        # may be there under a wrong name, and then that is what to say.
        first = max(error.errors(), key=lambda item: (len(item["loc"]), item["type"] != "missing"))
        # pydantic adds the name of a union's member to the place; only keys and indices are in the file.
        place = [part for part in first["loc"] if part not in ("str", "LayerConfig")]
        line = f", line {find_line(text, place)}" if text else ""
        wrong = first["msg"].lower().replace("tuple", "list").replace("dictionary", "mapping")
        if first["type"] == "extra_forbidden" and (
            near := find_nearest(str(place[-1]), find_fields(model, place[:-1]), cutoff=0.6)
        ):
            wrong += f"; did you mean {' or '.join(near)}?"
        came = "" if first["type"] in ("missing", "extra_forbidden") else f", got {first['input']!r}"
        raise UserError(f"{where}{line}: {'.'.join(map(str, place))}: {wrong}{came}") from error


def find_fields(section: type[BaseModel], place: Sequence[str | int]) -> set[str]:
    """Return the names of the fields at a place in the data of ``section``."""
    sections = [section]
    for part in place:
        if isinstance(part, str):
            found = [each.model_fields[part].annotation for each in sections if part in each.model_fields]
            sections = [inner for annotation in found for inner in find_sections(annotation)]
    return {name for each in sections for name in each.model_fields}


def find_sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the sections that a type contains, also in lists and unions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from find_sections(inner)


def find_line(text: str, place: Sequence[str | int]) -> int:
    """Find the line of the field at ``place``, or of the nearest enclosing section that exists."""
    node = yaml.compose(text)
    line = 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = (node.value[part], node.value[part])
        else:
            found = None
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line
