"""Overlapping tiles over a picture that is too large to hold in floating point.

The picture is read in strips, cut into square tiles, each tile goes through a function (in threads:
the transforms release the interpreter's lock), and the results are faded into one another. Nothing
larger than a strip is ever held, and every row is read once, from top to bottom, so that the
rows may come from another pass over tiles that is under way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import starmap
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Number = TypeVar("Number", bound=np.generic)

ReadRows = Callable[[int, int], NDArray[Number]]
"""(first row, row after the last), inside the picture -> (channels, rows, width)."""
TileFunction = Callable[[NDArray[Number], NDArray[np.float64]], Image]
"""Tiles (n, channels, size, size) and their centres (n, 2) in pixels (u, v) ->
(n, any channels, size, size), an array of the caller's own."""

BATCH_PIXELS = 130_000
"""Pixels of tiles that go through the function together, 6 tiles of 144 px: threads hinder each
other on small arrays, large ones cost memory."""


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Square tiles of `size` pixels.

    margin : pixels at each edge that are thrown away: there the picture wraps around.
    overlap : pixels over which neighbours fade into one another.
    """

    size: int = 256
    margin: int = 48
    overlap: int = 32

    @property
    def step(self) -> int:
        """From one tile to the next."""
        return self.size - 2 * self.margin - self.overlap

    @property
    def lead(self) -> int:
        """How far the first tile begins before the picture does."""
        return self.margin + self.overlap

    def count(self, length: int) -> int:
        """Tiles along a side of `length` pixels."""
        return -(-(length + self.overlap) // self.step)

    def centres(self, length: int) -> NDArray[np.float64]:
        """Centres of the tiles along a side, in pixels, held inside the picture."""
        middle = np.arange(self.count(length)) * self.step - self.lead + 0.5 * (self.size - 1)
        return np.clip(middle, 0.0, length - 1.0)

    def window(self) -> Image:
        """(size,) weight of a tile's rows: 0 on the margins; neighbours' weights sum to 1."""
        ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(self.overlap) + 0.5) / self.overlap)
        window = np.zeros(self.size, np.float32)
        window[self.margin : self.size - self.margin] = 1.0
        window[self.margin : self.lead] = ramp
        window[self.size - self.lead : self.size - self.margin] = ramp[::-1]
        return window


def process_tiles(
    read_rows: ReadRows[Number],
    width: int,
    height: int,
    tile_function: TileFunction[Number],
    grid: TileGrid,
    *,
    threads: int = 1,
) -> Iterator[tuple[int, Image]]:
    """Yield (first row, strip (channels, rows, width)) from top to bottom, each row once.

    A strip is the caller's until the next one is asked for: all are made in one place.
    The next strip is begun, and the one behind it read, while the caller has this one.
    """
    window = grid.window()
    weight = np.outer(window, window).astype(np.float32)
    centres_u, centres_v = grid.centres(width), grid.centres(height)
    lefts = np.arange(len(centres_u)) * grid.step
    batch = max(1, BATCH_PIXELS // grid.size**2)
    batches = np.split(np.arange(len(lefts)), range(batch, len(lefts), batch))
    total: Image | None = None
    with ThreadPoolExecutor(threads) as pool:

        def begin(strip: NDArray[Number], centre_v: float) -> Iterator[Image]:
            """Set the threads to work on the tiles of a strip; the results come in order."""

            def work(columns: NDArray[np.intp]) -> Image:
                tiles = np.stack([strip[:, :, left : left + grid.size] for left in lefts[columns]])
                centres = np.stack([centres_u[columns], np.full(len(columns), centre_v)], axis=1)
                done = tile_function(tiles, centres)
                done *= weight
                return done

            return pool.map(work, batches)

        strips = _ahead(_padded_strips(read_rows, width, height, grid), pool)
        under_way = starmap(begin, zip(strips, centres_v, strict=True))
        upcoming = next(under_way)
        for index in range(len(centres_v)):
            # The next strip is begun already: the caller does not keep the threads waiting.
            current, upcoming = upcoming, next(under_way, iter(()))
            total = _fade(current, len(lefts), grid, total)
            # The first rows of the first strip are the fade-in before the picture.
            first = index * grid.step - grid.overlap
            begins, ends = max(first, 0), min(first + grid.step, height)
            if begins < ends:
                columns = slice(grid.overlap, grid.overlap + width)
                yield begins, total[:, begins - first : ends - first, columns]
            carried = total[:, grid.step :].copy()
            total[:] = 0.0
            total[:, : grid.overlap] = carried


def _fade(batches: Iterator[Image], count: int, grid: TileGrid, total: Image | None) -> Image:
    """Add weighted tiles to a strip without its margins: (channels, step + overlap, ...).

    total : with what the tiles above left in its first rows; None for the first strip.
    """
    inner = slice(grid.margin, grid.size - grid.margin)
    for column, tile in enumerate(tile for batch in batches for tile in batch):
        if total is None:
            width = (count - 1) * grid.step + grid.size - 2 * grid.margin
            total = np.zeros((tile.shape[0], grid.step + grid.overlap, width), np.float32)
        left = column * grid.step
        total[:, :, left : left + grid.step + grid.overlap] += tile[:, inner, inner]
    assert total is not None
    return total


def _padded_strips(
    read_rows: ReadRows[Number], width: int, height: int, grid: TileGrid
) -> Iterator[NDArray[Number]]:
    """The rows of each row of tiles, mirrored beyond the picture's edges."""
    tops = np.arange(grid.count(height)) * grid.step - grid.lead
    wanted = [mirrored(np.arange(top, top + grid.size), height) for top in tops]
    # Near the lower edge mirrored rows may lie above the strip itself.
    oldest = np.minimum.accumulate([rows.min() for rows in wanted][::-1])[::-1].tolist()
    wide = (grid.count(width) - 1) * grid.step + grid.size
    columns = mirrored(np.arange(-grid.lead, wide - grid.lead), width)
    held: NDArray[Number] | None = None
    first = end = 0
    for rows, keep_from in zip(wanted, oldest, strict=True):
        parts = [] if held is None else [held[:, keep_from - first :]]
        if (last := int(rows.max()) + 1) > end:
            parts.append(np.take(read_rows(end, last), columns, axis=2))
            end = last
        held, first = np.concatenate(parts, axis=1), keep_from
        whole = np.array_equal(rows, np.arange(first, end))
        yield held if whole else held[:, rows - first]


def _ahead(
    strips: Iterator[NDArray[Number]], pool: ThreadPoolExecutor
) -> Iterator[NDArray[Number]]:
    """The same strips, each made in a thread of the pool while the one before is worked on."""
    upcoming = pool.submit(next, strips, None)
    while (strip := upcoming.result()) is not None:
        upcoming = pool.submit(next, strips, None)
        yield strip


def mirrored(index: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    """Indices beyond 0..length-1 reflected at the outermost pixels (cv2.BORDER_REFLECT_101)."""
    if length == 1:
        return np.zeros_like(index)
    folded = np.abs(index) % (2 * (length - 1))
    return np.asarray(np.minimum(folded, 2 * (length - 1) - folded))
