"""The gyroscope's bias: found in still moments, never in the sensor's dead-band or in a turn."""

from __future__ import annotations

import numpy as np
import pytest

from device.motion.bias import (
    CALIBRATED_SIGMA_RAD_S,
    UNCALIBRATED_SIGMA_RAD_S,
    estimate_bias,
)
from device.motion.rotations import FloatArray
from firmware_bridge.samples import ImuSamples

RATE_HZ = 200
NOISE_RAD_S = np.deg2rad(0.05)
BIAS_RAD_S = np.deg2rad([0.93, 0.81, -0.4])
COUNT_RAD_S = np.deg2rad(2000.0) / 32768


def still(duration_s: float, bias_rad_s: FloatArray = BIAS_RAD_S, seed: int = 0) -> FloatArray:
    rng = np.random.default_rng(seed)
    return bias_rad_s + NOISE_RAD_S * rng.standard_normal((round(duration_s * RATE_HZ), 3))


def swaying(duration_s: float) -> FloatArray:
    """A calm hand: a sway of 3 deg/s at 1.5 Hz with its tremor, on top of the bias."""
    t_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    phase = np.array([0.0, 1.0, 2.0])
    sway = np.deg2rad(3.0) * np.sin(2 * np.pi * 1.5 * t_s[:, None] + phase)
    tremor = np.deg2rad(0.5) * np.sin(2 * np.pi * 8.0 * t_s[:, None] + phase)
    return np.asarray(still(duration_s) + sway + tremor)


def log(*parts: FloatArray) -> ImuSamples:
    gyro = np.concatenate(parts)
    t_ns = 10**15 + np.arange(len(gyro), dtype=np.int64) * (10**9 // RATE_HZ)
    return ImuSamples(t_ns, gyro, np.full_like(gyro, np.nan))


def test_a_still_moment_before_the_shot_gives_the_bias() -> None:
    found = estimate_bias(log(still(0.8), swaying(1.5)), None)
    assert found.source == "still"
    # Half a second at 200 Hz and 0.05 deg/s of noise.
    assert np.abs(found.rate_rad_s - BIAS_RAD_S).max() < np.deg2rad(0.02)


def test_its_uncertainty_is_about_its_error() -> None:
    errors, sigmas = [], []
    for seed in range(40):
        found = estimate_bias(log(still(0.6, seed=seed), swaying(0.5)), None)
        errors.append(found.rate_rad_s - BIAS_RAD_S)
        sigmas.append(found.sigma_rad_s)
    actual = float(np.sqrt(np.mean(np.square(errors))))
    assert 0.5 * actual < np.mean(sigmas) < 3 * actual


def test_a_moving_hand_tells_nothing() -> None:
    found = estimate_bias(log(swaying(3.0)), None)
    assert found.source == "none"
    assert not found.rate_rad_s.any()
    assert found.sigma_rad_s == UNCALIBRATED_SIGMA_RAD_S


def test_then_the_calibration_speaks() -> None:
    found = estimate_bias(log(swaying(3.0)), BIAS_RAD_S)
    assert found.source == "calibration"
    assert found.rate_rad_s == pytest.approx(BIAS_RAD_S)
    assert found.sigma_rad_s == CALIBRATED_SIGMA_RAD_S


def test_a_still_moment_outranks_the_calibration() -> None:
    found = estimate_bias(log(still(0.8), swaying(1.0)), BIAS_RAD_S + 0.1)
    assert found.source == "still"
    assert np.abs(found.rate_rad_s - BIAS_RAD_S).max() < np.deg2rad(0.02)


@pytest.mark.parametrize("axes", [slice(0, 3), slice(1, 2)])
def test_exact_zeros_are_the_dead_band_not_a_bias_of_zero(axes: slice) -> None:
    """The sensor snaps a still gyroscope to zero, on every axis or on some."""
    snapped = still(1.0)
    snapped[:, axes] = 0.0
    found = estimate_bias(log(snapped, swaying(1.0)), BIAS_RAD_S)
    assert found.source == "calibration"


def test_a_still_moment_before_the_snap_is_still_used() -> None:
    found = estimate_bias(log(still(1.0), np.zeros((100, 3)), swaying(1.0)), None)
    assert found.source == "still"
    assert np.abs(found.rate_rad_s - BIAS_RAD_S).max() < np.deg2rad(0.03)


def test_an_even_turn_of_the_camera_is_no_bias() -> None:
    found = estimate_bias(log(still(2.0, np.deg2rad([0.0, 6.0, 0.0]))), None)
    assert found.source == "none"


def test_whole_counts_of_the_sensor_serve_as_well() -> None:
    counts = np.rint(still(0.8) / COUNT_RAD_S) * COUNT_RAD_S
    found = estimate_bias(log(counts, swaying(1.0)), None)
    assert found.source == "still"
    assert np.abs(found.rate_rad_s - BIAS_RAD_S).max() < np.deg2rad(0.02)


@pytest.mark.parametrize("count", [2, 7, 30])
def test_a_log_too_short_to_tell_says_nothing(count: int) -> None:
    assert estimate_bias(log(still(1.0)[:count]), None).source == "none"
