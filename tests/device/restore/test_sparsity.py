"""The density of gradients: of edges, of edges that came out double, of noise."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from device.restore.sparsity import GradientCells, density_of_tiles

GAUSSIAN = float(0.5 * np.log(2.0 / np.pi))
"""Of gradients that are normally distributed: their mean size over their rms."""


def bars(size: int = 128, *, ghosts: int = 1) -> NDArray[np.float32]:
    """Bars of random brightness across both directions, every edge `ghosts` times."""
    rng = np.random.default_rng(1)
    pattern = np.repeat(rng.uniform(0.1, 0.9, size // 12 + 1), 12)[:size]
    spread = np.mean([np.roll(pattern, 2 * ghost) for ghost in range(ghosts)], axis=0)
    return np.asarray(spread[:, None] + spread[None], np.float32)


def test_noise_has_the_density_of_a_normal_distribution() -> None:
    noise = np.random.default_rng(0).normal(0.5, 0.1, (1, 256, 256))
    assert density_of_tiles(noise)[0] == pytest.approx(GAUSSIAN, abs=0.01)


def test_every_edge_twice_is_denser_by_the_root_of_two() -> None:
    once, twice = density_of_tiles(np.stack([bars(), bars(ghosts=2)]))
    assert twice - once == pytest.approx(0.5 * np.log(2.0), abs=0.05)
    assert once < GAUSSIAN - 0.5


@pytest.mark.parametrize("scale", [0.01, 3.0])
def test_brightness_and_contrast_do_not_matter(scale: float) -> None:
    tile = bars()[None].astype(np.float64)
    assert density_of_tiles(scale * tile + 0.1) == pytest.approx(density_of_tiles(tile), abs=1e-6)


def test_a_flat_tile_has_some_density() -> None:
    assert np.isfinite(density_of_tiles(np.zeros((1, 16, 16)))).all()


def filled(light: NDArray[np.float32], strip: int, cell_px: int = 8) -> NDArray[np.float32]:
    rows, columns = (-(-side // cell_px) for side in light.shape)
    cells = GradientCells(rows, columns, cell_px)
    for first in range(0, len(light), strip):
        last = min(first + strip, len(light))
        cells.fill(slice(first // cell_px, -(-last // cell_px)), light[first:last])
    return cells.density(2.0)


def test_cells_tell_where_edges_came_out_double() -> None:
    light = np.concatenate([bars(), bars(ghosts=2)], axis=1)
    density = filled(light, 128)
    left, right = density[:, 2:12].mean(), density[:, 20:30].mean()
    assert right - left > 0.15


@pytest.mark.parametrize("strip", [40, 64])
def test_strips_hardly_matter_to_the_difference_of_two_pictures(strip: int) -> None:
    """What crosses from strip to strip is lost to both."""
    noise = np.random.default_rng(3).normal(0.0, 0.05, (128, 128)).astype(np.float32)
    pictures = (bars() + noise, bars(ghosts=2) + noise)
    in_strips, whole = (
        filled(pictures[1], rows) - filled(pictures[0], rows) for rows in (strip, 128)
    )
    assert whole.mean() > 0.05
    assert np.abs(in_strips - whole).mean() < 0.01


def test_a_picture_that_is_no_multiple_of_a_cell() -> None:
    assert filled(bars()[:67, :53], 24).shape == (9, 7)
