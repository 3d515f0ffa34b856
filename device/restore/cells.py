"""Means over square cells: the maps that are coarser than the picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


def cell_means(values: Image, cell_px: int) -> Image:
    """(rows, columns) to (rows / cell_px, columns / cell_px), rounded up.

    Cells that reach beyond the last row or column repeat it.
    """
    rows, columns = values.shape
    beyond = (-rows % cell_px, -columns % cell_px)
    if any(beyond):
        values = np.pad(values, [(0, side) for side in beyond], mode="edge")
    size = (values.shape[1] // cell_px, values.shape[0] // cell_px)
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)
