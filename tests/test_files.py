import os
import stat

import pytest

from remanence.files import PART, replace_file, write_text


def test_links_that_others_planted_are_not_followed(tmp_path, monkeypatch):
    """However the name of what is being written is guessed."""
    (tmp_path / "precious").write_text("years of work")
    monkeypatch.setattr("remanence.files.secrets.token_hex", lambda size: "guessed")
    (tmp_path / f".page.html.guessed{PART}").symlink_to(tmp_path / "precious")
    with pytest.raises(FileExistsError):
        write_text(tmp_path / "page.html", "x")
    assert (tmp_path / "precious").read_text() == "years of work"
    assert not (tmp_path / "page.html").exists()


def test_a_link_in_the_place_itself_is_replaced_not_followed(tmp_path):
    (tmp_path / "precious").write_text("years of work")
    (tmp_path / "page.html").symlink_to(tmp_path / "precious")
    write_text(tmp_path / "page.html", "x")
    assert (tmp_path / "precious").read_text() == "years of work"
    assert (tmp_path / "page.html").read_text() == "x"
    assert not (tmp_path / "page.html").is_symlink()


def test_the_names_are_not_to_be_guessed_and_nothing_is_left(tmp_path):
    seen = set()
    for _ in range(20):
        with replace_file(tmp_path / "file") as file:
            seen.update(path.name for path in tmp_path.glob(f"*{PART}"))
            file.write(b"x")
    assert len(seen) == 20
    with pytest.raises(ZeroDivisionError), replace_file(tmp_path / "file"):
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="a folder is opened on POSIX only")
def test_the_folder_reaches_the_disk_after_the_file(tmp_path, monkeypatch):
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(stat.S_ISDIR(os.fstat(fd).st_mode)) or fsync(fd))
    write_text(tmp_path / "file", "x")
    assert synced == [False, True]
