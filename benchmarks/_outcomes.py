"""A plugin of pytest that writes the outcome of each test as it comes, for `gpu.py`, which may have to end pytest."""

import json
import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the workers of pytest-xdist report to this process
        config.pluginmanager.register(_Outcomes(os.environ["OUTCOMES"]))


class _Outcomes:
    def __init__(self, path: str):
        self.file = open(path, "w", encoding="utf-8")  # noqa: SIM115

    def write(self, **fields: object) -> None:
        print(json.dumps(fields), file=self.file, flush=True)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.items:
            self.write(count=len(session.items))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self.write(count=len(ids))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.write_failure(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.write_failure(report)
        elif report.skipped or report.when == "call":
            self.write(test=report.nodeid, outcome=report.outcome)

    def write_failure(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        lines = report.longreprtext.splitlines()
        error = next((line[1:].strip() for line in lines if line.startswith("E  ")), "failed")
        self.write(test=report.nodeid, outcome="failed", error=error)
