"""The guard over the whole picture: evidence in strips, one verdict for every cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.capture.camera import NoiseModel
from device.kernels.field import KernelField
from device.kernels.tiling import TileGrid, process_tiles
from device.restore.cells import cell_means
from device.restore.guard import (
    CELL_PX,
    evidence_tiles,
    stretched,
    trust_map,
)
from device.restore.noise import noise_variance
from device.restore.sparsity import GradientCells
from device.restore.wiener import frequency_plane
from device.restore.working import CHANGE_UNIT, Change, WorkingPhoto

Image = NDArray[np.float32]

_CELL_ROWS = 16
_GATHERING_SIGMA_PX = 16.0
"""Of the surroundings in which gradients are compared."""


@dataclass(frozen=True)
class Verdict:
    """trust : 0..1 for every cell of CELL_PX working pixels; leftover : power in units of noise."""

    trust: Image
    leftover: Image

    def to_json(self) -> dict[str, float]:
        """What the report says of it."""
        return {
            "trusted_share": round(float(self.trust.mean()), 4),
            "leftover_noise_units_median": round(float(np.median(self.leftover)), 3),
        }


def guard_photo(
    photo: WorkingPhoto,
    change: Change,
    field: KernelField,
    noise: NoiseModel,
    expected_share: NDArray[np.float64],
    grid: TileGrid,
    *,
    rings: bool,
    threads: int,
    show: Callable[[str, float], None],
) -> Verdict:
    """Compare photograph and re-blurred result, all at the working scale.

    rings : as in trust_map.
    """
    plane, weights = frequency_plane(*grid.shape), photo.luminance_weights
    rows, columns = -(-photo.height // CELL_PX), -(-photo.width // CELL_PX)
    level = np.empty((rows, columns), np.float32)
    photos, results = (GradientCells(rows, columns, CELL_PX) for _ in range(2))

    # Rows are read and strips are made in whole cells: sizes, steps and overlaps of the tiles are.
    def before_and_after(first: int, last: int) -> Image:
        (before,) = photo.luminance_rows(first, last)
        after = before + change[first:last].astype(np.float32) @ (CHANGE_UNIT * weights)
        cells = _cells(first, last)
        level[cells] = cell_means(before, CELL_PX)
        photos.fill(cells, before)
        results.fill(cells, after)
        return np.stack([before, after])

    def work(tiles: Image, uv_px: NDArray[np.float64]) -> Image:
        return evidence_tiles(tiles, field.paths_at(uv_px), plane)

    # Variance of the weighted sum, after averaging, in the guard's band of frequencies.
    share_in_band = float(np.square(plane.high_pass).mean())
    scale = np.float32(np.square(weights).sum() * share_in_band / photo.factor**2)
    leftover = np.empty((rows, columns), np.float32)
    present = np.empty((rows, columns), np.float32)
    strips = process_tiles(before_and_after, photo.width, photo.height, work, grid, threads=threads)
    for first, (left_over, fine) in strips:
        last = first + len(fine)
        cells = _cells(first, last)
        unit = scale * noise_variance(level[cells], noise, photo.tone)
        leftover[cells] = cell_means(np.square(left_over), CELL_PX) / unit
        present[cells] = cell_means(np.square(fine), CELL_PX) / unit
        show("guard", last / photo.height)
    shares = stretched(expected_share, rows, columns)
    sigma_px = stretched(field.sigma_px, rows, columns)
    clipped = _clipped_cells(photo, rows, columns)
    around = _GATHERING_SIGMA_PX / CELL_PX
    gathering = photos.density(around) - results.density(around)
    trust = trust_map(
        leftover, present, shares, sigma_px, field.usual_extent_px, clipped, gathering, rings=rings
    )
    return Verdict(trust, leftover)


def _cells(first: int, last: int) -> slice:
    """The rows of cells that hold these rows of pixels."""
    return slice(first // CELL_PX, -(-last // CELL_PX))


def _clipped_cells(photo: WorkingPhoto, rows: int, columns: int) -> Image:
    """Share of clipped pixels in every cell: (rows, columns)."""
    side = CELL_PX * photo.factor
    height = photo.pixels.shape[0]
    cells = np.empty((rows, columns), np.float32)
    for row in range(0, rows, _CELL_ROWS):
        first, last = row * side, min((row + _CELL_ROWS) * side, height)
        clipped = photo.clipped_rows(first, last).astype(np.float32)
        cells[row : row + _CELL_ROWS] = cell_means(clipped, side)
    return cells
