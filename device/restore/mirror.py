"""Does the picture rather fit the mirror image of the measured motion?

A path and its mirror image erase the same frequencies, so re-blurring cannot tell a motion sensor
that is mounted the wrong way round. The network can: of what the filter proposes it keeps, and adds
to, more when the path is right, since the ghosts that the mirrored path leaves are not those of a
picture. Both paths are tried on a few parts of the photograph, and on more of them before it is
called mirrored: of a large one a few may mislead. Where most paths are their own mirror images,
straight and even ones, there is nothing to tell and nothing to lose.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from device.capture.camera import NoiseModel
from device.kernels.field import KernelField
from device.kernels.tiling import TileGrid
from device.restore.filter_stage import FilteredRows, FilterPass
from device.restore.network import ModelBundle
from device.restore.network_stage import correct_photo
from device.restore.working import WorkingPhoto

MIRRORED_BELOW = 0.95
"""For right paths the ratio is 0.97 to 1.6 on the test set, near 1 where a path is almost its own
mirror image; for mirrored ones its inverse."""
_ASYMMETRY_PX = 2.0
"""From this distance between path and mirror image on: the median over the picture. On the test
set the mirrored ones of lesser paths restored too, 0.3 to 2.2 dB, and the small model took a right
one for mirrored."""
_PART_PX = 384
"""At most, and a whole number of the filter's tiles."""
_PLACES = (
    (0.5, 0.5), (0.25, 0.25), (0.75, 0.75),
    (0.75, 0.25), (0.25, 0.75), (0.5, 0.25), (0.25, 0.5), (0.75, 0.5), (0.5, 0.75),
)  # fmt: skip
_AT_A_TIME = 3
Box = tuple[int, int, int, int]
"""Of a part: left, top, width, height in working pixels."""


def mirror_ratio(
    photo: WorkingPhoto,
    field: KernelField,
    noise: NoiseModel,
    grid: TileGrid,
    model: ModelBundle,
    *,
    threads: int,
) -> float:
    """How much more the network keeps of the measured path's change than of its mirror image's.

    Everything at the working scale, R, G, B. 1 where there is nothing to tell.
    """
    # Read backwards and turned by half a turn, a path smears as its mirror image does.
    apart_px = np.abs(field.paths_px + field.paths_px[:, :, ::-1]).max(axis=(2, 3))
    if np.median(apart_px) < _ASYMMETRY_PX:
        return 1.0
    both = [replace(field, paths_px=paths) for paths in (field.paths_px, -field.paths_px)]

    def powers(task: tuple[WorkingPhoto, KernelField]) -> tuple[float, float]:
        """Of the changes that the filter proposes and that the network makes of them."""
        part, seen = task
        tally = _Tally(FilterPass(part, seen, noise, grid, threads=1, underdamped=True))
        change = correct_photo(
            part, tally, seen, noise, model, threads=1, show=lambda stage, share: None
        )
        return tally.power, float(np.square(change, dtype=np.float32).sum(dtype=np.float64))

    ratio, sums, boxes = 1.0, np.zeros((2, 2)), _boxes(photo, grid)
    # A part is too small to keep several threads busy.
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(boxes), _AT_A_TIME):
            few = boxes[first : first + _AT_A_TIME]
            tasks = [_part(photo, seen, box) for seen in both for box in few]
            sums += np.array(list(pool.map(powers, tasks))).reshape(2, -1, 2).sum(axis=1)
            proposed, kept = sums.T
            if not (proposed.all() and kept.all()):
                return 1.0
            measured, mirrored = np.sqrt(kept / proposed)
            ratio = float(measured / mirrored)
            if ratio >= MIRRORED_BELOW:
                break
    return ratio


class _Tally:
    """Rows on their way through, and the power of the change that they propose."""

    def __init__(self, rows: Iterable[FilteredRows]) -> None:
        self._rows = rows
        self.power = 0.0

    def __iter__(self) -> Iterator[FilteredRows]:
        for rows in self._rows:
            self.power += float(np.square(rows.change, dtype=np.float32).sum(dtype=np.float64))
            yield rows


def _boxes(photo: WorkingPhoto, grid: TileGrid) -> list[Box]:
    """The parts in turn; a small photograph has fewer."""
    side = (_PART_PX + grid.overlap) // grid.step * grid.step - grid.overlap
    width, height = min(side, photo.width), min(side, photo.height)
    boxes = [
        (round(u * (photo.width - width)), round(v * (photo.height - height)), width, height)
        for u, v in _PLACES
    ]
    return list(dict.fromkeys(boxes))


def _part(photo: WorkingPhoto, field: KernelField, box: Box) -> tuple[WorkingPhoto, KernelField]:
    """A part of the photograph as one of its own, with its part of the field."""
    left, top, width, height = box
    f = photo.factor
    pixels = photo.pixels[top * f : (top + height) * f, left * f : (left + width) * f]
    moved = replace(field, node_u=field.node_u - left, node_v=field.node_v - top)
    return replace(photo, pixels=pixels), moved
