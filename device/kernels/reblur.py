"""Apply a kernel field to a sharp picture: the blur that the measured motion predicts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from device.kernels.field import KernelField
from device.kernels.psf import transfer_function
from device.kernels.tiling import TileGrid, process_tiles

FINE_GRID, COARSE_GRID = TileGrid.square(96, 24, 16), TileGrid.square(256, 48, 32)
FINE_EXTENT_PX = 48.0
"""The fine grid holds paths of up to this extent, and comes 8 dB closer to the forward model."""


def reblur(
    sharp_linear: NDArray[np.float32],
    field: KernelField,
    *,
    grid: TileGrid | None = None,
    threads: int = 1,
) -> NDArray[np.float32]:
    """Blur a picture (H, W, C) in linear light; the PSF is constant within a tile's core.

    grid : its margin should be at least half the longest path's extent; chosen so when None.
    The exact forward model, which moves every row's pose, is device.capture.render; this one needs
    only the field.
    """
    if grid is None:
        grid = FINE_GRID if field.extent_px <= FINE_EXTENT_PX else COARSE_GRID
    planes = np.ascontiguousarray(np.moveaxis(sharp_linear, 2, 0))

    def blur_tiles(tiles: NDArray[np.float32], uv_px: NDArray[np.float64]) -> NDArray[np.float32]:
        shape = tiles.shape[-2:]
        H = transfer_function(field.paths_at(uv_px), *shape)
        blurred: NDArray[np.float32] = fft.irfft2(fft.rfft2(tiles) * H[:, None], s=shape)
        return blurred

    result = np.empty_like(sharp_linear)
    height, width = sharp_linear.shape[:2]
    strips = process_tiles(
        lambda first, last: planes[:, first:last], width, height, blur_tiles, grid, threads=threads
    )
    for first, strip in strips:
        result[first : first + strip.shape[1]] = np.moveaxis(strip, 0, 2)
    return result
