"""The report's clock: a stage that another draws from is timed for itself."""

from __future__ import annotations

import time
from collections.abc import Iterator

from device.restore.report import RestoreReport


def slow_items() -> Iterator[int]:
    for item in range(3):
        time.sleep(0.05)
        yield item


def test_a_stage_that_another_draws_from_is_timed_for_itself() -> None:
    report = RestoreReport("a bundle", 1, 1)
    with report.stage("network"):
        assert list(report.drawn("filter", slow_items())) == [0, 1, 2]
    with report.stage("guard"):
        pass
    assert list(report.stages_s) == ["filter", "network", "guard"]
    assert report.stages_s["filter"] >= 0.15
    assert 0.0 <= report.stages_s["network"] < 0.05
    assert 0.0 <= report.stages_s["guard"] < 0.05
