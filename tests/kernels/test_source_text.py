"""Functions from generated source."""

import inspect
import linecache

from remanence._kernels.source_text import load_functions

SOURCE = "def one():\n    return 1\n\n\ndef two():\n    return one() + 1\n"


def test_source_is_found_again():
    two = load_functions(SOURCE, False)["two"]
    linecache.checkcache()
    assert two() == 2
    assert inspect.getsource(two) == "def two():\n    return one() + 1\n"


def test_the_same_source_gives_the_same_functions_but_for_the_interpreter():
    assert load_functions(SOURCE, False)["one"] is load_functions(SOURCE, False)["one"]
    assert load_functions(SOURCE, False)["one"] is not load_functions(SOURCE, True)["one"]
