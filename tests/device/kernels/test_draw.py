"""The pictures of a kernel field: paths where they belong, scaled as stated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from device.kernels.draw import (
    draw_field,
    overlay_magnification,
    psf_sheet,
    psf_support_px,
    write_png,
)
from device.kernels.field import KernelField

WIDTH, HEIGHT = 640, 480


def straight_field(length_px: float) -> KernelField:
    """Every point smeared horizontally, from left to right, by the same length."""
    node_u, node_v = np.arange(0.0, WIDTH + 64, 64), np.arange(0.0, HEIGHT + 64, 64)
    paths = np.zeros((len(node_v), len(node_u), 9, 2), np.float32)
    paths[..., 0] = np.linspace(-length_px / 2, length_px / 2, 9)
    shape = paths.shape[:2]
    return KernelField(
        WIDTH, HEIGHT, node_u, node_v, paths, np.zeros(shape, np.float32), np.ones(shape, bool)
    )


@pytest.fixture
def grey_photo() -> NDArray[np.uint8]:
    return np.full((HEIGHT, WIDTH, 3), 128, np.uint8)


def test_paths_are_drawn_at_their_nodes_with_the_stated_length(
    grey_photo: NDArray[np.uint8],
) -> None:
    field = straight_field(10.0)
    before = grey_photo.copy()
    drawn = draw_field(grey_photo, field, magnification=4.0)
    assert drawn.shape == before.shape
    np.testing.assert_array_equal(grey_photo, before)
    row = drawn[64].astype(int)
    bluish, yellowish = row[:, 2] > row[:, 0] + 60, row[:, 0] > row[:, 2] + 60
    # The node at u = 128: 40 px long, blue where the exposure starts, yellow where it ends.
    assert bluish[112:118].all()
    assert yellowish[140:146].all()
    assert not (bluish | yellowish)[150:170].any()


def test_the_overlay_is_scaled_to_a_smaller_picture() -> None:
    small = np.full((HEIGHT // 2, WIDTH // 2, 3), 128, np.uint8)
    drawn = draw_field(small, straight_field(20.0), magnification=2.0).astype(int)
    yellow = 40 + np.flatnonzero(drawn[64, 40:100, 0] > drawn[64, 40:100, 2] + 60)
    assert 64 < yellow.min() < 74
    assert 72 < yellow.max() < 77


def test_invalid_nodes_are_marked_in_red(grey_photo: NDArray[np.uint8]) -> None:
    field = straight_field(10.0)
    field.valid[1, 2] = False
    around = draw_field(grey_photo, field)[58:71, 122:135].astype(int)
    assert (around[..., 0] - around[..., 2] > 60).any()
    assert not (around[..., 2] - around[..., 0] > 60).any()


@pytest.mark.parametrize(
    ("length_px", "scale", "factor"),
    [(1.0, 1.0, 50.0), (10.0, 1.0, 5.0), (10.0, 0.5, 10.0), (200.0, 1.0, 1.0), (0.0, 1.0, 1.0)],
)
def test_short_paths_are_enlarged_by_a_round_factor(
    length_px: float, scale: float, factor: float
) -> None:
    assert overlay_magnification(straight_field(length_px), scale) == pytest.approx(factor)


def test_every_psf_of_the_sheet_is_its_path(tmp_path: Path) -> None:
    field = straight_field(12.0)
    support = psf_support_px(field)
    assert support == 17
    sheet = psf_sheet(field, 3, 2, cell_px=support)
    assert sheet.shape == (2 * (support + 1) + 1, 3 * (support + 1) + 1)
    cell = sheet[1 : 1 + support, 1 : 1 + support]
    lit = np.argwhere(cell > 128)
    assert set(lit[:, 0]) == {support // 2}
    assert len(lit) == pytest.approx(12, abs=1)
    write_png(tmp_path / "sheet.png", sheet)
    with Image.open(tmp_path / "sheet.png") as stored:
        np.testing.assert_array_equal(np.asarray(stored), sheet)


def test_colours_survive_the_png(tmp_path: Path) -> None:
    picture = np.zeros((4, 5, 3), np.uint8)
    picture[..., 0] = 200
    write_png(tmp_path / "red.png", picture)
    with Image.open(tmp_path / "red.png") as stored:
        np.testing.assert_array_equal(np.asarray(stored), picture)
