"""Means over cells, whole and cut off."""

from __future__ import annotations

import numpy as np
import pytest

from device.restore.cells import cell_means


def test_cell_means_of_a_picture_that_does_not_divide() -> None:
    values = np.random.default_rng(0).uniform(size=(19, 30)).astype(np.float32)
    means = cell_means(values, 8)
    assert means.shape == (3, 4)
    assert means[1, 2] == pytest.approx(values[8:16, 16:24].mean())
    # Incomplete cells repeat their last row and column.
    edge = np.pad(values, ((0, 5), (0, 2)), mode="edge")
    assert means[2, 3] == pytest.approx(edge[16:, 24:].mean())
