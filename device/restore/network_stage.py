"""The network over the whole picture: residuals on top of the filter's change.

What the network is shown is cut from strips of linear light in 16-bit integers, half as large as
in floating point: blurred and filtered R, G, B and the underdamped luminance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from device.capture.camera import NoiseModel
from device.kernels.encode import PATHS_STRIDE_PX, paths_view
from device.kernels.field import KernelField
from device.kernels.tiling import TileSide, process_tiles
from device.restore.cells import cell_means
from device.restore.filter_stage import FilteredRows, worth_undoing
from device.restore.network import ModelBundle
from device.restore.noise import noise_variance
from device.restore.tone import code_of_steps, decoded
from device.restore.working import CHANGE_UNIT, LIGHT_STEPS, Change, WorkingPhoto

Image = NDArray[np.float32]
Light = NDArray[np.uint16]


def correct_photo(
    photo: WorkingPhoto,
    filtered: Iterable[FilteredRows],
    field: KernelField,
    noise: NoiseModel,
    model: ModelBundle,
    *,
    threads: int,
    show: Callable[[str, float], None],
) -> Change:
    """Let the network improve the filter's change (h, w, 3), at the working scale.

    filtered : all rows from top to bottom, with the underdamped luminance.
    """
    grid, size = model.grid, model.grid.down.size
    # A tile at the picture's end is told a centre held inside: its corner is looked up.
    lefts, tops = _corners(grid.across, photo.width), _corners(grid.down, photo.height)
    averaging = np.float32(1.0 / photo.factor**2)

    def one(tile: Light, u: float, v: float) -> Image:
        """The change of one tile (7, size, size), in units of a change."""
        blurred, sharp = tile[:3], tile[3:6]
        if not field.valid_at(np.array([[u, v]]))[0]:
            return np.asarray(0.5 * (sharp.astype(np.float32) - blurred), np.float32)
        codes = code_of_steps(tile, LIGHT_STEPS, "srgb")
        total = blurred.sum(axis=0, dtype=np.float32)
        level = cell_means(total, PATHS_STRIDE_PX) / np.float32(3 * LIGHT_STEPS)
        tensors = {
            "blurred": codes[:3],
            "filtered": codes[3:6],
            "underdamped": codes[6:],
            "paths": paths_view(field, lefts[u], tops[v], size, size),
            "noise": np.sqrt(averaging * noise_variance(level, noise, photo.tone))[None],
        }
        # A photograph that was not shaken is none of the network's business.
        worth = worth_undoing(field.paths_at(np.array([[u, v]])))[0]
        corrected = decoded(codes[3:6] + worth * model.residual(tensors), "srgb")
        return np.asarray(corrected / CHANGE_UNIT - np.float32(0.5) * blurred, np.float32)

    def work(tiles: Light, uv_px: NDArray[np.float64]) -> Image:
        return np.stack([one(tile, u, v) for tile, (u, v) in zip(tiles, uv_px, strict=True)])

    result = np.empty((photo.height, photo.width, 3), np.int16)
    source = _LightOfRows(photo, iter(filtered))
    strips = process_tiles(source.read, photo.width, photo.height, work, grid, threads=threads)
    for first, strip in strips:
        last = first + strip.shape[1]
        np.rint(strip, out=strip)
        result[first:last] = np.moveaxis(strip, 0, 2)
        show("network", last / photo.height)
    return result


class _LightOfRows:
    """Photograph and filtered rows as the tiles' seven channels, in whatever strips they come."""

    def __init__(self, photo: WorkingPhoto, filtered: Iterator[FilteredRows]) -> None:
        self._photo, self._filtered = photo, filtered
        self._read_until = 0
        self._left: list[Light] = []

    def read(self, first: int, last: int) -> Light:
        """(7, last - first, width), the rows that follow those of the call before."""
        while self._read_until < last:
            rows = next(self._filtered)
            end = self._read_until + len(rows.change)
            self._left.append(_light(self._photo.light_rows(self._read_until, end), rows))
            self._read_until = end
        every = np.concatenate(self._left, axis=1)
        # A view of the rest would keep all of it.
        self._left = [every[:, last - first :].copy()]
        return every[:, : last - first]


def _light(blurred: Light, rows: FilteredRows) -> Light:
    """Blurred and filtered R, G, B, underdamped luminance: (7, rows, width) in LIGHT_STEPS."""
    assert rows.underdamped is not None  # the filter is asked for it whenever there is a network
    light = np.empty((7, *blurred.shape[1:]), np.uint16)
    light[:3] = blurred
    wide = np.empty((4, *blurred.shape[1:]), np.int32)
    wide[:3] = blurred
    # The weights of tone.LUMINANCE, in fourths.
    wide[3] = (wide[0] + 2 * wide[1] + wide[2] + 2) >> 2
    # Added twice: its double may be more than 16 bits hold.
    for _ in range(2):
        wide[:3] += np.moveaxis(rows.change, 2, 0)
        wide[3] += rows.underdamped
    light[3:] = np.clip(wide, 0, LIGHT_STEPS, out=wide)
    return light


def _corners(cut: TileSide, length: int) -> dict[float, int]:
    """Where the tiles along a side begin, in pixels, by the centres that they are told."""
    return dict(zip(cut.centres(length).tolist(), cut.starts(length).tolist(), strict=True))
