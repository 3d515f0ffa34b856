from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device.bundle import check_bundle, read_bundle
from device.errors import InputError
from device.kernels.field import kernel_field
from device.kernels.reblur import reblur
from device.motion.integrate import integrate_rates
from device.motion.rotations import rotation_log
from device.restore.tone import from_linear, to_linear
from firmware_bridge.gcsv import WT901_GSCALE_RAD_S
from host_training.metrics import psnr_db
from host_training.shot import ShotOptions
from host_training.testset import make_testset, usable_photos
from host_training.truth import list_bundles, read_truth


@pytest.fixture(scope="module")
def testset(
    photos: Path, motion: Path, tmp_path_factory: pytest.TempPathFactory, small: ShotOptions
) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "set"
    make_testset(folder, photos, motion, count=5, seed=3, options=small)
    return folder


def test_every_bundle_is_valid_and_has_its_truth(testset: Path) -> None:
    bundles = list_bundles(testset)
    assert len(bundles) == 5
    for path in bundles:
        assert check_bundle(path) == []
        bundle, truth = read_bundle(path), read_truth(path)
        assert truth.sharp.shape == (bundle.height, bundle.width, 3)
        assert truth.track.covers(bundle.timing.start_ns, bundle.timing.end_ns)
        coverage = bundle.imu_coverage()
        assert coverage.starts_before_s > 1.9
        assert coverage.ends_after_s > 0.25


def test_blur_lengths_cover_short_and_long(testset: Path) -> None:
    lengths_px = sorted(read_truth(path).blur_px for path in list_bundles(testset))
    assert lengths_px[0] < 9
    assert lengths_px[-1] > 20


def test_the_calibration_is_wrong_by_the_stated_errors(testset: Path) -> None:
    for path in list_bundles(testset):
        believed, true = read_bundle(path).calibration, read_truth(path).calibration
        assert abs(believed.timeshift_s - true.timeshift_s) == pytest.approx(1e-3)
        assert abs(believed.fx / true.fx - 1) == pytest.approx(0.005)
        bias = np.subtract(believed.gyro_bias_rad_s, true.gyro_bias_rad_s)
        assert np.degrees(np.linalg.norm(bias)) == pytest.approx(0.12)
        turned = rotation_log((believed.R_ci @ true.R_ci.T)[None])
        assert np.degrees(np.linalg.norm(turned)) == pytest.approx(0.3, rel=1e-3)


def test_the_log_is_the_motion_of_the_frame(testset: Path) -> None:
    """With the true calibration the log integrates to the exact poses, up to the sensor's noise."""
    for path in list_bundles(testset):
        bundle, truth = read_bundle(path), read_truth(path)
        cal = truth.calibration
        counts = bundle.samples.gyro_rad_s / WT901_GSCALE_RAD_S
        np.testing.assert_allclose(counts, np.rint(counts), atol=1e-6)
        t_camera_ns = bundle.samples.t_ns - round(cal.timeshift_s * 1e9)
        inside = (t_camera_ns >= truth.track.t_ns[0]) & (t_camera_ns <= truth.track.t_ns[-1])
        rate = bundle.samples.gyro_rad_s[inside] - np.array(cal.gyro_bias_rad_s)
        R_wi = integrate_rates(t_camera_ns[inside], rate)
        turned = cal.R_ci @ R_wi[-1] @ cal.R_ci.T
        exact = truth.track.rotation_at(t_camera_ns[inside])
        error = rotation_log((turned.T @ exact[0].T @ exact[-1])[None])
        assert np.degrees(np.linalg.norm(error)) < 0.05


def test_the_exact_field_explains_the_blur(testset: Path) -> None:
    """Re-blurring the truth with the exact kernel field gives the photograph, up to its noise."""
    for path in list_bundles(testset):
        bundle, truth = read_bundle(path), read_truth(path)
        field = kernel_field(truth.track, truth.calibration, bundle.timing)
        again = from_linear(reblur(to_linear(truth.sharp, "srgb"), field), "srgb")
        blurred = bundle.read_pixels().astype(np.uint8)
        inner = np.zeros(blurred.shape[:2], bool)
        margin = min(50, round(truth.blur_px) + 4)
        inner[margin:-margin, margin:-margin] = True
        assert psnr_db(again, blurred, inner) > psnr_db(truth.sharp, blurred, inner) + 2


def test_the_seed_decides_everything(
    photos: Path, motion: Path, tmp_path: Path, small: ShotOptions
) -> None:
    first, again, other = (
        make_testset(tmp_path / name, photos, motion, count=1, seed=seed, options=small)[0]
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    files = ("imu.gcsv", "camera.yaml", "capture.json", "frame.jpg")
    assert first.name == again.name
    assert all((first / f).read_bytes() == (again / f).read_bytes() for f in files)
    assert (first / "imu.gcsv").read_bytes() != (other / "imu.gcsv").read_bytes()


def test_a_layer_is_sharp_in_photograph_and_truth(
    photos: Path, motion: Path, tmp_path: Path, small: ShotOptions
) -> None:
    options = replace(small, layer=True)
    (path,) = make_testset(tmp_path / "set", photos, motion, count=1, options=options)
    truth = read_truth(path)
    assert truth.layer is not None
    assert (truth.layer == 255).mean() == pytest.approx(0.2, abs=0.03)
    blurred = read_bundle(path).read_pixels().astype(np.uint8)
    within = psnr_db(blurred, truth.sharp, truth.layer == 255)
    assert within > 28
    assert within > psnr_db(blurred, truth.sharp, truth.layer == 0) + 3


def test_photographs_without_texture_or_size_are_left_out(photos: Path, small: ShotOptions) -> None:
    assert [p.stem for p in usable_photos(photos, small)] == ["a", "b", "c"]
    with pytest.raises(InputError, match="large and sharp"):
        usable_photos(photos, replace(small, width=4000))


def test_a_folder_with_something_in_it_is_not_written_to(
    photos: Path, motion: Path, tmp_path: Path, small: ShotOptions
) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(InputError, match="empty folder"):
        make_testset(tmp_path, photos, motion, count=1, options=small)


def test_a_folder_without_recordings_is_one_clear_error(
    photos: Path, tmp_path: Path, small: ShotOptions
) -> None:
    (tmp_path / "motion").mkdir()
    (tmp_path / "motion" / "readme.txt").write_text("words\n")
    with pytest.raises(InputError, match="recorded motion"):
        make_testset(tmp_path / "set", photos, tmp_path / "motion", count=1, options=small)
