"""The inverse filter over the whole picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from device.capture.camera import NoiseModel
from device.kernels.field import KernelField
from device.kernels.psf import transfer_function
from device.kernels.tiling import TileGrid, process_tiles
from device.restore.noise import noise_variance
from device.restore.wiener import filter_tile, frequency_plane
from device.restore.working import CHANGE_UNIT, Change, WorkingPhoto

SHORT_GRID, LONG_GRID = TileGrid(144, 24, 32), TileGrid(192, 48, 32)
"""The path is taken as constant over a tile's core of 64 px, and it changes faster than one thinks:
cores of 128 px lose 0.7 dB on hands that turn (host_training/LOG.md)."""
SHORT_EXTENT_PX = 32.0


def grid_for(extent_px: float) -> TileGrid:
    """Tiles whose margins hold half of a path of this extent."""
    return SHORT_GRID if extent_px <= SHORT_EXTENT_PX else LONG_GRID


def filter_photo(
    photo: WorkingPhoto,
    field: KernelField,
    noise: NoiseModel,
    grid: TileGrid,
    *,
    threads: int,
    show: Callable[[str, float], None],
) -> tuple[Change, NDArray[np.float64]]:
    """Filter a photograph with its kernel field, both at the working scale.

    Returns the change (h, w, C) that the filter proposes, and for every tile (tile rows, tile
    columns) the share that the guard expects of a sharp scene. Invalid nodes are left unchanged.
    """
    plane = frequency_plane(grid.size)
    columns = {u: i for i, u in enumerate(grid.centres(photo.width).tolist())}
    rows = {v: i for i, v in enumerate(grid.centres(photo.height).tolist())}
    expected = np.ones((grid.count(photo.height), grid.count(photo.width)))
    # Averaging factor^2 pixels divides the noise's variance.
    averaging = np.float32(1.0 / photo.factor**2)

    def one(tile: NDArray[np.float32], u: float, v: float) -> NDArray[np.float32]:
        at = np.array([[u, v]])
        if not field.valid_at(at)[0]:
            return np.zeros_like(tile)
        H = transfer_function(field.paths_at(at)[0], grid.size, grid.size)
        levels = tile.mean(axis=(1, 2))
        variance = float(noise_variance(levels, noise, photo.tone).mean() * averaging)
        filtered = filter_tile(tile, H, variance, float(field.sigma_at(at)[0]), plane)
        expected[rows[v], columns[u]] = filtered.expected_share
        return np.asarray(np.clip(filtered.sharp, 0.0, 1.0) - tile, np.float32)

    change = np.empty((photo.height, photo.width, photo.channels), np.int16)
    strips = process_tiles(photo.linear_rows, photo.width, photo.height, one, grid, threads=threads)
    for first, strip in strips:
        last = first + strip.shape[1]
        change[first:last] = np.moveaxis(np.rint(strip / CHANGE_UNIT), 0, 2)
        show("filter", last / photo.height)
    return change, expected
