from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.bundle import read_bundle
from device.errors import InputError
from device.restore.pipeline import measured_field
from host_training.evaluate import BLURRED, Judged, evaluate
from host_training.methods import FILTER, open_methods
from host_training.real_photographs import RealPhoto, read_real_photographs, restore_real
from host_training.report import (
    LARGEST_PICTURE_BYTES,
    Report,
    credit_of,
    read_credits,
    set_digest,
    write_report,
)
from host_training.seed_protocol import PROTOCOL
from host_training.sheets import judged_row
from host_training.shot import ShotOptions
from host_training.testset import make_testset
from host_training.truth import list_bundles

METHODS = open_methods([], threads=1)


@pytest.fixture(scope="module")
def testset(
    photos: Path, motion: Path, tmp_path_factory: pytest.TempPathFactory, small: ShotOptions
) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "set"
    make_testset(folder, photos, motion, count=1, seed=6, options=small)
    return folder


@pytest.fixture(scope="module")
def judged(testset: Path) -> list[Judged]:
    return list(evaluate(testset, METHODS))


def test_a_report_shows_tables_and_only_what_may_be_shown(
    testset: Path, judged: list[Judged], tmp_path: Path
) -> None:
    bundle = read_bundle(list_bundles(testset)[0])
    field = measured_field(bundle)[1]
    free = RealPhoto("free/photo", bundle, field, "somebody, MIT")
    private = RealPhoto("private/photo", bundle, field, None)
    noise = np.random.default_rng(1).integers(110, 140, (400, 1600, 3), np.uint8)
    report = Report(
        testset=testset,
        scores=[one.score for one in judged],
        methods=METHODS,
        rows=[(judged_row(judged[0], [FILTER], FILTER), "someone, CC0"), (noise, "noise, CC0")],
        real=list(restore_real([free, private], METHODS)),
        missing=["other: not there"],
        seed_protocol={
            "protocol": PROTOCOL,
            "photographs": 10,
            "crop_px": 256,
            "step": 9,
            "batch_size": 16,
            "command": "stillpi-train seed-protocol run",
            "methods": {
                BLURRED: {"psnr_db": 20.0, "worst_gain_db": 0.0},
                "seed_unet": {"psnr_db": 24.0, "worst_gain_db": 1.5},
            },
        },
        command="stillpi-train evaluate set --report REPORT.md",
    )
    page = tmp_path / "REPORT.md"
    write_report(report, page)
    text = page.read_text()
    assert f"1 bundles, seed 6, sha256 {set_digest(testset)}" in text
    assert f"| {judged[0].score.quality[FILTER].psnr_db:.2f} |" in text
    assert "| seed_unet | 24.00 | +1.50 |" in text
    assert "Not judged: other: not there." in text
    assert "| private/photo |" in text
    written = sorted(path.name for path in (tmp_path / "report").iterdir())
    assert written == ["free.jpg", "testset-0.jpg", "testset-1.jpg"]
    for name in written:
        assert f"(report/{name})" in text
        path = tmp_path / "report" / name
        assert path.stat().st_size <= LARGEST_PICTURE_BYTES
        assert cv2.imread(str(path)) is not None


def test_a_log_cannot_be_swapped_with_nobodys(testset: Path) -> None:
    with pytest.raises(InputError, match="found one, expected two or more"):
        next(evaluate(testset, METHODS, swaps=True))


def test_the_digest_is_of_every_file(testset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "set"
    shutil.copytree(testset, copy)
    assert set_digest(copy) == set_digest(testset)
    (copy / "notes.txt").write_text("of no bundle")
    assert set_digest(copy) == set_digest(testset)
    calibration = list_bundles(copy)[0] / "camera.yaml"
    calibration.write_text(calibration.read_text() + "\n")
    assert set_digest(copy) != set_digest(testset)


def test_credits_name_the_photographs_that_may_be_shown(
    judged: list[Judged], tmp_path: Path
) -> None:
    file = tmp_path / "credits.json"
    score = judged[0].score
    name = score.name.removesuffix(".capture").split("-", 1)[1]
    file.write_text(f'{{"{name}": "somebody, CC0"}}')
    assert credit_of(score, read_credits(file)) == "somebody, CC0"
    assert credit_of(score, {"another": "somebody"}) is None
    for content in ("[1]", '{"a": 3}', "no json"):
        file.write_text(content)
        with pytest.raises(InputError, match="credits"):
            read_credits(file)


def test_real_photographs_come_with_fields_and_credits(shared_data: Path, tmp_path: Path) -> None:
    photos, missing = read_real_photographs(shared_data / "gyro_blur", tmp_path / "scratch")
    assert missing == []
    by_recording: dict[str, list[RealPhoto]] = {}
    for photo in photos:
        by_recording.setdefault(photo.name.split("/")[0], []).append(photo)
    counts = {name: len(found) for name, found in by_recording.items()}
    assert counts == {
        "galaxy_nexus_chart": 1,
        "phone_video_20200109": 5,
        "deepgyro_raw": 4,
        "deepgyro_paper": 5,
    }
    unlicensed = {name for name, found in by_recording.items() if found[0].credit is None}
    assert unlicensed == {"deepgyro_raw", "deepgyro_paper"}
    church = by_recording["deepgyro_paper"][0]
    (result,) = restore_real([church], METHODS)
    assert result.residual[FILTER] < result.residual[BLURRED]
    assert 10 < np.median(church.field.length_px) < 40


def test_recordings_that_are_not_there_are_named(tmp_path: Path) -> None:
    photos, missing = read_real_photographs(tmp_path, tmp_path / "scratch")
    assert photos == []
    assert len(missing) == 4
    assert missing[0] == f"galaxy_nexus_chart: not in {tmp_path}"
