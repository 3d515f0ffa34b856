"""The promises about picture quality, on simulated photographs of the shared recordings."""

from __future__ import annotations

from pathlib import Path

import pytest

from host_training.evaluate import BLURRED, EXACT, Score, evaluate
from host_training.methods import FILTER, open_methods
from host_training.shot import ShotOptions
from host_training.tables import gains_db
from host_training.testset import make_testset

GAIN_DB, WORST_GAIN_DB = 1.0, -0.2
LAYER_DB = -0.3
PANNED_BLUR_PX = 12.0
"""Below it a sharp thing leaves too little over to be told from a blurred one; see guard.py."""


@pytest.fixture(scope="module")
def scores(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Score]:
    folder = tmp_path_factory.mktemp("quality") / "set"
    make_testset(folder, shared_data / "photos", shared_data / "imu_logs", count=24, seed=1)
    return [judged.score for judged in evaluate(folder, open_methods([], threads=2))]


def test_the_filter_gains_a_decibel_on_average(scores: list[Score]) -> None:
    assert len(scores) >= 24
    assert gains_db(scores, FILTER).mean() >= GAIN_DB


def test_no_photograph_is_spoilt(scores: list[Score]) -> None:
    assert gains_db(scores, FILTER).min() >= WORST_GAIN_DB


def test_the_exact_field_is_no_worse_than_the_measured_one(scores: list[Score]) -> None:
    assert gains_db(scores, FILTER, EXACT).mean() >= gains_db(scores, FILTER).mean() - 0.05


def test_what_moved_with_the_camera_stays_as_it_was(shared_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "panned"
    make_testset(
        folder,
        shared_data / "photos",
        shared_data / "imu_logs",
        count=12,
        seed=5,
        options=ShotOptions(layer=True),
    )
    panned = [
        j.score
        for j in evaluate(folder, open_methods([], threads=2))
        if j.score.blur_px >= PANNED_BLUR_PX
    ]
    assert len(panned) >= 6
    for score in panned:
        change_db = score.layer_psnr_db[FILTER] - score.layer_psnr_db[BLURRED]
        assert change_db >= LAYER_DB, score.name
        assert score.quality[FILTER].psnr_db > score.quality[BLURRED].psnr_db + WORST_GAIN_DB
