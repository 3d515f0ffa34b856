"""Does the picture rather fit the mirror image of the measured motion?

A path and its mirror image erase the same frequencies, so re-blurring cannot tell a motion sensor
that is mounted the wrong way round. Both filters give pictures of the same power at every
frequency; they differ in phase. Where the path is right the light comes together in edges, and the
gradients are sparse; where it is mirrored every edge comes out as several. So tiles all over the
picture are filtered with both paths, and each casts a vote: by how much denser the gradients of the
mirrored path's picture are (device.restore.sparsity). What counts is whether the votes' mean
differs from 0 by more than they scatter. Where most paths are their own mirror images,
straight and even ones, there is nothing to tell and nothing to lose.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from device.capture.camera import NoiseModel
from device.kernels.field import KernelField
from device.kernels.psf import transfer_function
from device.kernels.tiling import TileGrid, TileSide, tiles_in_row
from device.restore.noise import noise_variance
from device.restore.sparsity import density_of_tiles
from device.restore.wiener import Image, filter_tiles, frequency_plane
from device.restore.working import WorkingPhoto

MIRRORED_BELOW = -2.5
"""Of 47 simulated photographs that were asked the right path scores 0.4 at least, the mirrored one
less than this in 41 (host_training/LOG.md)."""
_ASYMMETRY_PX = 2.0
"""From this distance between path and mirror image on: the median over the picture. Those of
lesser paths restore a picture as well."""
_TILES_A_SIDE = 7
_FEWEST_VOTES = 4


def mirror_score(
    photo: WorkingPhoto, field: KernelField, noise: NoiseModel, grid: TileGrid, *, threads: int
) -> float:
    """How clearly the picture speaks for the measured path (> 0) or for its mirror image (< 0).

    Everything at the working scale. In standard errors of the votes' mean; 0 where there is nothing
    to tell or nobody to ask.
    """
    # Read backwards and turned by half a turn, a path smears as its mirror image does.
    apart_px = np.abs(field.paths_px + field.paths_px[:, :, ::-1]).max(axis=(2, 3))
    if np.median(apart_px) < _ASYMMETRY_PX:
        return 0.0
    columns = _spread(grid.across, photo.width)

    def votes(row: int) -> NDArray[np.float64]:
        tiles, uv_px = tiles_in_row(
            photo.luminance_rows, photo.width, photo.height, grid, row, columns
        )
        return _votes(tiles, uv_px, photo, field, noise, grid)[field.valid_at(uv_px)]

    with ThreadPoolExecutor(threads) as pool:
        every = np.concatenate(list(pool.map(votes, _spread(grid.down, photo.height))))
    # Tiles overlap: no more votes are independent than fit beside one another.
    fitting = 1.0
    for side, length in ((grid.down, photo.height), (grid.across, photo.width)):
        fitting *= length / (side.step + side.overlap)
    independent = min(len(every), fitting)
    if independent < _FEWEST_VOTES:
        return 0.0
    error = every.std(ddof=1) / np.sqrt(independent)
    return float(every.mean() / max(error, 1e-9))


def _spread(side: TileSide, length: int) -> list[int]:
    """Some of the tiles along a side, evenly spread."""
    count = side.count(length)
    wanted = min(count, _TILES_A_SIDE)
    return [int((index + 0.5) * count / wanted) for index in range(wanted)]


def _votes(
    tiles: Image,
    uv_px: NDArray[np.float64],
    photo: WorkingPhoto,
    field: KernelField,
    noise: NoiseModel,
    grid: TileGrid,
) -> NDArray[np.float64]:
    """One of each luminance tile (n, 1, rows, columns): > 0 for the measured path."""
    H = transfer_function(field.paths_at(uv_px), *grid.shape)
    sigma_px, plane = field.sigma_at(uv_px), frequency_plane(*grid.shape)
    summed = np.float32(np.square(photo.luminance_weights).sum() / photo.factor**2)
    variance = summed * noise_variance(tiles.mean(axis=(1, 2, 3)), noise, photo.tone)
    measured, mirrored = (
        density_of_tiles(np.clip(filtered[:, 0, grid.down.inner, grid.across.inner], 0.0, 1.0))
        for filtered in (
            filter_tiles(tiles, seen, variance, sigma_px, plane).sharp for seen in (H, np.conj(H))
        )
    )
    return mirrored - measured
