from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from host_training import cli
from host_training.evaluate import BLURRED, ORACLE, RESTORED, evaluate
from host_training.figures import gains_db, markdown, sheet_strip, summary_json
from host_training.metrics import psnr_db, ssim
from host_training.shot import ShotOptions
from host_training.testset import make_testset


@pytest.fixture(scope="module")
def testset(
    photos: Path, motion: Path, tmp_path_factory: pytest.TempPathFactory, small: ShotOptions
) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "set"
    make_testset(folder, photos, motion, count=3, seed=5, options=small)
    return folder


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (64, 72, 3), np.uint8)


def test_psnr_is_that_of_the_formula_without_the_border() -> None:
    truth = np.full((64, 72, 3), 100, np.uint8)
    off = truth.copy()
    off[:16] = 255  # the border does not count
    off[20:30, 20:30] = 104
    error = 16 * 100 / (32 * 40)
    assert psnr_db(off, truth) == pytest.approx(10 * np.log10(255**2 / error))
    where = np.zeros((64, 72), bool)
    where[20:30, 20:30] = True
    assert psnr_db(off, truth, where) == pytest.approx(10 * np.log10(255**2 / 16))
    assert psnr_db(truth, truth) == float("inf")


def test_ssim_is_that_of_the_formula() -> None:
    a, b = picture(1), (0.7 * picture(1) + 0.3 * picture(2)).astype(np.uint8)
    assert ssim(a, a) == pytest.approx(1.0)
    window = cv2.getGaussianKernel(11, 1.5) @ cv2.getGaussianKernel(11, 1.5).T
    values = []
    for v in range(16, 48, 5):
        for u in range(16, 56, 5):
            for c in range(3):
                x, y = (p[v - 5 : v + 6, u - 5 : u + 6, c].astype(float) for p in (a, b))
                mx, my = (window * x).sum(), (window * y).sum()
                vx, vy = (window * x * x).sum() - mx**2, (window * y * y).sum() - my**2
                cov = (window * x * y).sum() - mx * my
                c1, c2 = 2.55**2, 7.65**2
                values.append(
                    (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
                )
    assert ssim(a, b) == pytest.approx(np.mean(values), abs=0.02)


def test_a_restoration_is_judged_beside_the_photograph_and_the_oracle(testset: Path) -> None:
    judged = list(evaluate(testset, swaps=True))
    scores = [one.score for one in judged]
    assert [set(s.quality) for s in scores] == [{BLURRED, RESTORED, ORACLE}] * 3
    assert set(scores[0].swap_psnr_db) == {"zero", "reversed", "foreign"}
    assert gains_db(scores, BLURRED).tolist() == [0.0, 0.0, 0.0]
    table = markdown(scores)
    assert f"{np.mean([s.quality[ORACLE].psnr_db for s in scores]):.2f}" in table
    assert "foreign" in table
    assert json.loads(json.dumps(summary_json(scores)))["bundles"] == 3
    strip = sheet_strip(judged[0])
    assert strip.shape == (120, 4 * 160, 3)
    np.testing.assert_array_equal(strip[40:, 480:], judged[0].truth.sharp[40:])


def test_the_commands_work_and_say_what_is_wrong(
    photos: Path, motion: Path, testset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.png"
    assert cli.main(["evaluate", str(testset), "--json", "--sheet", str(sheet)]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == "stillpi-evaluation"
    assert cv2.imread(str(sheet)).shape == (360, 640, 3)
    # These photographs are too small for the command's 960x720.
    arguments = ["--photos", str(photos), "--motion", str(motion), "--all-photos"]
    assert cli.main(["testset", str(tmp_path / "set"), *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"stillpi-train: {photos}: photographs: found none")
    assert cli.main(["evaluate", str(tmp_path)]) == 2
    assert "bundles" in capsys.readouterr().err
