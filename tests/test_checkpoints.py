import io
import pickle
import random
import zipfile

import pytest
import torch

from remanence.checkpoints import read_tensors

CONTENT = {"weights": {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(3, dtype=torch.int64)}, "epoch": 3}


@pytest.fixture
def saved(tmp_path):
    """A file with that content."""

    def save(content=CONTENT, **options):
        torch.save(content, tmp_path / "file.ckpt", **options)
        return tmp_path / "file.ckpt"

    return save


def test_tensors_and_plain_data_come_back(saved):
    for content in (CONTENT, {"tied": [CONTENT["weights"]["a"]] * 3}, {"view": torch.arange(10)[3:5]}):
        torch.testing.assert_close(read_tensors(saved(content)), content)
    assert read_tensors(saved(_use_new_zipfile_serialization=False))["epoch"] == 3


class Runs:
    def __reduce__(self):
        return (print, ("it ran",))


@pytest.mark.parametrize("content", [Runs(), {"a": Runs()}, {"f": print}, {"m": torch.nn.Linear(2, 2)}])
@pytest.mark.parametrize("new", [True, False])
def test_objects_are_not_loaded(saved, capsys, content, new):
    path = saved(content, _use_new_zipfile_serialization=new)
    with pytest.raises(ValueError, match="other Python objects, which are not loaded"):
        read_tensors(path)
    assert "it ran" not in capsys.readouterr().out


def inflating(path):
    """The same entries compressed, one of them 64 MiB of zeros."""
    torch.save({"zeros": torch.zeros(1 << 24)}, path)
    entries = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in entries.infolist():
            archive.writestr(entry.filename, entries.read(entry))


@pytest.mark.parametrize(
    "content",
    [
        {"expanded": torch.zeros(1).expand(80_000, 20_000)},
        {"rows": torch.zeros(20_000).expand(80_000, 20_000)},
        {"many": [torch.zeros(1 << 18)] * 1000},
        {"meta": torch.empty(1 << 20, 1 << 20, device="meta")},
        {"sparse": torch.eye(3).to_sparse()},
        inflating,
    ],
    ids=["stride 0", "expanded", "aliases", "meta", "sparse", "inflating"],
)
def test_files_that_claim_more_than_they_hold(saved, tmp_path, content):
    path = tmp_path / "file.ckpt"
    content(path) if callable(content) else saved(content)
    assert path.stat().st_size < 3 << 20
    with pytest.raises(ValueError, match=r"it holds|larger than|it is damaged"):
        read_tensors(path)


def test_wherever_a_file_is_cut_off_or_changed_it_is_called_damaged_or_gives_tensors(saved, tmp_path):
    whole, draw = saved().read_bytes(), random.Random(0)
    path = tmp_path / "changed.ckpt"
    for number in range(200):
        place = draw.randrange(len(whole))
        changed = whole[:place] if number % 2 else whole[:place] + bytes([draw.randrange(256)]) + whole[place + 1 :]
        path.write_bytes(changed)
        try:
            read_tensors(path)
        except ValueError as error:
            assert str(error)  # noqa: PT017 (either outcome is right)
        else:
            assert number % 2 == 0


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02]r\xff\xff\xff\x3f.", pickle.dumps([[]]) * 3])
def test_other_files(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match="it is damaged, or of another kind"):
        read_tensors(tmp_path / "file")


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "none")


def test_data_nested_deeper_than_python_follows(saved, tmp_path):
    entries, count = zipfile.ZipFile(io.BytesIO(saved([]).read_bytes())), 20_000
    path = tmp_path / "deep.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        for entry in entries.infolist():
            deep = b"\x80\x02" + b"]" * count + b"a" * (count - 1) + b"."
            archive.writestr(entry, deep if entry.filename.endswith("data.pkl") else entries.read(entry))
    content = read_tensors(path)
    for _ in range(count - 1):
        (content,) = content
    assert content == []
