from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.bundle import Bundle, read_bundle
from device.errors import InputError
from device.kernels.field import KernelField
from device.restore.pipeline import measured_field
from host_training import cli
from host_training.evaluate import (
    BLURRED,
    ERRORS,
    EXACT,
    MEASURED,
    SWAPS,
    TRUTH,
    Judged,
    evaluate,
    exact_field,
    single_errors,
    swapped_logs,
)
from host_training.methods import FILTER, Method, Restored, open_methods
from host_training.metrics import psnr_db, ssim
from host_training.sheets import judged_row, telling
from host_training.shot import ShotOptions
from host_training.tables import gains_db, markdown, summary_json
from host_training.testset import make_testset, read_record
from host_training.truth import list_bundles, read_truth


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
    c1, c2 = 2.55**2, 7.65**2
    values = []
    for v in range(16, 48):
        for u in range(16, 56):
            for c in range(3):
                x, y = (p[v - 5 : v + 6, u - 5 : u + 6, c].astype(float) for p in (a, b))
                mx, my = (window * x).sum(), (window * y).sum()
                vx, vy = (window * x * x).sum() - mx**2, (window * y * y).sum() - my**2
                cov = (window * x * y).sum() - mx * my
                values.append(
                    (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
                )
    assert ssim(a, b) == pytest.approx(np.mean(values), abs=1e-4)


def perfect(truths: dict[Path, np.ndarray], told: list[KernelField]) -> Method:
    """Gives the truth back, and remembers what it was told."""

    def run(bundle: Bundle, field: KernelField) -> Restored:
        told.append(field)
        return Restored(truths[bundle.path], 0.5)

    return Method("perfect", run)


@pytest.fixture(scope="module")
def judged(testset: Path) -> list[Judged]:
    return list(evaluate(testset, open_methods([], threads=1), swaps=True, errors=True))


def test_every_method_is_told_every_field_and_judged_against_the_truth(testset: Path) -> None:
    paths = list_bundles(testset)
    truths = {path: read_truth(path).sharp for path in paths}
    told: list[KernelField] = []
    found = list(evaluate(testset, [perfect(truths, told)], swaps=True, errors=True))
    assert len(told) == 3 * (2 + len(SWAPS) + len(ERRORS))
    for one in found:
        score = one.score
        assert score.quality["perfect"].psnr_db == float("inf")
        assert score.quality["perfect"].ssim == pytest.approx(1.0)
        assert score.quality["perfect"].trusted_share == 0.5
        assert score.quality["perfect"].residual == score.truth_residual
        assert score.truth_residual is not None
        assert score.truth_residual < score.quality[BLURRED].residual
        assert set(score.psnr_db) == {EXACT, *SWAPS, *ERRORS}
        assert {db["perfect"] for db in score.psnr_db.values()} == {float("inf")}


def test_the_fields_differ_in_what_their_names_say(testset: Path) -> None:
    own, other = (read_bundle(path) for path in list_bundles(testset)[:2])
    truth = read_truth(own.path)
    exact = exact_field(own, truth).paths_px

    def off_px(bundle: Bundle) -> float:
        return float(np.abs(measured_field(bundle)[1].paths_px - exact).max())

    wrong = {name: off_px(bundle) for name, bundle in swapped_logs(own, other).items()}
    near = {name: off_px(b) for name, b in single_errors(own, truth.calibration).items()}
    assert wrong["zero"] == pytest.approx(np.abs(exact).max(), rel=0.2)
    assert wrong["reversed"] > 1.5 * wrong["zero"]
    assert wrong["foreign"] > 5 * near["no error"]
    assert near["no error"] < 0.3
    assert all(near[name] != near["no error"] for name in ERRORS[1:])
    changed = single_errors(own, truth.calibration)["bias"].calibration
    assert changed.gyro_bias_rad_s == own.calibration.gyro_bias_rad_s
    assert changed.timeshift_s == truth.calibration.timeshift_s != own.calibration.timeshift_s


def test_tables_hold_the_means_of_the_scores(judged: list[Judged]) -> None:
    scores = [one.score for one in judged]
    page = markdown(scores)
    gains = [s.quality[FILTER].psnr_db - s.quality[BLURRED].psnr_db for s in scores]
    assert gains_db(scores, FILTER).tolist() == gains
    oracle = np.array([s.psnr_db[EXACT][FILTER] - s.quality[BLURRED].psnr_db for s in scores])
    row = next(line for line in page.splitlines() if line.startswith("| filter | "))
    assert f"| {np.mean(gains):+.2f} | {np.min(gains):+.2f} | {oracle.mean():+.2f} |" in row
    assert f"| {oracle.mean() - np.mean(gains):.2f} |" in row
    foreign = [s.gain_db(FILTER, "foreign") for s in scores]
    assert f"| foreign | {np.mean(foreign):+.2f} ({np.min(foreign):+.2f}) |" in page
    assert f"| all of them | {np.mean(gains):+.2f} |" in page
    summary = json.loads(json.dumps(summary_json(scores)))
    assert summary["bundles"] == 3
    assert summary["methods"][FILTER]["gain_db"][MEASURED] == pytest.approx(np.mean(gains))


def test_a_sheet_shows_each_picture_in_its_place(judged: list[Judged]) -> None:
    one = judged[0]
    row = judged_row(one, [FILTER], FILTER)
    bar = row.shape[0] - 120
    assert row.shape == (bar + 120, 4 * 160, 3)
    shown = [one.picture(BLURRED), one.picture(FILTER), one.picture(FILTER, EXACT)]
    for place, picture_ in enumerate([*shown, one.picture(TRUTH)]):
        crop = row[bar:, 160 * place : 160 * (place + 1)]
        np.testing.assert_array_equal(crop, picture_)
    gains = gains_db([j.score for j in judged], FILTER)
    order = telling([j.score for j in judged], FILTER)
    assert gains[order].tolist() == sorted(gains.tolist())


def test_brief_methods_are_told_the_measured_and_the_exact_motion(testset: Path) -> None:
    truths = {path: read_truth(path).sharp for path in list_bundles(testset)}
    told: list[KernelField] = []
    brief = replace(perfect(truths, told), brief=True)
    methods = [*open_methods([], threads=1), brief]
    scores = [j.score for j in evaluate(testset, methods, swaps=True, errors=True)]
    assert len(told) == 3 * 2
    found = summary_json(scores)["methods"]
    assert set(found["perfect"]["gain_db"]) == {MEASURED, EXACT}
    assert set(found[FILTER]["gain_db"]) == {MEASURED, EXACT, *SWAPS, *ERRORS}
    overview, _, errors, swaps = [t for t in markdown(scores).split("\n\n") if t.startswith("|")]
    assert "perfect" in overview
    assert "perfect" not in errors + swaps


def test_without_a_model_only_the_filter_is_compared() -> None:
    names = [m.name for m in open_methods(["none"], threads=1, unguarded=True)]
    assert names == [FILTER, f"{FILTER}, unguarded"]
    with pytest.raises(InputError, match="nowhere: model: found nothing, expected a model bundle"):
        open_methods(["a=nowhere"], threads=1)


def test_a_test_set_says_what_it_was_made_with(testset: Path) -> None:
    record = read_record(testset)
    assert record is not None
    assert (record["seed"], record["count"], record["options"]["width"]) == (5, 3, 160)
    assert record["options"]["errors"]["time_shift_s"] == 1e-3
    assert read_record(testset / "elsewhere") is None


def test_the_commands_work_and_say_what_is_wrong(
    photos: Path, motion: Path, testset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.png"
    assert cli.main(["evaluate", str(testset), "--json", "--sheet", str(sheet)]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == "stillpi-evaluation"
    assert cv2.imread(str(sheet)).shape[1] == 640
    # These photographs are too small for the command's 960x720.
    arguments = ["--photos", str(photos), "--motion", str(motion), "--all-photos"]
    assert cli.main(["testset", str(tmp_path / "set"), *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"stillpi-train: {photos}: photographs: found none")
    assert cli.main(["evaluate", str(tmp_path)]) == 2
    assert "bundles" in capsys.readouterr().err
