"""For every package: the shared recordings, when they lie beside the checkout; soak's summary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """After the long tests a line for each: how it ended, how long it took, what it measured."""
    ended = [
        report
        for outcome in ("passed", "failed", "error", "skipped")
        for report in terminalreporter.getreports(outcome)
        if "soak" in report.keywords
    ]
    if ended:
        terminalreporter.section("soak")
    for report in sorted(ended, key=lambda report: report.start):
        title = report.nodeid.rpartition("::")[2].removeprefix("test_").replace("_", " ")
        told = dict(report.user_properties).get("figures")
        if report.skipped and isinstance(report.longrepr, tuple):
            told = report.longrepr[2]
        figures = f": {told}" if told else ""
        line = f"{report.outcome:8}{report.duration:6.0f} s  {title}{figures}"
        terminalreporter.write_line(line, red=report.failed, green=report.passed)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder for the tests: they leave no notes in their user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photographs and recordings; a user's clone has none, so tests skip."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the shared recordings are not beside this checkout")
    return folder
