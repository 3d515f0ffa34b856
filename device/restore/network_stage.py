"""The network over the whole picture: residuals on top of the filter's change."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from device.capture.camera import NoiseModel
from device.kernels.encode import PATHS_STRIDE_PX, paths_view
from device.kernels.field import KernelField
from device.kernels.tiling import TileGrid, process_tiles
from device.restore.filter_stage import FilteredPhoto
from device.restore.network import ModelBundle
from device.restore.noise import noise_variance
from device.restore.tone import LUMINANCE, coded, decoded
from device.restore.working import CHANGE_UNIT, Change, WorkingPhoto

Image = NDArray[np.float32]


def correct_photo(
    photo: WorkingPhoto,
    filtered: FilteredPhoto,
    field: KernelField,
    noise: NoiseModel,
    model: ModelBundle,
    *,
    show: Callable[[str, float], None],
) -> Change:
    """Let the network improve the filter's change (h, w, 3), at the working scale.

    filtered : with the underdamped luminance.
    """
    change, lively = filtered.change, filtered.underdamped
    assert lively is not None  # the filter is asked for it whenever there is a network

    def photo_and_filtered(first: int, last: int) -> Image:
        linear = photo.linear_rows(first, last)
        step = CHANGE_UNIT * np.moveaxis(change[first:last], 2, 0)
        luminance = np.tensordot(LUMINANCE, linear, axes=1) + CHANGE_UNIT * lively[first:last]
        return np.concatenate([linear, linear + step, luminance[None]])

    grid, size = model.grid, model.grid.size
    # A tile at the picture's end is told a centre held inside: its corner is looked up.
    lefts, tops = _corners(grid, photo.width), _corners(grid, photo.height)
    averaging = np.float32(1.0 / photo.factor**2)

    def one(tile: Image, u: float, v: float) -> Image:
        blurred, sharp, luminance = tile[:3], tile[3:6], tile[6:]
        if not field.valid_at(np.array([[u, v]]))[0]:
            return np.asarray(sharp - blurred, np.float32)
        filtered_code = coded(sharp, "srgb")
        level = blurred.mean(axis=0)
        cells = size // PATHS_STRIDE_PX
        by_cell = level.reshape(cells, PATHS_STRIDE_PX, cells, PATHS_STRIDE_PX).mean(axis=(1, 3))
        tensors = {
            "blurred": coded(blurred, "srgb"),
            "filtered": filtered_code,
            "underdamped": coded(luminance, "srgb"),
            "paths": paths_view(field, lefts[u], tops[v], size, size),
            "noise": np.sqrt(averaging * noise_variance(by_cell, noise, photo.tone))[None],
        }
        corrected = decoded(filtered_code + model.residual(tensors), "srgb")
        return np.asarray(corrected - blurred, np.float32)

    def work(tiles: Image, uv_px: NDArray[np.float64]) -> Image:
        return np.stack([one(tile, u, v) for tile, (u, v) in zip(tiles, uv_px, strict=True)])

    result = np.empty_like(change)
    # One thread: the network's runtime has threads of its own.
    strips = process_tiles(photo_and_filtered, photo.width, photo.height, work, grid)
    for first, strip in strips:
        last = first + strip.shape[1]
        result[first:last] = np.moveaxis(np.rint(strip / CHANGE_UNIT), 0, 2)
        show("network", last / photo.height)
    return result


def _corners(grid: TileGrid, length: int) -> dict[float, int]:
    """Where the tiles along a side begin, in pixels, by the centres that they are told."""
    centres = grid.centres(length).tolist()
    return {centre: i * grid.step - grid.lead for i, centre in enumerate(centres)}
