"""Tiles are as large as the path lets them be."""

from __future__ import annotations

import numpy as np
import pytest

from device.kernels.field import KernelField
from device.kernels.tiling import TileGrid, TileSide
from device.restore.grid import COARSE, FINE, LARGE_WIDTH_PX, grid_for, path_change_px

SPACING_PX, SIDE = 64, 12
EVERY = [
    grid for grids in (FINE, COARSE) for fitting in grids.by_extent.values() for grid in fitting
]


def field_of(extent_px: float, change_across: float, change_down: float = 0.0) -> KernelField:
    """A straight path along u; each end moves by the changes for every pixel across and down."""
    nodes = np.arange(SIDE) * float(SPACING_PX)
    length = extent_px + 2 * (change_across * nodes[None] + change_down * nodes[:, None])
    u = length[..., None] * np.linspace(-0.5, 0.5, 9)
    paths = np.stack([u, np.zeros_like(u)], axis=-1).astype(np.float32)
    sigma = np.zeros((SIDE, SIDE), np.float32)
    size = SPACING_PX * (SIDE - 1)
    return KernelField(size, size, nodes, nodes, paths, sigma, np.ones((SIDE, SIDE), bool))


RMS_OF_ENDS = float(np.sqrt(np.square(np.linspace(-1, 1, 9)).mean()))


def test_the_change_is_that_from_a_cores_middle_to_its_corners() -> None:
    grid = TileGrid(TileSide(192, 24, 32), TileSide(384, 24, 32))
    half_down, half_across = 0.5 * 112, 0.5 * 304
    found = path_change_px(field_of(8, 0.01), grid)
    assert found == pytest.approx(0.01 * half_across * RMS_OF_ENDS, rel=1e-3)
    found = path_change_px(field_of(8, 0.0, 0.01), grid)
    assert found == pytest.approx(0.01 * half_down * RMS_OF_ENDS, rel=1e-3)
    # Along one diagonal the two add up, along the other they cancel: the median lies between.
    found = path_change_px(field_of(8, 0.01, 0.01), TileGrid.square(192, 24, 32))
    assert found == pytest.approx(0.01 * half_down * RMS_OF_ENDS, rel=1e-3)


def test_a_path_that_does_not_change_gets_the_largest_tiles() -> None:
    assert grid_for(field_of(8, 0.0), 960) == TileGrid.square(256, 24, 104)
    assert grid_for(field_of(8, 0.0), 4056).shape == (256, 512)


def test_the_faster_the_path_changes_the_smaller_the_cores() -> None:
    for step in (72, 104):
        change = 2 * FINE.path_change_px / step / RMS_OF_ENDS
        assert grid_for(field_of(8, 0.99 * change), 960).down.step == step
        assert grid_for(field_of(8, 1.01 * change), 960).down.step < step


def test_a_path_that_changes_from_row_to_row_gets_wide_tiles() -> None:
    change = 0.2 / (0.5 * 112) / RMS_OF_ENDS
    assert grid_for(field_of(8, 0.0, 0.99 * change), 4056).shape == (192, 512)
    assert grid_for(field_of(8, 0.1 * change, 0.9 * change), 4056).shape == (192, 512)
    assert grid_for(field_of(8, 0.99 * change, 0.0), 4056).shape == (192, 192)
    assert grid_for(field_of(8, 0.8 * change, 0.8 * change), 4056).shape == (192, 192)


def test_where_even_the_finest_ignores_much_wide_tiles_may_ignore_hardly_more() -> None:
    fast = 0.5 / (0.5 * 112) / RMS_OF_ENDS
    finest = TileGrid.square(192, 24, 32)
    for share, wide in ((0.0, True), (0.1, True), (0.9, False)):
        field = field_of(8, share * fast, fast)
        grid = grid_for(field, 4056)
        assert (grid.across.size > grid.down.size) is wide
        assert path_change_px(field, grid) <= 1.15 * path_change_px(field, finest)


@pytest.mark.parametrize("width", [960, LARGE_WIDTH_PX + 1])
@pytest.mark.parametrize("extent_px", [1.0, 31.0, 33.0, 39.0, 41.0, 64.0])
@pytest.mark.parametrize("change", [0.0, 0.1])
def test_margins_hold_half_the_path(width: int, extent_px: float, change: float) -> None:
    grid = grid_for(field_of(extent_px, change), width)
    assert min(grid.down.margin, grid.across.margin) > extent_px / 2


def test_a_large_picture_is_never_cut_finest() -> None:
    assert grid_for(field_of(8, 0.015), LARGE_WIDTH_PX).down.step == 48
    assert grid_for(field_of(8, 0.015), LARGE_WIDTH_PX + 1).down.step >= 112


def test_without_a_valid_path_the_largest_tiles_do() -> None:
    field = field_of(8, 0.1)
    field.valid[:] = False
    assert path_change_px(field, TileGrid.square(192, 24, 32)) == 0.0
    assert grid_for(field, 960) == TileGrid.square(256, 24, 104)


@pytest.mark.parametrize("grid", EVERY, ids=str)
def test_strips_hold_whole_cells_and_sizes_small_primes(grid: TileGrid) -> None:
    for side in (grid.down, grid.across):
        assert not any(length % 8 for length in (side.step, side.overlap, side.size))
        rest = side.size
        for prime in (2, 3, 5, 7):
            while rest % prime == 0:
                rest //= prime
        assert rest == 1
        # Neighbours fade within what both have: no tile reaches the one after its neighbour.
        assert side.step >= side.overlap
