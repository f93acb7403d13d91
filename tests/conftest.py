import gc
import io
import sys
import tarfile
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "processes"))  # forked, for the tests of commands and scripts


@pytest.fixture(autouse=True)
def data_directory(tmp_path, monkeypatch):
    """Where prepared data go: a folder of the test's own."""
    monkeypatch.setenv("REMANENCE_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def make_tar(tmp_path):
    """A tar.gz archive of names and contents."""

    def make(files, name="archive.tar.gz"):
        path = tmp_path / name
        with tarfile.open(path, "w:gz") as archive:
            for member, content in files.items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return path

    return make


@pytest.fixture
def within():
    """A bound on the bytes that Python and NumPy hold at a time, in what follows."""

    @contextmanager
    def bounded(most):
        rarely = gc.get_threshold()
        gc.set_threshold(700, 10, 10)  # Python's own: what a user has
        tracemalloc.start()
        try:
            yield
            assert tracemalloc.get_traced_memory()[1] < most
        finally:
            tracemalloc.stop()
            gc.set_threshold(*rarely)

    return bounded
