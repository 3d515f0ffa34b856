"""Overlapping tiles over a picture that is too large to hold in floating point.

The picture is read in strips, cut into tiles, each tile goes through a function (in threads:
the transforms release the interpreter's lock), and the results are faded into one another. Nothing
larger than a strip is ever held, and every row is read once, from top to bottom, so that the
rows may come from another pass over tiles that is under way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
"""Tiles (n, channels, rows, columns) and their centres (n, 2) in pixels (u, v) ->
(n, any channels, rows, columns), an array of the caller's own."""

BATCH_PIXELS = 130_000
"""Pixels of tiles that go through the function together, 6 tiles of 144 px: threads hinder each
other on small arrays, large ones cost memory."""


@dataclass(frozen=True, slots=True)
class TileSide:
    """How one side of a picture is cut: tiles of `size` pixels.

    margin : pixels at each end that are thrown away: there the picture wraps around.
    overlap : pixels over which neighbours fade into one another.
    """

    size: int
    margin: int
    overlap: int

    @property
    def step(self) -> int:
        """From one tile to the next."""
        return self.size - 2 * self.margin - self.overlap

    @property
    def lead(self) -> int:
        """How far the first tile begins before the picture does."""
        return self.margin + self.overlap

    @property
    def inner(self) -> slice:
        """A tile without its margins."""
        return slice(self.margin, self.size - self.margin)

    def count(self, length: int) -> int:
        """Tiles along a side of `length` pixels."""
        return -(-(length + self.overlap) // self.step)

    def starts(self, length: int) -> NDArray[np.intp]:
        """First pixels of the tiles along a side; they may lie beyond the picture."""
        return np.arange(self.count(length)) * self.step - self.lead

    def centres(self, length: int) -> NDArray[np.float64]:
        """Centres of the tiles along a side, in pixels, held inside the picture."""
        return np.clip(self.starts(length) + 0.5 * (self.size - 1), 0.0, length - 1.0)

    def pixels_of(self, index: int, length: int) -> NDArray[np.intp]:
        """(size,) which pixels a tile holds; beyond the picture they are mirrored."""
        first = index * self.step - self.lead
        return mirrored(np.arange(first, first + self.size), length)

    def window(self) -> Image:
        """(size,) weight of a tile's pixels: 0 on the margins; neighbours' weights sum to 1."""
        ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(self.overlap) + 0.5) / self.overlap)
        window = np.zeros(self.size, np.float32)
        window[self.inner] = 1.0
        window[self.margin : self.lead] = ramp
        window[self.size - self.lead : self.size - self.margin] = ramp[::-1]
        return window


@dataclass(frozen=True, slots=True)
class TileGrid:
    """How a picture is cut from top to bottom, and from left to right."""

    down: TileSide
    across: TileSide

    @classmethod
    def square(cls, size: int, margin: int, overlap: int) -> TileGrid:
        """The same cuts on both sides."""
        side = TileSide(size, margin, overlap)
        return cls(side, side)

    @property
    def shape(self) -> tuple[int, int]:
        """Of a tile: (rows, columns)."""
        return self.down.size, self.across.size

    @property
    def pixels(self) -> int:
        """Of a tile."""
        return self.down.size * self.across.size

    def window(self) -> Image:
        """Weights of a tile's pixels, of its shape."""
        return np.outer(self.down.window(), self.across.window()).astype(np.float32)


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
    down, across = grid.down, grid.across
    weight = grid.window()[down.inner, across.inner]
    centres_u, centres_v = across.centres(width), down.centres(height)
    lefts = np.arange(len(centres_u)) * across.step
    batch = max(1, BATCH_PIXELS // grid.pixels)
    batches = np.split(np.arange(len(lefts)), range(batch, len(lefts), batch))
    total: Image | None = None
    with ThreadPoolExecutor(threads) as pool:

        def begin(strip: NDArray[Number], centre_v: float) -> Iterator[Image]:
            """Set the threads to work on the tiles of a strip; the results come in order."""

            def work(columns: NDArray[np.intp]) -> Image:
                tiles = np.stack(
                    [strip[:, :, left : left + across.size] for left in lefts[columns]]
                )
                centres = np.stack([centres_u[columns], np.full(len(columns), centre_v)], axis=1)
                done = tile_function(tiles, centres)[..., down.inner, across.inner]
                done *= weight
                return done

            return pool.map(work, batches)

        strips = _ahead(_padded_strips(read_rows, width, height, grid), pool)
        under_way = starmap(begin, zip(strips, centres_v, strict=True))
        upcoming = next(under_way)
        for index in range(len(centres_v)):
            # The next strip is begun already: the caller does not keep the threads waiting.
            current, upcoming = upcoming, next(under_way, iter(()))
            total = _fade(current, lefts, total)
            # The first rows of the first strip are the fade-in before the picture.
            first = index * down.step - down.overlap
            begins, ends = max(first, 0), min(first + down.step, height)
            if begins < ends:
                columns = slice(across.overlap, across.overlap + width)
                yield begins, total[:, begins - first : ends - first, columns]
            carried = total[:, down.step :].copy()
            total[:] = 0.0
            total[:, : down.overlap] = carried


def tiles_in_row(
    read_rows: ReadRows[Number],
    width: int,
    height: int,
    grid: TileGrid,
    row: int,
    columns: Sequence[int],
) -> tuple[NDArray[Number], NDArray[np.float64]]:
    """Some tiles of one row of them and their centres, as process_tiles has them in hand."""
    down, across = grid.down, grid.across
    centres = across.centres(width)[list(columns)]
    uv_px = np.stack([centres, np.full(len(centres), down.centres(height)[row])], axis=1)
    rows = down.pixels_of(row, height)
    strip = read_rows(int(rows.min()), int(rows.max()) + 1)[:, rows - rows.min()]
    return np.stack([strip[..., across.pixels_of(column, width)] for column in columns]), uv_px


def _fade(batches: Iterator[Image], lefts: NDArray[np.intp], total: Image | None) -> Image:
    """Add weighted tiles without their margins to a strip: (channels, step + overlap, ...).

    total : with what the tiles above left in its first rows; None for the first strip.
    """
    for left, tile in zip(lefts, (tile for batch in batches for tile in batch), strict=True):
        if total is None:
            total = np.zeros((*tile.shape[:2], lefts[-1] + tile.shape[2]), np.float32)
        total[:, :, left : left + tile.shape[2]] += tile
    assert total is not None
    return total


def _padded_strips(
    read_rows: ReadRows[Number], width: int, height: int, grid: TileGrid
) -> Iterator[NDArray[Number]]:
    """The rows of each row of tiles, mirrored beyond the picture's edges."""
    down, across = grid.down, grid.across
    wanted = [down.pixels_of(index, height) for index in range(down.count(height))]
    # Near the lower edge mirrored rows may lie above the strip itself.
    oldest = np.minimum.accumulate([rows.min() for rows in wanted][::-1])[::-1].tolist()
    wide = (across.count(width) - 1) * across.step + across.size
    columns = mirrored(np.arange(-across.lead, wide - across.lead), width)
    before, after = columns[: across.lead], columns[across.lead + width :]

    def widened(rows: NDArray[Number]) -> NDArray[Number]:
        return np.concatenate([rows[..., before], rows, rows[..., after]], axis=2)

    held: NDArray[Number] | None = None
    first = end = 0
    for rows, keep_from in zip(wanted, oldest, strict=True):
        parts = [] if held is None else [held[:, keep_from - first :]]
        if (last := int(rows.max()) + 1) > end:
            parts.append(widened(read_rows(end, last)))
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
