from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.calibration import CameraCalibration
from device.capture.render import render_exposure
from device.capture.timing import FrameTiming
from device.errors import InputError
from device.kernels.field import kernel_field
from device.kernels.reblur import reblur
from device.motion.sources import HandShake, pose_track
from device.restore.tone import encode, to_linear
from host_training.hand_motion import HandMotion, read_hand_motion
from host_training.measurement import MeasurementErrors, measure
from host_training.photo_library import PhotoLibrary
from host_training.synthesize import (
    RenderedScene,
    SceneOptions,
    synthesize,
    window_timing,
)

OPTIONS = SceneOptions(
    window_px=160,
    frame_widths_px=(960,),
    blur_quantiles_px=(8.0, 9.0),
    near_share=0.0,
    layer_share=0.0,
)
CLEAN = MeasurementErrors(
    still_share=0.0,
    reversed_share=0.0,
    foreign_share=0.0,
    unknown_noise_share=0.0,
    jpeg_share=0.0,
    gain=(1.0, 1.001),
)


@pytest.fixture(scope="module")
def library(big_photos: Path) -> PhotoLibrary:
    return PhotoLibrary.read(big_photos, smallest_px=288, shrink=1, min_texture=2.0)


@pytest.fixture(scope="module")
def motions(motion: Path) -> list[HandMotion]:
    return read_hand_motion(motion)


@pytest.fixture(scope="module")
def scenes(library: PhotoLibrary, motions: list[HandMotion]) -> list[RenderedScene]:
    rngs = [np.random.default_rng(seed) for seed in range(4)]
    return [synthesize(library, motions, OPTIONS, rng) for rng in rngs]


@pytest.mark.parametrize("row_order", ["top_down", "bottom_up"])
def test_a_window_is_exactly_that_part_of_the_frame(row_order: str) -> None:
    frame = FrameTiming(10**12, 60_000_000, 200_000, row_order, 80)  # type: ignore[arg-type]
    t_ns = np.arange(frame.start_ns - 10**7, frame.end_ns + 10**7, 500_000)
    shake = HandShake(7, rate_rms_deg_s=25.0)
    track = pose_track(shake, np.eye(4), t_ns, reference_ns=frame.mid_ns)
    calibration = CameraCalibration(
        fx=300.0,
        fy=305.0,
        cx=40.0,
        cy=44.0,
        width=96,
        height=80,
        distortion_model="none",
        distortion_coeffs=(),
        T_cam_imu=np.eye(4),
    )
    coarse = np.random.default_rng(4).uniform(0.0, 1.0, (52, 64, 3)).astype(np.float32)
    picture, scene_K = cv2.resize(coarse, (128, 104)), calibration.K.copy()
    scene_K[:2, 2] += (16, 12)
    whole = render_exposure(picture, scene_K, calibration, frame, track, min_poses=90)
    left, top, size = 30, 21, 40
    part = replace(
        calibration, cx=calibration.cx - left, cy=calibration.cy - top, width=size, height=size
    )
    timing = window_timing(frame, top, size)
    np.testing.assert_array_equal(
        timing.row_mid_ns(np.arange(size)), frame.row_mid_ns(np.arange(top, top + size))
    )
    window = render_exposure(picture, scene_K, part, timing, track, min_poses=90)
    np.testing.assert_allclose(window, whole[top : top + size, left : left + size], atol=1e-4)


def test_scenes_have_the_blur_that_was_asked_for_and_their_field_explains_it(
    scenes: list[RenderedScene],
) -> None:
    inner = slice(40, -40)
    for made in scenes:
        assert 4 < made.blur_px < 16
        assert made.light.shape == made.sharp.shape == (160, 160, 3)
        sharp = to_linear(made.sharp, "srgb")
        light = np.clip(made.light.astype(np.float32), 0, 1)
        explained = np.mean((reblur(sharp, made.field) - light)[inner, inner] ** 2)
        assert explained < 0.25 * np.mean((sharp - light)[inner, inner] ** 2)


def test_a_near_scene_is_moved_by_translation_too(
    library: PhotoLibrary, motions: list[HandMotion]
) -> None:
    options = replace(OPTIONS, near_share=1.0, hand_model_share=1.0)
    made = synthesize(library, motions, options, np.random.default_rng(3))
    t_ns = np.arange(made.timing.start_ns - 10**7, made.timing.end_ns + 10**7, 500_000)
    calibration = made.calibration
    track = pose_track(made.source, calibration.T_cam_imu, t_ns, reference_ns=made.timing.mid_ns)
    turning_only = kernel_field(track, calibration, made.timing)
    difference_px = np.abs(made.field.paths_px - turning_only.paths_px).max()
    assert 0.05 < difference_px < 2 * options.translation_px


def test_without_errors_the_measured_field_is_the_exact_one(scenes: list[RenderedScene]) -> None:
    for made in scenes:
        clean = measure(made, CLEAN, np.random.default_rng(1), strength=0.0)
        error_px = np.abs(clean.field.paths_px - made.field.paths_px).max()
        assert error_px < 0.5
        # Errors are seldom large: one of a few draws is.
        wrong = [measure(made, CLEAN, np.random.default_rng(n), strength=1.0) for n in range(4)]
        assert max(np.abs(w.field.paths_px - made.field.paths_px).max() for w in wrong) > error_px


def test_the_filter_brings_the_picture_nearer_to_the_truth(scenes: list[RenderedScene]) -> None:
    inner = slice(40, -40)
    for made in scenes:
        seen = measure(made, CLEAN, np.random.default_rng(1), strength=0.0)
        sharp = seen.sharp.astype(np.float32) / 255
        blurred = seen.blurred.astype(np.float32) / 255
        after = np.mean((seen.filtered.astype(np.float32) - sharp)[inner, inner] ** 2)
        assert after < 0.6 * np.mean((blurred - sharp)[inner, inner] ** 2)


def test_without_motion_data_the_filter_leaves_the_photograph(scenes: list[RenderedScene]) -> None:
    still = measure(scenes[0], replace(CLEAN, still_share=1.0), np.random.default_rng(1))
    assert not still.field.paths_px.any()
    coded = encode(to_linear(still.blurred, "srgb").astype(np.float64), "srgb")
    np.testing.assert_allclose(still.filtered, coded, atol=1e-3)


def test_what_moves_with_the_camera_is_sharp_in_the_photograph(
    library: PhotoLibrary, motions: list[HandMotion]
) -> None:
    options = replace(OPTIONS, layer_share=1.0)
    made = synthesize(library, motions, options, np.random.default_rng(3))
    light = np.clip(made.light.astype(np.float32), 0, 1)
    error = np.abs(light - to_linear(made.sharp, "srgb")).max(axis=2)
    assert 0.04 < (error < 0.01).mean() < 0.6
    assert np.median(error) > 0.02


def test_a_sensor_mounted_backwards_mirrors_every_path(scenes: list[RenderedScene]) -> None:
    right, wrong = (
        measure(scenes[0], replace(CLEAN, reversed_share=share), np.random.default_rng(5)).field
        for share in (0.0, 1.0)
    )
    assert right.paths_px.any()
    np.testing.assert_array_equal(wrong.paths_px, -right.paths_px)


def test_foreign_motion_has_another_direction_or_length(scenes: list[RenderedScene]) -> None:
    errors = replace(CLEAN, foreign_share=1.0)
    foreign = measure(scenes[0], errors, np.random.default_rng(5))
    ratio = np.median(foreign.field.length_px) / scenes[0].blur_px
    assert 0.45 < ratio < 2.2
    assert np.abs(foreign.field.paths_px - scenes[0].field.paths_px).max() > 2


def test_every_measurement_has_noise_of_its_own(scenes: list[RenderedScene]) -> None:
    errors = MeasurementErrors(jpeg_share=1.0, unknown_noise_share=1.0)
    one, other = (measure(scenes[0], errors, np.random.default_rng(seed)) for seed in (1, 2))
    assert (one.blurred != other.blurred).mean() > 0.2
    again = measure(scenes[0], errors, np.random.default_rng(1))
    np.testing.assert_array_equal(one.blurred, again.blurred)
    np.testing.assert_array_equal(one.filtered, again.filtered)


def test_photographs_kept_for_tests_are_never_trained_on(big_photos: Path) -> None:
    names = PhotoLibrary.read(big_photos, smallest_px=288, shrink=1, min_texture=2.0).names
    assert names == ["a.png", "b.png"]


def test_a_photograph_that_does_not_decode_is_named(big_photos: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes((big_photos / "a.png").read_bytes()[:2000])
    with pytest.raises(InputError, match=r"a\.png"):
        PhotoLibrary.read(tmp_path, smallest_px=100, shrink=1)


def test_a_folder_of_small_photographs_is_one_clear_error(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(InputError, match="free for training"):
        PhotoLibrary.read(tmp_path, smallest_px=100, shrink=1)
