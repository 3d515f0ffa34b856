"""Point-spread functions of paths: as a picture, and as the transfer function of a tile.

Light dwells equally long on each of the 8 pieces of a path (KernelField), and uniformly on it.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Real = TypeVar("Real", np.float32, np.float64)

STEP_PX = 0.6
"""Spacing of the points that stand for a path: below 1 px, so that no frequency aliases."""


def path_points(path_px: NDArray[Real]) -> NDArray[Real]:
    """Equally weighted points (..., n, 2) along paths (..., 9, 2), at most STEP_PX apart."""
    start, step = path_px[..., :-1, :], np.diff(path_px, axis=-2)
    longest_px = float(np.hypot(step[..., 0], step[..., 1]).max())
    count = max(1, int(np.ceil(longest_px / STEP_PX)))
    fraction = ((np.arange(count) + 0.5) / count)[:, None]
    points = start[..., None, :] + fraction * step[..., None, :]
    return points.reshape(*path_px.shape[:-2], -1, 2).astype(path_px.dtype)


def rasterise(path_px: NDArray[np.floating], size: int) -> NDArray[np.float32]:
    """The PSF as a picture: (9, 2) -> (size, size), sum 1, the mid-exposure position in the middle.

    Points are shared bilinearly among four pixels. Raises ValueError when the path does not fit.
    """
    points = path_points(path_px).astype(np.float64) + size // 2
    low = np.floor(points).astype(np.intp)
    if low.min() < 0 or low.max() + 1 >= size:
        raise ValueError(f"a path of extent {np.ptp(path_px, axis=0)} px does not fit {size} px")
    u, v = (points - low).T
    column, row = low.T
    index = np.concatenate(
        [row * size + column, row * size + column + 1, (row + 1) * size + column,
         (row + 1) * size + column + 1]
    )  # fmt: skip
    weight = np.concatenate([(1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v])
    flat = np.bincount(index, weight, minlength=size * size) / len(points)
    return flat.reshape(size, size).astype(np.float32)


def transfer_function(
    path_px: NDArray[Real], height: int, width: int
) -> NDArray[np.complexfloating]:
    """Transforms of PSFs on the frequencies of scipy.fft.rfft2: (..., height, width // 2 + 1).

    path_px : (..., 9, 2), in single or double precision, as the result then is. Computed from the
    points themselves, as a product of two thin matrices: exact at sub-pixel positions, where a
    rasterised PSF would soften, and faster than the transform of a picture.
    """
    points = path_points(path_px)
    down = _phases(points[..., 1], fft.fftfreq(height))
    across = _phases(points[..., 0], fft.rfftfreq(width))
    down /= points.dtype.type(points.shape[-2])
    return np.asarray(np.swapaxes(down, -1, -2) @ across)


def _phases(
    position_px: NDArray[Real], frequency: NDArray[np.float64]
) -> NDArray[np.complexfloating]:
    phase = (-2.0 * np.pi) * position_px[..., None] * frequency.astype(position_px.dtype)
    result = np.empty(phase.shape, np.result_type(phase, np.complex64))
    np.cos(phase, out=result.real)
    np.sin(phase, out=result.imag)
    return result
