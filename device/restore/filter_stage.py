"""The inverse filter over the whole picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from device.capture.camera import NoiseModel
from device.kernels.field import KernelField
from device.kernels.psf import transfer_function
from device.kernels.tiling import TileGrid, process_tiles
from device.restore.noise import noise_variance
from device.restore.tone import LUMINANCE
from device.restore.wiener import filter_tiles, frequency_plane
from device.restore.working import CHANGE_UNIT, Change, WorkingPhoto

SHORT_GRID, LONG_GRID = TileGrid(144, 24, 32), TileGrid(192, 48, 32)
"""The path is taken as constant over a tile's core of 64 px, and it changes faster than one thinks:
cores of 128 px lose 0.7 dB on hands that turn (host_training/LOG.md)."""
WIDE_GRID = TileGrid(256, 48, 32)
"""For large pictures: the path changes with the angle of view, and there 128 px are as small an
angle. Half the work of LONG_GRID."""
SHORT_EXTENT_PX = 32.0
LARGE_WIDTH_PX = 2400


@dataclass(frozen=True)
class FilteredPhoto:
    """What the filter proposes, at the working scale.

    change : (h, w, C). underdamped : (h, w) change of the luminance under light damping, where it
        was asked for.
    expected_share : (tile rows, tile columns), what the guard expects of a sharp scene.
    """

    change: Change
    underdamped: Change | None
    expected_share: NDArray[np.float64]


def grid_for(extent_px: float, width_px: int) -> TileGrid:
    """Tiles whose margins hold half of a path of this extent."""
    if extent_px <= SHORT_EXTENT_PX:
        return SHORT_GRID
    return LONG_GRID if width_px <= LARGE_WIDTH_PX else WIDE_GRID


def filter_photo(
    photo: WorkingPhoto,
    field: KernelField,
    noise: NoiseModel,
    grid: TileGrid,
    *,
    threads: int,
    show: Callable[[str, float], None],
    underdamped: bool = False,
) -> FilteredPhoto:
    """Filter a photograph with its kernel field, both at the working scale.

    underdamped : compute that luminance too (R, G, B only). Invalid nodes are left unchanged.
    """
    weights = LUMINANCE if underdamped else None
    plane = frequency_plane(grid.size)
    expected: dict[tuple[float, float], float] = {}
    # Averaging factor^2 pixels divides the noise's variance.
    averaging = np.float32(1.0 / photo.factor**2)

    def work(tiles: NDArray[np.float32], uv_px: NDArray[np.float64]) -> NDArray[np.float32]:
        paths = field.paths_at(uv_px)
        H = transfer_function(paths, grid.size, grid.size)
        levels = tiles.mean(axis=(2, 3))
        variance = averaging * noise_variance(levels, noise, photo.tone).mean(axis=1)
        filtered = filter_tiles(
            tiles, H, variance, field.sigma_at(uv_px), plane, underdamped=weights
        )
        expected.update(zip(map(tuple, uv_px), filtered.expected_share, strict=True))
        step = np.clip(filtered.sharp, 0.0, 1.0) - tiles
        if filtered.underdamped is not None:
            luminance = np.tensordot(LUMINANCE, tiles, axes=(0, 1))
            lively = np.clip(filtered.underdamped, 0.0, 1.0) - luminance
            step = np.concatenate([step, lively[:, None]], axis=1)
        step *= (field.valid_at(uv_px) * _worth_undoing(paths))[:, None, None, None]
        return np.asarray(step, np.float32)

    change = np.empty((photo.height, photo.width, photo.channels), np.int16)
    lively = np.empty(change.shape[:2], np.int16) if underdamped else None
    strips = process_tiles(
        photo.linear_rows, photo.width, photo.height, work, grid, threads=threads
    )
    for first, strip in strips:
        last = first + strip.shape[1]
        step = np.rint(strip / CHANGE_UNIT)
        change[first:last] = np.moveaxis(step[: photo.channels], 0, 2)
        if lively is not None:
            lively[first:last] = step[-1]
        show("filter", last / photo.height)
    centres = product(grid.centres(photo.height), grid.centres(photo.width))
    shares = np.array([expected[u, v] for v, u in centres])
    shares = shares.reshape(grid.count(photo.height), grid.count(photo.width))
    return FilteredPhoto(change, lively, shares)


def _worth_undoing(paths: NDArray[np.float32]) -> NDArray[np.float32]:
    """0..1 for paths (n, 9, 2): under a pixel there is nothing to undo, and W only smooths."""
    return np.asarray(np.clip(np.ptp(paths, axis=1).max(axis=-1), 0.0, 1.0), np.float32)
