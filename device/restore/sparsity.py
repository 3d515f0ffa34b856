"""How sparse the gradients of a picture are: what tells a right motion from a wrong one.

A scene's light lies in edges, with little between them. A blur spreads the edges; the inverse
filter with the right path puts them together again, and with any other path it makes several of
each. Measured as log(mean |g| / rms g), which is the lower the sparser, in linear light: in coded
values the noise of the shadows drowns it (host_training/LOG.md). As l1 / l2 it is known from blind
deconvolution (Krishnan, Tay and Fergus, "Blind deconvolution using a normalized sparsity measure",
CVPR 2011).
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from device.restore.cells import cell_means

Image = NDArray[np.float32]

_TINY = 1e-9


def density_of_tiles(light: NDArray[np.floating]) -> NDArray[np.float64]:
    """log(mean |g| / rms g) of every tile (n, rows, columns), mean of both directions: (n,)."""
    total = np.zeros(len(light))
    for axis in (1, 2):
        gradient = np.diff(light, axis=axis)
        size = np.abs(gradient).mean(axis=(1, 2), dtype=np.float64)
        power = np.square(gradient).mean(axis=(1, 2), dtype=np.float64)
        total += _log_ratio(size, power)
    return 0.5 * total


class GradientCells:
    """Mean size and power of a picture's gradients, cell by cell, filled from top to bottom.

    The finest grain, which is noise, is smoothed away first.
    """

    _GRAIN_SIGMA_PX = 1.0

    def __init__(self, rows: int, columns: int, cell_px: int) -> None:
        self._cell_px = cell_px
        self._means = np.zeros((2, 2, rows, columns), np.float32)

    def fill(self, cells: slice, light: Image) -> None:
        """Take in the rows of pixels (rows, width) that these rows of cells hold."""
        smooth = np.asarray(cv2.GaussianBlur(light, (0, 0), self._GRAIN_SIGMA_PX), np.float32)
        for means, gradient in zip(self._means, _gradients(smooth), strict=True):
            np.abs(gradient, out=gradient)
            means[0, cells] = cell_means(gradient, self._cell_px)
            means[1, cells] = cell_means(np.square(gradient, out=gradient), self._cell_px)

    def density(self, sigma_cells: float) -> Image:
        """log(mean |g| / rms g) around every cell, mean of both directions: (rows, columns)."""
        logs = []
        for size, power in self._means:
            around = (cv2.GaussianBlur(m, (0, 0), sigma_cells) for m in (size, power))
            logs.append(_log_ratio(*(np.asarray(m, np.float64) for m in around)))
        return np.asarray(0.5 * (logs[0] + logs[1]), np.float32)


def _gradients(light: Image) -> Iterator[Image]:
    """Differences of neighbours down and across, as large as the picture: 0 at its end."""
    for axis in (0, 1):
        gradient = np.zeros_like(light)
        last = gradient[:-1] if axis == 0 else gradient[:, :-1]
        last[:] = np.diff(light, axis=axis)
        yield gradient


def _log_ratio(size: NDArray[np.float64], power: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.maximum(size, _TINY) / np.maximum(np.sqrt(power), _TINY))
