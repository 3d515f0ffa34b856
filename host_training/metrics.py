"""How close two pictures are: PSNR and SSIM of coded (sRGB) values."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

BORDER_PX = 16
"""Left out on every side: what a shaken camera saw beyond the frame cannot be restored."""

Pixels = NDArray[np.uint8]


def psnr_db(picture: Pixels, truth: Pixels, where: NDArray[np.bool_] | None = None) -> float:
    """Peak signal-to-noise ratio over all channels, the border left out; inf when equal.

    where : (H, W), only these pixels count.
    """
    difference = _inner(picture).astype(np.float64) - _inner(truth)
    error = (difference**2).mean() if where is None else (difference[_inner(where)] ** 2).mean()
    return float("inf") if error == 0 else float(10 * np.log10(255.0**2 / error))


def ssim(picture: Pixels, truth: Pixels) -> float:
    """Structural similarity (Wang et al. 2004), mean over channels, the border left out.

    Gaussian window of 11x11 with sigma 1.5, K1 = 0.01, K2 = 0.03, as published.
    """
    a, b = picture.astype(np.float32), truth.astype(np.float32)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = _window(a), _window(b)
    variance_a = _window(a * a) - mean_a**2
    variance_b = _window(b * b) - mean_b**2
    covariance = _window(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    return float(_inner(luminance * structure).mean(dtype=np.float64))


def _window(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5), dtype=np.float32)


def _inner(values: NDArray[Any]) -> NDArray[Any]:
    return values[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]
