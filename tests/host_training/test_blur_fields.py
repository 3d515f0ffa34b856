from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from device.errors import InputError
from device.kernels.reblur import reblur
from device.restore.pipeline import restore
from device.restore.tone import from_linear, to_linear
from host_training.blur_fields import photograph_alone, read_blur_field, uniform_field
from host_training.metrics import psnr_db


def write_grey(path: Path, values: np.ndarray) -> Path:
    cv2.imwrite(str(path), values.astype(np.uint8))
    return path


def test_a_uniform_smear_is_straight_and_centred() -> None:
    field = uniform_field(100, 70, np.array([8.0, -6.0]))
    path = field.paths_at(np.array([[3.0, 60.0], [99.0, 0.0]]))
    np.testing.assert_allclose(path[:, 0], [[-4.0, 3.0]] * 2)
    np.testing.assert_allclose(path[:, -1], [[4.0, -3.0]] * 2)
    np.testing.assert_allclose(field.length_px, 10.0)
    assert field.valid.all()


def test_blur_pictures_become_a_field(tmp_path: Path) -> None:
    u, v = np.meshgrid(np.arange(90), np.arange(60))
    across = write_grey(tmp_path / "x.png", 128 + u // 3)
    down = write_grey(tmp_path / "y.png", 128 - v // 2)
    field = read_blur_field(across, down)
    assert (field.width, field.height) == (90, 60)
    inner = np.array([[45.0, 30.0], [30.0, 20.0], [64.0, 40.0]])
    path = field.paths_at(inner)
    expected = inner * (1 / 3, -1 / 2)
    np.testing.assert_allclose(path[:, -1] - path[:, 0], expected, atol=1.0)
    # A pixel of rounding in each component, over a path from -1/2 to 1/2.
    assert 0.1 < field.sigma_px.min() == field.sigma_px.max() < 0.2
    assert field.node_u[-1] >= 89


def test_blur_pictures_that_are_none_are_refused(tmp_path: Path) -> None:
    across = write_grey(tmp_path / "x.png", np.full((60, 90), 128))
    small = write_grey(tmp_path / "y.png", np.full((60, 80), 128))
    with pytest.raises(InputError, match="size: found 80x60, expected 90x60"):
        read_blur_field(across, small)
    coloured = write_grey(tmp_path / "c.png", np.full((60, 90, 3), 128))
    with pytest.raises(InputError, match="expected an 8-bit grey picture"):
        read_blur_field(across, coloured)
    with pytest.raises(InputError, match="nothing"):
        read_blur_field(across, tmp_path / "none.png")


def test_a_photograph_without_a_log_is_restored_with_its_field(tmp_path: Path) -> None:
    coarse = np.random.default_rng(8).integers(20, 230, (60, 80, 3), np.uint8)
    sharp = cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC)
    field = uniform_field(320, 240, np.array([11.0, -5.0]))
    photo = from_linear(reblur(to_linear(sharp, "srgb"), field), "srgb")
    bundle = photograph_alone(photo, tmp_path / "a.capture")
    np.testing.assert_array_equal(bundle.read_pixels(), photo)
    restored = restore(bundle, field=field).pixels
    assert psnr_db(restored, sharp) > psnr_db(photo, sharp) + 3
    with pytest.raises(InputError):
        restore(bundle)  # there is no log to measure a field from
