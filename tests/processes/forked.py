"""Child processes of tests, forked from a server that has imported what takes seconds to import.

They have signals, streams and an exit code of their own. What happens while Python starts or imports needs a
process of ``subprocess``.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

REMANENCE = "from remanence.cli.app import main; main()"
_CONTEXT = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
if sys.platform == "linux":
    _CONTEXT.set_forkserver_preload(["remanence.training.comparison", "remanence.report.page", "optuna", "numba"])


class Forked:
    """``python -c program arguments`` in a folder, as the leader of a session."""

    def __init__(
        self, program: str, *arguments: object, folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.args = [str(word) for word in arguments]
        self._folder = TemporaryDirectory(prefix="remanence-streams-")
        self._streams = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        variables = dict(os.environ if environment is None else environment)
        self._process: BaseProcess = _CONTEXT.Process(
            target=_enter, args=(program, self.args, str(folder), [str(path) for path in self._streams], variables)
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def wait(self, timeout: float = 300) -> "CompletedProcess[str]":
        """Wait for its end."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            os.killpg(self.pid, signal.SIGKILL)
            raise TimeoutError(f"still running after {timeout} s: {self.args}")
        return CompletedProcess(self.args, self._process.exitcode, *(path.read_text() for path in self._streams))


def _enter(program: str, arguments: list[str], folder: str, streams: list[str], variables: dict[str, str]) -> None:
    os.setsid()
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(folder)
    multiprocessing.process.ORIGINAL_DIR = folder  # type: ignore[attr-defined]  # where Python was started
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = ["-c", *arguments]
    exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})
