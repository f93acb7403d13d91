import base64
import re
import shlex
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import matplotlib.image
import numpy as np
import pytest

from remanence.report import load, write
from remanence.training import RunConfig, build_run_config

HOSTILE = '"><script>alert(1)</script><img src=http://example.com/x onerror=alert(2)> $\\frac$ $'
ADDRESSES = {"src", "srcset", "href", "action", "data", "poster", "background", "cite"}
DATA = "data:image/svg+xml;base64,"


class Page(HTMLParser):
    """What a browser would see: the elements with their attributes, and the text of each kind of element."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.open, self.texts = [], [], {}
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "source"):
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        for tag in set(self.open):
            self.texts[tag][-1] += data

    def attributes(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def addresses(self):
        return [value for _, attributes in self.elements for name, value in attributes.items() if name in ADDRESSES]


@pytest.fixture
def page_of(make_run, tmp_path):
    """The page of the runs given as the fields of each."""

    def make(*runs, **options):
        folders = [make_run(f"run{number}", **fields) for number, fields in enumerate(runs)]
        return Page(write(load(folders), tmp_path / "out", **options))

    return make


@pytest.fixture(scope="module")
def written(mixed_runs, tmp_path_factory):
    """Folder of a page of two tasks, two memories, a failed run and one under way."""
    return write(load(mixed_runs), tmp_path_factory.mktemp("written"), title="Two tasks").parent


@pytest.fixture
def ordinary(written):
    return Page(written / "report.html")


def test_the_page_says_what_the_table_says(ordinary):
    assert ordinary.open == []
    assert ordinary.texts["h1"] == ["Two tasks"]
    assert ordinary.texts["title"] == ["Two tasks"]
    assert ordinary.texts["h2"] == ["retrieval", "digits rows 8", "To repeat it"]
    assert "2 memories on 2 tasks, 5 runs, 1 failed, 1 unfinished." in ordinary.texts["p"]
    assert "lstm5015.0 ± 7.11,0002002.00 ± 0.00–2" in ordinary.texts["tr"]
    assert "gru, 50 units, seed 0 failed and does not count: the loss is nan at step 7" in ordinary.texts["p"]
    assert "gru, 50 units, seed 1: unfinished, does not count yet" in ordinary.texts["p"]


def test_every_picture_has_its_figures_in_words(ordinary):
    images = ordinary.attributes("img")
    assert len(images) == 4
    alts = [image["alt"] for image in images]
    assert alts[0].endswith("Last values: lstm, 50 units 50.0.")
    assert "lstm, 50 units: 15.0 ± 7.1 with 1,000 parameters in 2.00 ± 0.00 s" in alts[1]
    assert all(len(caption) > 50 for caption in ordinary.texts["figcaption"])


def test_nothing_is_loaded_and_nothing_runs(ordinary):
    assert len(ordinary.addresses()) == 4 * 4
    for address in ordinary.addresses():
        assert address.startswith(DATA)
        picture = ElementTree.fromstring(base64.b64decode(address.removeprefix(DATA)))
        for element in picture.iter():
            links = [value for name, value in element.attrib.items() if name.rpartition("}")[2] in ("href", "src")]
            assert all(link.startswith("#") for link in links)
            assert not element.tag.endswith(("script", "image", "foreignObject"))
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in ordinary.elements}
    assert not [name for _, attributes in ordinary.elements for name in attributes if name.startswith("on")]
    (style,) = ordinary.texts["style"]
    assert not re.search(r"url\(|@import", style)
    (policy,) = [meta["content"] for meta in ordinary.attributes("meta") if "http-equiv" in meta]
    assert policy.startswith("default-src 'none'")


def test_each_picture_has_variants_for_night_and_for_phones(ordinary):
    media = [source["media"] for source in ordinary.attributes("source")]
    assert len(media) == 4 * 3
    assert [("dark" in one, "720px" in one) for one in media[:3]] == [(True, True), (False, True), (True, False)]
    sizes = [
        float(ElementTree.fromstring(base64.b64decode(source["srcset"].removeprefix(DATA))).attrib["width"][:-2])
        for source in ordinary.attributes("source")[:3]
    ]
    assert sizes[0] == sizes[1] < sizes[2] / 2


@pytest.mark.slow
@pytest.mark.parametrize("field", ["layer", "task", "title", "failure", "option"])
def test_whatever_a_name_holds_is_text(page_of, field):
    fields: dict[str, Any] = {"layer": "lstm", "task": "retrieval"}
    if field in ("layer", "task"):
        fields[field] = HOSTILE
    if field == "failure":
        fields["failure"] = HOSTILE
    if field == "option":
        fields["layer_options"] = {HOSTILE: HOSTILE}
    page = page_of(fields, title=HOSTILE if field == "title" else "t")
    assert "script" not in {tag for tag, _ in page.elements}
    assert all(address.startswith(DATA) for address in page.addresses())
    assert "alert(1)" in "".join(page.texts["html"])
    for address in page.addresses():
        picture = ElementTree.fromstring(base64.b64decode(address.removeprefix(DATA)))
        assert not [element for element in picture.iter() if element.tag.endswith("script")]


def test_control_characters_do_not_break_the_page(page_of):
    assert page_of({"failure": "bell \x07 and lone \ud83d surrogate"}).open == []


def test_pictures_are_files_too_with_something_on_them(written):
    files = sorted(path.name for path in written.iterdir())
    assert files == [
        "digits-rows-8-cost.png",
        "digits-rows-8-learning.png",
        "report.html",
        "retrieval-cost.png",
        "retrieval-learning.png",
    ]
    for name in files:
        if name.endswith(".png"):
            pixels = matplotlib.image.imread(written / name)[..., :3]
            for half in np.array_split(pixels, 2, axis=1):
                assert half.std() > 0.05
                colourful = half.max(-1) - half.min(-1) > 0.2
                assert colourful.sum() > 20


def test_tasks_whose_names_are_alike_keep_their_pictures_apart(page_of, tmp_path):
    page_of({"task": "a.b"}, {"task": "a:b"})
    assert len(list((tmp_path / "out").glob("*-cost.png"))) == 2


def test_runs_before_their_first_epoch(page_of):
    page = page_of({"finished": False, "curve": ()})
    assert "There is nothing to draw yet: no run has finished its first epoch." in page.texts["p"]
    assert not page.attributes("img")


def test_no_runs_no_page(tmp_path):
    with pytest.raises(ValueError, match="at least one run"):
        write([], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_of_a_configuration_repeats_it(make_run, tmp_path):
    """Read back as a shell and the command line would, it gives the configuration of the run."""
    options = {"decay": 0.9, "form": "a b's $HOME", "sizes": [1, 2], "flag": True, "none": None}
    training = {"stop_at_metric": None, "learning_rate": 1e-05}
    (run,) = load([make_run("run", hidden_size=7, seed=3, layer_options=options, training=training)])
    page = Page(write([run], tmp_path / "out"))
    (text,) = [text for text in page.texts["pre"] if text.startswith("remanence train")]
    command, train, task, *words = shlex.split(text.replace("\\\n", " "))
    assert (command, train) == ("remanence", "train")
    given = list(zip(words[::2], words[1::2], strict=True))
    named = {name: value for name, value in given if name != "--set"}
    data = {
        "task": {"name": task},
        "layer": {"name": named["--layer"], "hidden_size": named["--hidden-size"]},
        "seed": named["--seed"],
    }
    assert build_run_config(data, [value for name, value in given if name == "--set"]) == RunConfig.model_validate(
        run.config | {"versions": build_run_config(data).versions}
    )


def test_a_page_judged_by_validation_shows_no_test_figures(page_of):
    """As that of a search, whose choice would otherwise look as if it had been made by the test data."""
    runs = [
        {"seed": 0, "curve": ((100, 1.0, 0.125),), "test": 0.777, "training": {"learning_rate": 0.01}},
        {"seed": 0, "curve": ((100, 1.0, 0.25),), "test": 0.333, "training": {"learning_rate": 0.1}},
    ]
    page = page_of(*runs, split="validation")
    text = " ".join(page.texts["main"])
    assert "12.5" in text
    assert "Validation set; lower is better" in text
    assert "validation error rate" in text
    pictures = [ElementTree.fromstring(base64.b64decode(each.removeprefix(DATA))) for each in page.addresses()]
    drawn = " ".join(word for picture in pictures for word in picture.itertext())
    assert "validation error rate" in drawn
    for source in (text, drawn, *(each["alt"] for each in page.attributes("img"))):
        assert "77.7" not in source
        assert "33.3" not in source
        assert "test " not in source.lower().replace("pytest", "")
    first, second = page.texts["summary"]
    assert "learning_rate=0.01" in first
    assert "learning_rate=0.1" in second


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "output", "command"),
    [
        (["runs/a", "runs/b"], "runs", "remanence report runs"),
        (["runs/a"], "runs/a", "remanence report runs/a"),
        (["runs/b"], "elsewhere", "remanence report runs/b --output elsewhere"),
        (["runs/a", "more runs/c"], "runs/a", "remanence report runs/a 'more runs'"),
    ],
)
def test_the_command_of_a_page_reads_the_same_runs(make_run, tmp_path, monkeypatch, given, output, command):
    for name in ("runs/a", "runs/b", "more runs/c"):
        folder = make_run(name)
    monkeypatch.chdir(str(folder).removesuffix("/more runs/c"))
    page = Page(write(load(given), output))
    assert page.texts["pre"][-1] == command
    *paths, place = [word for word in shlex.split(command)[2:] if word != "--output"]
    paths = paths if "--output" in command else [*paths, place]
    assert {run.folder.resolve() for run in load(paths)} == {run.folder.resolve() for run in load(given)}


def test_a_given_command_is_what_the_page_says(page_of):
    assert page_of({}, command="remanence compare recipe.yaml").texts["pre"][-1] == "remanence compare recipe.yaml"
