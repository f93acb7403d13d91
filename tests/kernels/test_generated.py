"""Functions from generated source."""

import inspect
import linecache

from remanence._kernels.generated import functions

SOURCE = "def one():\n    return 1\n\n\ndef two():\n    return one() + 1\n"


def test_source_is_found_again():
    two = functions(SOURCE, False)["two"]
    linecache.checkcache()
    assert two() == 2
    assert inspect.getsource(two) == "def two():\n    return one() + 1\n"


def test_the_same_source_gives_the_same_functions_but_for_the_interpreter():
    assert functions(SOURCE, False)["one"] is functions(SOURCE, False)["one"]
    assert functions(SOURCE, False)["one"] is not functions(SOURCE, True)["one"]
