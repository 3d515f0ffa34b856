"""Tiles over a picture: every pixel once, weights that sum to one, whatever the sizes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from device.kernels.tiling import (
    TileFunction,
    TileGrid,
    TileSide,
    mirrored,
    process_tiles,
    tiles_in_row,
)
from device.restore.grid import COARSE, FINE

Image = NDArray[np.float32]

GRIDS = [
    TileGrid.square(256, 48, 32),
    *(fitting[0] for grids in (FINE, COARSE) for fitting in grids.by_extent.values()),
    TileGrid.square(32, 4, 8),
    TileGrid.square(24, 0, 12),
    TileGrid.square(16, 2, 0),
    TileGrid(TileSide(32, 4, 8), TileSide(56, 6, 12)),
]
SIDES = list(dict.fromkeys(side for grid in GRIDS for side in (grid.down, grid.across)))
SIZES = [(1, 1), (5, 7), (31, 33), (96, 95), (97, 127), (130, 301)]


def picture(width: int, height: int, channels: int = 2) -> Image:
    rng = np.random.default_rng(width * 1000 + height)
    return rng.uniform(0.0, 1.0, (channels, height, width)).astype(np.float32)


def tile_by_tile(function: Callable[[Image, float, float], Image]) -> TileFunction:
    """A function of all the tiles of a batch from one of a single tile and its centre."""

    def work(tiles: Image, centres: NDArray[np.float64]) -> Image:
        return np.stack([function(tile, u, v) for tile, (u, v) in zip(tiles, centres, strict=True)])

    return work


def put_together(
    source: Image,
    grid: TileGrid,
    function: Callable[[Image, float, float], Image] = lambda tile, u, v: tile,
    threads: int = 1,
) -> Image:
    """Process a picture and lay its strips below one another, checking that they do."""
    strips = []
    next_row = 0
    for first, strip in process_tiles(
        lambda a, b: source[:, a:b],
        source.shape[2],
        source.shape[1],
        tile_by_tile(function),
        grid,
        threads=threads,
    ):
        assert first == next_row
        next_row += strip.shape[1]
        strips.append(strip.copy())
    return np.concatenate(strips, axis=1)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_tiles_left_as_they_are_give_the_picture(grid: TileGrid, size: tuple[int, int]) -> None:
    source = picture(*size)
    result = put_together(source, grid)
    assert result.shape == source.shape
    assert np.abs(result - source).max() < 1e-6


@pytest.mark.parametrize("side", SIDES, ids=str)
def test_neighbouring_windows_sum_to_one(side: TileSide) -> None:
    total = np.zeros(side.step * 5 + side.size)
    for tile in range(6):
        total[tile * side.step : tile * side.step + side.size] += side.window()
    covered = total[side.lead : 5 * side.step + side.size - side.lead]
    assert covered == pytest.approx(np.ones(len(covered)), abs=1e-6)
    assert not side.window()[: side.margin].any()
    assert not side.window()[side.size - side.margin :].any()


@pytest.mark.parametrize("side", SIDES, ids=str)
@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 95, 96, 97, 128, 1000])
def test_as_many_tiles_as_needed_and_no_more(side: TileSide, length: int) -> None:
    """The last tile's full weight reaches the last pixel; one tile fewer would not."""
    full_until = side.count(length) * side.step - side.overlap
    assert full_until >= length
    assert full_until - side.step < length


def test_what_a_tile_does_at_its_margins_is_thrown_away() -> None:
    grid = TileGrid.square(64, 12, 8)

    def spoil_the_margins(tile: Image, u: float, v: float) -> Image:
        spoiled = np.full_like(tile, 1e3)
        inner = (slice(None), grid.down.inner, grid.across.inner)
        spoiled[inner] = tile[inner]
        return spoiled

    source = picture(101, 77)
    assert np.abs(put_together(source, grid, spoil_the_margins) - source).max() < 1e-6


@pytest.mark.parametrize("size", [(101, 77), (20, 300)], ids=str)
def test_a_tiles_centre_is_where_its_pixels_are(size: tuple[int, int]) -> None:
    """Ramps of coordinates: the middle of a tile inside the picture shows its own centre."""
    grid, (width, height) = TileGrid.square(48, 6, 12), size
    v, u = np.mgrid[:height, :width].astype(np.float32)
    seen = []

    def note(tile: Image, centre_u: float, centre_v: float) -> Image:
        middle = slice(grid.down.size // 2 - 1, grid.down.size // 2 + 1)
        seen.append((centre_u, centre_v, *tile[:, middle, middle].mean(axis=(1, 2))))
        return tile

    put_together(np.stack([u, v]), grid, note)
    assert len(seen) == grid.across.count(width) * grid.down.count(height)
    for centre_u, centre_v, shown_u, shown_v in seen:
        assert 0 <= centre_u <= width - 1
        assert 0 <= centre_v <= height - 1
        # A centre at the picture's edge stands for a tile whose middle lies beyond.
        if centre_u < width - 1:
            assert shown_u == pytest.approx(centre_u, abs=1e-3)
        if centre_v < height - 1:
            assert shown_v == pytest.approx(centre_v, abs=1e-3)


def test_beyond_the_edges_the_picture_is_mirrored() -> None:
    """The first tile of a small picture, whole, against NumPy's reflection."""
    grid, source = TileGrid.square(48, 6, 12), picture(30, 26)
    tiles: list[Image] = []

    def keep(tile: Image, u: float, v: float) -> Image:
        tiles.append(tile.copy())
        return tile

    put_together(source, grid, keep)
    lead = grid.down.lead
    sides = (lead, 48 - lead)
    expected = np.pad(source, ((0, 0), sides, sides), mode="reflect")
    assert np.array_equal(tiles[0], expected[:, :48, :48])


def test_mirroring_is_opencvs() -> None:
    assert mirrored(np.arange(-5, 9), 4).tolist() == [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert mirrored(np.arange(-3, 4), 1).tolist() == [0] * 7
    assert mirrored(np.arange(-3, 4), 2).tolist() == [1, 0, 1, 0, 1, 0, 1]


def test_threads_change_nothing() -> None:
    def blur(tile: Image, u: float, v: float) -> Image:
        return np.asarray(tile + np.roll(tile, 1, axis=2) * u + v, np.float32)

    source, grid = picture(301, 130), TileGrid.square(48, 6, 12)
    alone = put_together(source, grid, blur)
    assert np.array_equal(put_together(source, grid, blur, threads=3), alone)


def test_a_tile_function_may_change_the_number_of_channels() -> None:
    source = picture(70, 60, channels=3)
    result = put_together(source, TileGrid.square(32, 4, 8), lambda tile, u, v: tile[:1] * 2)
    assert result.shape == (1, 60, 70)
    assert np.abs(result - 2 * source[:1]).max() < 1e-6


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("height", [1, 30, 97, 500])
def test_every_row_is_read_once_from_top_to_bottom(grid: TileGrid, height: int) -> None:
    """Inside the picture, at most a strip's at a time: readers need not know of mirrors."""
    source = picture(40, height)
    asked: list[tuple[int, int]] = []

    def read(first: int, last: int) -> Image:
        asked.append((first, last))
        return source[:, first:last]

    for _ in process_tiles(read, 40, height, lambda tiles, centres: tiles, grid):
        pass
    read_rows = [row for first, last in asked for row in range(first, last)]
    assert read_rows == list(range(height))
    assert max(last - first for first, last in asked) <= grid.down.size


@pytest.mark.parametrize("size", [(30, 26), (101, 77)], ids=str)
def test_single_tiles_are_those_of_the_whole_picture(size: tuple[int, int]) -> None:
    grid, (width, height) = TileGrid(TileSide(48, 6, 12), TileSide(64, 8, 8)), size
    source = picture(width, height)
    seen: list[tuple[Image, float, float]] = []

    def keep(tile: Image, u: float, v: float) -> Image:
        seen.append((tile.copy(), u, v))
        return tile

    put_together(source, grid, keep)
    across = grid.across.count(width)
    for row in range(grid.down.count(height)):
        columns = range(row % 2, across, 2) if across > 1 else [0]
        tiles, centres = tiles_in_row(
            lambda first, last: source[:, first:last], width, height, grid, row, columns
        )
        expected = [seen[row * across + column] for column in columns]
        assert len(tiles) == len(expected)
        for tile, centre, (one, u, v) in zip(tiles, centres, expected, strict=True):
            assert np.array_equal(tile, one)
            assert tuple(centre) == (u, v)


def test_an_error_in_a_tile_reaches_the_caller() -> None:
    def fail(tile: Image, u: float, v: float) -> Image:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        put_together(picture(40, 40), TileGrid.square(32, 4, 8), fail, threads=2)
