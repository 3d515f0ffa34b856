"""How a picture is cut into tiles for the filter and the guard.

Over a tile the path is taken as constant; neighbours fade into one another. So a tile may be as
large as the path lets it: margins hold half of the path, cores are so small that the path changes
little from their middle to their corners. Larger tiles are up to twice as fast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from device.kernels.field import KernelField
from device.kernels.tiling import TileGrid


@dataclass(frozen=True, slots=True)
class Grids:
    """by_extent : the extent of path that margins hold, in pixels, and such grids, finest first.
    path_change_px : from a core's middle to its corner, rms over the path: what may be ignored.
    """

    by_extent: dict[float, tuple[TileGrid, ...]]
    path_change_px: float


FINE = Grids(
    {
        32.0: (TileGrid(144, 24, 48), TileGrid(192, 24, 72), TileGrid(256, 24, 104)),
        np.inf: (TileGrid(192, 48, 48), TileGrid(256, 48, 80), TileGrid(320, 48, 112)),
    },
    path_change_px=0.3,
)
"""Cores that fade all over: between two middles the errors of both sides cancel. Of tiles that the
path allows the larger are better: they know more of what the blur mixed."""
COARSE = Grids(
    {
        32.0: (TileGrid(192, 24, 32), TileGrid(256, 24, 32)),
        40.0: (TileGrid(224, 32, 32), TileGrid(288, 32, 32)),
        np.inf: (TileGrid(256, 48, 32), TileGrid(320, 48, 32)),
    },
    path_change_px=0.2,
)
"""For large photographs, where seconds count and detail is seldom sharp to the last pixel: a half
to a quarter of the work, 0.1 to 0.2 dB below the others (host_training/LOG.md)."""
LARGE_WIDTH_PX = 2400


def grid_for(field: KernelField, width_px: int) -> TileGrid:
    """The largest tiles that the paths allow, or the finest.

    field : at the working scale. width_px : of the whole photograph, at full scale.
    """
    grids = FINE if width_px <= LARGE_WIDTH_PX else COARSE
    extent_px = field.usual_extent_px
    fitting = next(found for held_px, found in grids.by_extent.items() if extent_px <= held_px)
    change = path_change(field)
    allowed = (g for g in reversed(fitting) if change * g.step / 2 <= grids.path_change_px)
    return next(allowed, fitting[0])


def path_change(field: KernelField) -> float:
    """How much the path changes along the diagonal, in pixels for every pixel across and down.

    Root mean square over the path, the median over the valid part of the field.
    """
    spacing_px = float(np.diff(field.node_u[:2])[0])
    paths, valid = field.paths_px, field.valid
    changes = []
    for a, b in (
        ((slice(1, None), slice(1, None)), (slice(None, -1), slice(None, -1))),
        ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))),
    ):
        change_px = np.sqrt(np.square(paths[a] - paths[b]).sum(axis=-1).mean(axis=-1))
        changes.append(change_px[valid[a] & valid[b]])
    every = np.concatenate(changes)
    return float(np.median(every)) / spacing_px if every.size else 0.0
