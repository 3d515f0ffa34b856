"""The noise model and its estimate, on pictures whose noise is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from device.capture.camera import GammaCurve, NoiseModel, Tone
from device.capture.develop import develop
from device.restore.noise import estimate_noise, noise_variance
from device.restore.tone import encode, to_linear

SENSORS = [NoiseModel(0.002, 0.003), NoiseModel(0.0005, 0.012), NoiseModel(0.006, 0.006)]
LEVELS = np.array([0.03, 0.1, 0.3, 0.6], np.float32)


def landscape(height: int = 512, width: int = 640, seed: int = 0) -> NDArray[np.float32]:
    """Smooth sky, hills, and a third full of fine detail; dark and light: (H, W, 3) linear."""
    rng = np.random.default_rng(seed)
    v, u = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    shading = 0.02 + 0.6 * u * (1 - 0.5 * v) + 0.05 * np.sin(9 * u + 5 * v)
    detail = np.where(v > 0.67, 0.3 * shading * rng.standard_normal((height, width)), 0.0)
    picture = np.clip(shading + detail, 0.005, 1.0)
    return np.repeat(picture[:, :, None], 3, axis=2).astype(np.float32)


def photograph(noise: NoiseModel, tone: Tone, seed: int = 0) -> NDArray[np.float32]:
    """Developed with noise to 8 bits, and back to linear light: its green channel."""
    pixels = develop(landscape(seed=seed), tone, noise, np.random.default_rng(seed + 100))
    return to_linear(pixels, tone)[:, :, 1]


@pytest.mark.parametrize("noise", SENSORS, ids=str)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_estimate_is_within_a_quarter_of_the_truth(noise: NoiseModel, seed: int) -> None:
    """The standard deviation, at every level from shadows to highlights."""
    found = estimate_noise(photograph(noise, "srgb", seed))
    true = np.sqrt(noise_variance(LEVELS, noise, "srgb"))
    estimated = np.sqrt(noise_variance(LEVELS, found, "srgb"))
    assert np.abs(estimated / true - 1).max() < 0.25, (estimated / true).tolist()


def test_detail_is_not_noise() -> None:
    """Twice as much of the picture in fine detail does not double the estimate."""
    noise = SENSORS[0]
    textured = photograph(noise, "srgb")[250:]
    found = noise_variance(LEVELS, estimate_noise(textured), "srgb")
    assert (found < 1.6 * noise_variance(LEVELS, noise, "srgb")).all()


def test_a_clean_picture_has_next_to_none() -> None:
    found = estimate_noise(photograph(NoiseModel(0.0, 0.0), "srgb"))
    assert np.sqrt(found.shot * 0.3 + found.read**2) < 0.004


def test_the_estimate_is_never_negative() -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        found = estimate_noise(rng.uniform(0, 1, (80, 80)).astype(np.float32) * 0.01)
        assert found.shot >= 0
        assert found.read >= 0


@pytest.mark.parametrize("shape", [(48, 64), (17, 17), (16, 16), (3, 200)])
def test_small_pictures_have_an_estimate_too(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    picture = (0.3 + 0.01 * rng.standard_normal(shape)).astype(np.float32)
    found = estimate_noise(picture)
    level = np.sqrt(found.shot * 0.3 + found.read**2)
    assert 0.004 < level < 0.025


def test_the_variance_is_the_sensors_and_that_of_the_codes() -> None:
    noise = NoiseModel(0.002, 0.003)
    sensor = 0.002 * LEVELS + 0.003**2
    found = noise_variance(LEVELS, noise, "srgb")
    for level, extra in zip(LEVELS, found - sensor, strict=True):
        # Light between neighbouring codes, from the curve's own slope.
        slope = (encode(level + 1e-4, "srgb") - encode(level - 1e-4, "srgb")) / 2e-4
        assert extra == pytest.approx(0.5 / (255 * float(slope)) ** 2, rel=0.03)


def test_rounding_weighs_more_where_the_curve_is_flat() -> None:
    flat = GammaCurve(((0.0, 0.0), (0.2, 0.8), (1.0, 1.0)))
    silent = NoiseModel(0.0, 0.0)
    dark, bright = noise_variance(np.array([0.1, 0.6], np.float32), silent, flat)
    assert bright / dark == pytest.approx(16.0**2, rel=0.02)
    linear = noise_variance(LEVELS, silent, "linear")
    assert linear == pytest.approx(np.full(4, 0.5 / 255**2), rel=1e-3)


def test_levels_beyond_the_range_count_as_its_ends() -> None:
    noise = NoiseModel(0.01, 0.0)
    beyond = noise_variance(np.array([-1.0, 2.0], np.float32), noise, "srgb")
    ends = noise_variance(np.array([0.0, 1.0], np.float32), noise, "srgb")
    assert np.array_equal(beyond, ends)
    assert noise_variance(0.5, noise, "srgb").shape == ()
