"""What the commands print, on terminals and in files of any encoding."""

import io
import os
import subprocess
import sys

import pytest

from remanence.cli.console import accept_all_letters, print_json, say

LETTERS = "Wᵀ → λ ─ é \udcff"  # the last: a byte of a file's name that is no letter


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "ascii:surrogateescape", "utf-8"])
def test_commands_in_an_encoding_that_lacks_letters(encoding, tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "200"}
    for command in (["list"], ["preview", "adding"], ["train", "retrival", "--layer", "łstm"]):
        done = subprocess.run(
            [sys.executable, "-m", "remanence", *command], cwd=tmp_path, env=environment, capture_output=True
        )
        assert done.returncode == (2 if command[0] == "train" else 0), done.stderr
        assert b"codec" not in done.stderr
        if command == ["list"]:
            assert ("ᵀ".encode() if encoding == "utf-8" else b"?") in done.stdout
        assert done.stdout.decode(encoding.partition(":")[0]) or command[0] == "train"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("errors", ["strict", "surrogateescape", "backslashreplace"])
def test_any_letter_can_be_printed(encoding, errors, monkeypatch):
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    accept_all_letters()
    say(LETTERS)
    print_json({"letters": LETTERS})
    sys.stdout.write(LETTERS)
    for stream in streams:
        stream.flush()
    written = streams[1].buffer.getvalue().decode(encoding)
    assert ("λ" if encoding == "utf-8" else "\\u03bb" if errors == "backslashreplace" else "?") in written


def test_a_stream_that_is_none_or_another_kind(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    accept_all_letters()
