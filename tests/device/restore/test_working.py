"""The working scale: reducing in light, enlarging a change, and where pixels are clipped."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from device.capture.camera import GammaCurve
from device.restore.tone import to_linear
from device.restore.working import (
    CHANGE_UNIT,
    LONGEST_EXTENT_PX,
    WorkingPhoto,
    enlarge_rows,
    reduction_for,
)


def codes(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("extent_px", "factor"),
    [(0.0, 1), (LONGEST_EXTENT_PX, 1), (64.1, 2), (128.0, 2), (128.1, 4), (160.0, 4), (900.0, 4)],
)
def test_long_paths_are_worked_on_at_a_smaller_scale(extent_px: float, factor: int) -> None:
    assert reduction_for(extent_px) == factor


@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("size", [(40, 60), (41, 63), (37, 58)], ids=str)
def test_rows_are_means_of_light(factor: int, size: tuple[int, int]) -> None:
    """Of factor x factor pixels, the last row and column repeated where they are missing."""
    pixels = codes(*size)
    photo = WorkingPhoto(pixels, "srgb", factor)
    light = to_linear(pixels, "srgb")
    padding = [(0, -side % factor) for side in size]
    light = np.pad(light, [*padding, (0, 0)], mode="edge")
    rows, columns = light.shape[0] // factor, light.shape[1] // factor
    expected = light.reshape(rows, factor, columns, factor, 3).mean(axis=(1, 3))
    assert (photo.height, photo.width, photo.channels) == (rows, columns, 3)
    found = photo.linear_rows(0, rows)
    assert found.shape == (3, rows, columns)
    assert found.flags.c_contiguous
    assert np.abs(np.moveaxis(found, 0, 2) - expected).max() < 1e-5


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_a_strip_is_a_part_of_the_whole(factor: int) -> None:
    photo = WorkingPhoto(codes(45, 50), "srgb", factor)
    whole = photo.linear_rows(0, photo.height)
    for first, last in ((0, 3), (4, 9), (photo.height - 2, photo.height)):
        assert np.array_equal(photo.linear_rows(first, last), whole[:, first:last])


@pytest.mark.parametrize("factor", [1, 2])
def test_a_grey_photograph_has_one_channel(factor: int) -> None:
    grey = WorkingPhoto(codes(20, 30)[:, :, 0], "srgb", factor)
    colour = WorkingPhoto(np.repeat(codes(20, 30)[:, :, :1], 3, axis=2), "srgb", factor)
    assert grey.channels == 1
    found = grey.linear_rows(2, 7)
    assert found.shape == (1, 5, 30 // factor)
    assert found[0] == pytest.approx(colour.linear_rows(2, 7)[0], abs=1e-6)


def test_sixteen_bits_and_camera_curves() -> None:
    pixels = codes(8, 8).astype(np.uint16) * 257
    curve = GammaCurve(((0.0, 0.0), (0.3, 0.7), (1.0, 1.0)))
    found = WorkingPhoto(pixels, curve, 1).linear_rows(0, 8)
    expected = WorkingPhoto(codes(8, 8), curve, 1).linear_rows(0, 8)
    assert found == pytest.approx(expected, abs=1e-5)


def test_any_channel_near_the_top_is_clipped() -> None:
    pixels = np.full((4, 5, 3), 100, np.uint8)
    pixels[1, 2, 0], pixels[3, 4, 2], pixels[2, 0, 1] = 255, 250, 249
    photo = WorkingPhoto(pixels, "srgb", 2)
    assert np.argwhere(photo.clipped_rows(0, 4)).tolist() == [[1, 2], [3, 4]]
    assert np.argwhere(photo.clipped_rows(2, 4)).tolist() == [[1, 4]]
    grey = WorkingPhoto(pixels[:, :, 0].astype(np.uint16) * 257, "srgb", 1)
    assert np.argwhere(grey.clipped_rows(0, 4)).tolist() == [[1, 2]]


@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("channels", [None, 1, 3])
def test_enlarging_keeps_a_slope_a_slope(factor: int, channels: int | None) -> None:
    """Inside; the outermost half cell goes on as it is. Pixel centres are at integers."""
    small = np.arange(12, dtype=np.float32)[:, None] * 8 + np.arange(9, dtype=np.float32)
    values = small if channels is None else np.repeat(small[:, :, None], channels, axis=2)
    large = enlarge_rows(values, factor, 0, 12 * factor)
    assert large.shape == (12 * factor, 9 * factor, *values.shape[2:])
    assert large.dtype == np.float32
    v, u = ((np.arange(n * factor) + 0.5) / factor - 0.5 for n in (12, 9))
    expected = np.clip(v, 0, 11)[:, None] * 8 + np.clip(u, 0, 8)
    shown = large if channels is None else large[:, :, 0]
    assert shown == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("factor", [2, 4, 8, 32])
def test_strips_of_an_enlargement_fit_together(factor: int) -> None:
    values = np.random.default_rng(0).integers(-32767, 32768, (11, 7, 3)).astype(np.int16)
    whole = enlarge_rows(values, factor, 0, 11 * factor)
    cuts = [0, 1, 5, 5 * factor + 1, 11 * factor]
    parts = [enlarge_rows(values, factor, a, b) for a, b in pairwise(cuts)]
    assert np.concatenate(parts) == pytest.approx(whole, abs=1e-2)


def test_a_change_keeps_every_step_of_sixteen_bits() -> None:
    values = np.array([[-32767, -1, 0, 1, 32767]], np.int16)
    light = enlarge_rows(values, 1, 0, 1) * CHANGE_UNIT
    assert light[0, 0] == -1.0
    assert light[0, -1] == 1.0
    assert np.array_equal(np.rint(light / CHANGE_UNIT).astype(np.int16), values)
