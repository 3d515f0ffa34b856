"""How a picture is cut into tiles for the filter and the guard.

Over a tile the path is taken as constant; neighbours fade into one another. So a tile may be as
large as the path lets it: margins hold half of the path, cores are so small that the path changes
little from their middle to their corners. Larger tiles are up to twice as fast. Along a row of a
rolling shutter the path changes less than from row to row, so tiles may be wider than high.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.kernels.field import KernelField
from device.kernels.tiling import TileGrid, TileSide


@dataclass(frozen=True, slots=True)
class Grids:
    """by_extent : the extent of path that margins hold, in pixels, and such grids, finest first.
    path_change_px : from a core's middle to its corner, rms over the path: what may be ignored.
    """

    by_extent: dict[float, tuple[TileGrid, ...]]
    path_change_px: float


def _squares(*sides: tuple[int, int, int]) -> tuple[TileGrid, ...]:
    return tuple(TileGrid.square(*side) for side in sides)


def _shapes(margin: int, heights: tuple[int, ...], widths: tuple[int, ...]) -> tuple[TileGrid, ...]:
    """Tiles of every height, as wide as high or wider, that fade over 32 px."""
    return tuple(
        TileGrid(TileSide(height, margin, 32), TileSide(width, margin, 32))
        for height in heights
        for width in widths
        if width >= height
    )


FINE = Grids(
    {
        32.0: _squares((144, 24, 48), (192, 24, 72), (256, 24, 104)),
        np.inf: _squares((192, 48, 48), (256, 48, 80), (320, 48, 112)),
    },
    path_change_px=0.3,
)
"""Cores that fade all over: between two middles the errors of both sides cancel. Of tiles that the
path allows the larger are better: they know more of what the blur mixed."""
COARSE = Grids(
    {
        32.0: _shapes(24, (192, 256), (192, 256, 384, 512)),
        40.0: _shapes(32, (224, 288), (224, 288, 384, 512)),
        np.inf: _shapes(48, (256, 320), (256, 320, 384, 512)),
    },
    path_change_px=0.2,
)
"""For large photographs, where seconds count and detail is seldom sharp to the last pixel: a half
to a quarter of the work, 0.1 to 0.2 dB below the others (host_training/LOG.md)."""
LARGE_WIDTH_PX = 2400
_HARDLY_MORE = 1.15
"""Where the path changes too fast even for the finest grid, another may ignore that much more."""


def grid_for(field: KernelField, width_px: int) -> TileGrid:
    """The grid of least work that the paths allow, or one about as fine as the finest.

    field : at the working scale. width_px : of the whole photograph, at full scale.
    """
    grids = FINE if width_px <= LARGE_WIDTH_PX else COARSE
    extent_px = field.usual_extent_px
    fitting = next(found for held_px, found in grids.by_extent.items() if extent_px <= held_px)
    slopes = _slopes(field)
    finest_px = _change_px(slopes, fitting[0])
    allowed_px = max(grids.path_change_px, _HARDLY_MORE * finest_px)
    return min((g for g in fitting if _change_px(slopes, g) <= allowed_px), key=_work)


def path_change_px(field: KernelField, grid: TileGrid) -> float:
    """How much the path changes from the middle of a core to its corners, in pixels.

    Root mean square over the path, the median over the valid part of the field.
    """
    return _change_px(_slopes(field), grid)


def _work(grid: TileGrid) -> float:
    """Pixels that go through the transforms for every pixel of the picture."""
    return grid.pixels / (grid.down.step * grid.across.step)


Slopes = tuple[NDArray[np.float32], NDArray[np.float32]]


def _slopes(field: KernelField) -> Slopes:
    """Change of the paths for every pixel across and down, in the valid cells: (n, 9, 2) each."""
    paths, valid = field.paths_px, field.valid
    corners = [paths[:-1, :-1], paths[:-1, 1:], paths[1:, :-1], paths[1:, 1:]]
    known = valid[:-1, :-1] & valid[:-1, 1:] & valid[1:, :-1] & valid[1:, 1:]
    a, b, c, d = (corner[known] for corner in corners)
    twice = np.float32(0.5 / np.diff(field.node_u[:2])[0])
    return twice * (b - a + d - c), twice * (c - a + d - b)


def _change_px(slopes: Slopes, grid: TileGrid) -> float:
    across, down = slopes[0] * (0.5 * grid.across.step), slopes[1] * (0.5 * grid.down.step)
    if not len(across):
        return 0.0
    corners = np.concatenate([across + down, across - down])
    return float(np.median(np.sqrt(np.square(corners).sum(axis=-1).mean(axis=-1))))
