"""What networks are shown of the field: channels, units, signs and places."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from device.kernels.encode import (
    PATHS_CHANNELS,
    PATHS_ENCODING,
    PATHS_STRIDE_PX,
    paths_view,
    vector_view,
)
from device.kernels.field import KernelField

WIDTH, HEIGHT = 128, 96
PIECES = [0, 1, 2, 3, 5, 6, 7, 8]
"""The nine poses without the middle one, which is always the origin."""


def field_of(paths: NDArray[np.float64]) -> KernelField:
    node_u, node_v = np.arange(0.0, WIDTH + 1, 32), np.arange(0.0, HEIGHT + 1, 32)
    shape = (len(node_v), len(node_u))
    filled = np.broadcast_to(paths, (*shape, 9, 2)).astype(np.float32)
    return KernelField(
        WIDTH, HEIGHT, node_u, node_v, filled, np.zeros(shape, np.float32), np.ones(shape, bool)
    )


def random_field() -> KernelField:
    paths = np.random.default_rng(0).uniform(-20, 20, (4, 5, 9, 2))
    paths[:, :, 4] = 0.0
    return field_of(paths)


def straight(du: float, dv: float) -> NDArray[np.float64]:
    return np.linspace(-0.5, 0.5, 9)[:, None] * [du, dv]


def test_the_paths_of_cell_middles_in_units_of_32_px() -> None:
    field = random_field()
    view = paths_view(field, 16, 8, 64, 40)
    assert view.shape == (PATHS_CHANNELS, 5, 8) == (16, 5, 8)
    assert view.dtype == np.float32
    for row, column in ((0, 0), (4, 7), (2, 3)):
        middle = np.array([[16 + 8 * column + 3.5, 8 + 8 * row + 3.5]])
        path = field.paths_at(middle)[0][PIECES] / 32.0
        assert view[:8, row, column] == pytest.approx(path[:, 0], abs=1e-6)
        assert view[8:, row, column] == pytest.approx(path[:, 1], abs=1e-6)


def test_neighbouring_tiles_show_the_same_cells_alike() -> None:
    field = random_field()
    left, right = paths_view(field, 0, 0, 64, 96), paths_view(field, 32, 0, 64, 96)
    assert np.array_equal(left[:, :, 4:], right[:, :, :4])


def test_a_tile_that_begins_outside_the_picture_shows_the_edge() -> None:
    field = random_field()
    view = paths_view(field, -16, -16, 32, 32)
    assert view[:8, 0, 0] == pytest.approx(field.paths_px[0, 0, PIECES, 0] / 32.0, abs=1e-6)


def test_the_encoding_has_a_number_models_name() -> None:
    """Changing the view without changing this number would feed old models nonsense."""
    assert PATHS_ENCODING == 1
    assert PATHS_STRIDE_PX == 8
    view = paths_view(field_of(straight(32.0, -16.0)), 0, 0, 8, 8)[:, 0, 0]
    instants = np.array([-4, -3, -2, -1, 1, 2, 3, 4]) / 8
    assert view == pytest.approx(np.concatenate([instants, -0.5 * instants]), abs=1e-6)


@pytest.mark.parametrize("chord", [(6.0, 8.0), (6.0, -8.0), (-6.0, 8.0), (-6.0, -8.0)])
def test_the_straight_vector_lies_in_the_right_half_plane(chord: tuple[float, float]) -> None:
    view = vector_view(field_of(straight(*chord)), 0, 0, 10, 6)
    assert view.shape == (3, 6, 10)
    sign = 1.0 if chord[0] > 0 else -1.0
    expected = np.array([10.0, sign * chord[0], sign * chord[1]])
    assert view == pytest.approx(np.broadcast_to(expected[:, None, None], view.shape), abs=1e-5)


def test_the_vector_is_the_chord_of_the_path_at_each_pixel() -> None:
    field = random_field()
    view = vector_view(field, 20, 30, 12, 9)
    for row, column in ((0, 0), (8, 11), (3, 5)):
        path = field.paths_at(np.array([[20.0 + column, 30.0 + row]]))[0]
        chord = path[-1] - path[0]
        norm, x, y = view[:, row, column]
        assert norm == pytest.approx(np.hypot(*chord), rel=1e-5)
        assert x >= 0
        # The same line: parallel, and as long.
        assert x * chord[1] - y * chord[0] == pytest.approx(0.0, abs=1e-3)
        assert np.hypot(x, y) == pytest.approx(norm, rel=1e-5)
