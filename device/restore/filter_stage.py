"""The inverse filter over the whole picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


@dataclass(frozen=True)
class FilteredRows:
    """What the filter proposes for some rows or for all of them, at the working scale.

    change : (rows, w, C). underdamped : (rows, w) change of the luminance under light damping,
        where it was asked for.
    """

    change: Change
    underdamped: Change | None


@dataclass(frozen=True)
class FilteredPhoto(FilteredRows):
    """All rows, and expected_share : (tile rows, tile columns), that of FilterPass."""

    expected_share: NDArray[np.float64]


class FilterPass:
    """The filter on its way down a photograph, both it and the field at the working scale.

    Iterated over, once, it gives the rows from top to bottom, a strip at a time: whoever works on
    them as they come need not hold the whole picture's.
    underdamped : compute that luminance too (R, G, B only). Invalid nodes are left unchanged.
    precision : of the computation. In float32 processors differ in their last bits, and a network
        that rounds makes more of it; in float64 the rows are the same on all, and take longer.
    """

    def __init__(
        self,
        photo: WorkingPhoto,
        field: KernelField,
        noise: NoiseModel,
        grid: TileGrid,
        *,
        threads: int,
        underdamped: bool = False,
        precision: type[np.floating] = np.float32,
    ) -> None:
        self._photo, self._field, self._noise, self._grid = photo, field, noise, grid
        self._threads, self._underdamped, self._precision = threads, underdamped, precision
        self._plane = frequency_plane(*grid.shape)
        self._expected: dict[tuple[float, float], float] = {}

    def __iter__(self) -> Iterator[FilteredRows]:
        """The rows, strip by strip."""
        photo = self._photo
        strips = process_tiles(
            photo.linear_rows,
            photo.width,
            photo.height,
            self._step_in_tiles,
            self._grid,
            threads=self._threads,
        )
        for _, strip in strips:
            strip *= np.float32(1.0 / CHANGE_UNIT)
            step = np.rint(strip, out=strip).astype(np.int16)
            change = np.moveaxis(step[: photo.channels], 0, 2)
            yield FilteredRows(change, step[-1] if self._underdamped else None)

    @property
    def expected_share(self) -> NDArray[np.float64]:
        """(tile rows, tile columns), what the guard expects of a sharp scene; known at the end."""
        down = self._grid.down.centres(self._photo.height)
        across = self._grid.across.centres(self._photo.width)
        shares = [self._expected[u, v] for v, u in product(down, across)]
        return np.array(shares).reshape(len(down), len(across))

    def _step_in_tiles(
        self, tiles: NDArray[np.float32], uv_px: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Change of every channel, and of the luminance: (n, C or C + 1, rows, columns)."""
        photo, field, shape = self._photo, self._field, self._grid.shape
        tiles = tiles.astype(self._precision, copy=False)
        paths = field.paths_at(uv_px).astype(self._precision, copy=False)
        H = transfer_function(paths, *shape)
        levels = tiles.mean(axis=(2, 3))
        # Averaging factor^2 pixels divides the noise's variance.
        averaging = np.float32(1.0 / photo.factor**2)
        variance = averaging * noise_variance(levels, self._noise, photo.tone).mean(axis=1)
        weights = LUMINANCE if self._underdamped else None
        filtered = filter_tiles(
            tiles, H, variance, field.sigma_at(uv_px), self._plane, underdamped=weights
        )
        self._expected.update(zip(map(tuple, uv_px), filtered.expected_share, strict=True))
        count, channels = tiles.shape[:2]
        step = np.empty((count, channels + self._underdamped, *shape), np.float32)
        np.clip(filtered.sharp, 0.0, 1.0, out=step[:, :channels])
        step[:, :channels] -= tiles
        if filtered.underdamped is not None:
            luminance = LUMINANCE @ tiles.reshape(count, channels, -1)
            np.clip(filtered.underdamped, 0.0, 1.0, out=step[:, -1])
            step[:, -1] -= luminance.reshape(count, *shape)
        step *= (field.valid_at(uv_px) * worth_undoing(paths))[:, None, None, None]
        return step


def filter_photo(
    photo: WorkingPhoto,
    field: KernelField,
    noise: NoiseModel,
    grid: TileGrid,
    *,
    threads: int,
    show: Callable[[str, float], None],
    underdamped: bool = False,
    precision: type[np.floating] = np.float32,
) -> FilteredPhoto:
    """Filter a photograph with its kernel field, all rows; as FilterPass."""
    under_way = FilterPass(
        photo, field, noise, grid, threads=threads, underdamped=underdamped, precision=precision
    )
    change = np.empty((photo.height, photo.width, photo.channels), np.int16)
    lively = np.empty(change.shape[:2], np.int16) if underdamped else None
    first = 0
    for rows in under_way:
        last = first + len(rows.change)
        change[first:last] = rows.change
        if lively is not None and rows.underdamped is not None:
            lively[first:last] = rows.underdamped
        first = last
        show("filter", last / photo.height)
    return FilteredPhoto(change, lively, under_way.expected_share)


def worth_undoing(paths: NDArray[np.floating]) -> NDArray[np.float32]:
    """0..1 for paths (n, 9, 2): under a pixel there is nothing to undo, and W only smooths."""
    return np.asarray(np.clip(np.ptp(paths, axis=1).max(axis=-1), 0.0, 1.0), np.float32)
