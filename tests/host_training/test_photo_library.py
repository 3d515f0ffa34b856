"""Squares cut out of photographs for training."""

from __future__ import annotations

import numpy as np
import pytest

from host_training.photo_library import PhotoLibrary

SIZE = 64


@pytest.fixture
def library() -> PhotoLibrary:
    """One picture whose red grows to the right and whose green grows downwards, with fine blue."""
    down, across = np.mgrid[:256, :256]
    grain = np.random.default_rng(1).integers(0, 40_000, (256, 256))
    picture = np.stack([across * 200, down * 200, grain], axis=-1).astype(np.uint16)
    return PhotoLibrary(["ramps.png"], [picture], min_texture=0.0)


def test_cutouts_are_shrunk_turned_and_mirrored(library: PhotoLibrary) -> None:
    rng = np.random.default_rng(2)
    per_px = np.float64(200 / 65535)
    reductions, positions = [], set()
    for _ in range(200):
        red, green = np.moveaxis(library.cutout(SIZE, rng), 2, 0)[:2].astype(np.float64)
        # Change of red and green for a step down and a step across: a scaled member of D4.
        turn = np.array([[np.diff(c, axis=a).mean() for a in (0, 1)] for c in (red, green)])
        turn /= per_px
        reduction = np.abs(turn).max()
        reductions.append(reduction)
        unit = np.rint(turn / reduction).astype(int)
        np.testing.assert_array_equal(unit @ unit.T, np.eye(2, dtype=int))
        np.testing.assert_allclose(turn, reduction * unit, atol=0.05)
        positions.add(tuple(unit.ravel()))
    assert len(positions) == 8
    assert 0.97 < min(reductions) < 1.1
    assert 1.6 < max(reductions) < 1.75


def test_a_small_photograph_is_used_whole(library: PhotoLibrary) -> None:
    small = PhotoLibrary(library.names, [library.pictures[0][: SIZE + 3, :80]], min_texture=0.0)
    rng = np.random.default_rng(3)
    squares = [small.cutout(SIZE, rng) for _ in range(20)]
    assert {square.shape for square in squares} == {(SIZE, SIZE, 3)}


def test_the_same_seed_cuts_the_same_square(library: PhotoLibrary) -> None:
    one, again = (library.cutout(SIZE, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert one.flags.c_contiguous
