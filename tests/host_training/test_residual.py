from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from device.bundle import Bundle
from device.capture.camera import NoiseModel
from device.kernels.reblur import reblur
from device.restore.tone import from_linear, to_linear
from host_training.blur_fields import photograph_alone, uniform_field
from host_training.residual import reblur_residual

NOISE = NoiseModel(shot=2e-3, read=4e-3)
FIELD = uniform_field(200, 160, np.array([9.0, 4.0]))


@pytest.fixture(scope="module")
def sharp() -> np.ndarray:
    coarse = np.random.default_rng(3).integers(30, 200, (40, 50, 3), np.uint8)
    return cv2.resize(coarse, (200, 160), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def bundle(sharp: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    light = reblur(to_linear(sharp, "srgb"), FIELD)
    rng = np.random.default_rng(4)
    noisy = light + np.sqrt(NOISE.shot * light + NOISE.read**2) * rng.standard_normal(light.shape)
    pixels = from_linear(noisy.astype(np.float32), "srgb")
    folder = tmp_path_factory.mktemp("residual") / "a.capture"
    return photograph_alone(pixels, folder, noise=NOISE)


def test_the_truth_leaves_over_the_noise(sharp: np.ndarray, bundle: Bundle) -> None:
    assert reblur_residual(bundle, sharp, FIELD) == pytest.approx(1.0, abs=0.05)


def test_the_photograph_and_an_invention_leave_over_more(sharp: np.ndarray, bundle: Bundle) -> None:
    photo = bundle.read_pixels().astype(np.uint8)
    assert reblur_residual(bundle, photo, FIELD) > 1.3
    invented = sharp.copy()
    invented[60:100, 80:120] = 255 - invented[60:100, 80:120]
    assert reblur_residual(bundle, invented, FIELD) > 2


def test_clipped_pixels_and_what_they_reach_do_not_count(
    sharp: np.ndarray, bundle: Bundle, tmp_path: Path
) -> None:
    pixels = bundle.read_pixels().astype(np.uint8).copy()
    pixels[70, 90] = 255
    one_lamp = photograph_alone(pixels, tmp_path / "lamp.capture", noise=NOISE)
    lamp = sharp.copy()
    lamp[70, 90] = 255
    assert reblur_residual(one_lamp, lamp, FIELD) == pytest.approx(1.0, abs=0.05)
    white = photograph_alone(np.full_like(pixels, 255), tmp_path / "white.capture", noise=NOISE)
    assert reblur_residual(white, sharp, FIELD) is None
