"""How a picture is cut into tiles for the filter and the guard.

Over a tile the path is taken as constant; neighbours fade into one another. So a tile may be as
large as the path lets it: margins hold half of the path, cores are so small that the path changes
little from their middle to their corners. Larger tiles are up to twice as fast.
"""

from __future__ import annotations

import numpy as np

from device.kernels.field import KernelField
from device.kernels.tiling import TileGrid
from device.restore.guard import blur_extent_px

FINE_GRIDS: dict[float, tuple[TileGrid, ...]] = {
    32.0: (
        TileGrid(144, 24, 48), TileGrid(144, 24, 32), TileGrid(192, 24, 32), TileGrid(256, 24, 32),
    ),
    np.inf: (
        TileGrid(192, 48, 48), TileGrid(192, 48, 32), TileGrid(256, 48, 32), TileGrid(320, 48, 32),
    ),
}  # fmt: skip
"""By the extent of path that their margins hold, in pixels; finest first. The finest fade all over:
between two middles the errors of both sides cancel. Sizes are products of small primes."""
COARSE_GRIDS: dict[float, tuple[TileGrid, ...]] = {
    32.0: (TileGrid(192, 24, 32), TileGrid(256, 24, 32)),
    40.0: (TileGrid(224, 32, 32), TileGrid(288, 32, 32)),
    np.inf: (TileGrid(256, 48, 32), TileGrid(320, 48, 32)),
}
"""For large pictures, where seconds count and detail is seldom sharp to the last pixel."""
LARGE_WIDTH_PX = 2400
PATH_CHANGE_PX = 0.2
"""From the middle of a core to its corner, root mean square over the path: what may be ignored.
0.15 px more cost photographs with short blur 0.2 dB (host_training/LOG.md)."""


def grid_for(field: KernelField, width_px: int) -> TileGrid:
    """The largest tiles that the paths allow, or the finest.

    field : at the working scale. width_px : of the whole photograph, at full scale.
    """
    extent_px = blur_extent_px(field)
    grids_by_extent = FINE_GRIDS if width_px <= LARGE_WIDTH_PX else COARSE_GRIDS
    grids = next(grids for held_px, grids in grids_by_extent.items() if extent_px <= held_px)
    change = path_change(field)
    allowed = (g for g in reversed(grids) if change * g.step / 2 <= PATH_CHANGE_PX)
    return next(allowed, grids[0])


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
