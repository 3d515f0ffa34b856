"""How noisy the photograph is: the sensor's model, the rounding of its codes, or an estimate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from device.capture.camera import NoiseModel, Tone
from device.restore.tone import decode

_CODE_VARIANCE = 0.5
"""Rounding (1/12 of a code squared) and JPEG at quality 95, whose error is about 0.6 codes."""
_MAD_TO_SIGMA = 1.4826
_LEVELS = 12
UNMEASURED = NoiseModel(shot=2e-4, read=0.01)
"""Of a middling sensor: what is assumed of a picture too small to hold one block of 32 px."""


def noise_variance(
    level: NDArray[np.float32] | float, noise: NoiseModel, tone: Tone
) -> NDArray[np.float32]:
    """Variance of one channel at a linear level 0..1, any shape: shot * x + read^2 + rounding."""
    x = np.clip(np.asarray(level, np.float32), 0.0, 1.0)
    sensor = noise.shot * x + noise.read**2
    return np.asarray(sensor + _CODE_VARIANCE * _code_step(x, tone) ** 2, np.float32)


def estimate_noise(linear: NDArray[np.float32]) -> NoiseModel:
    """Fit shot and read noise to a picture (H, W) in linear light.

    Second differences along the diagonal cancel smooth shading; their median absolute value in
    bins of brightness is little moved by the few pixels with structure (Immerkaer 1996 with
    the median of Donoho and Johnstone 1994). The calmest third of the bins' blocks is used.
    Pixels are averaged in fours first: JPEG and a camera's own denoising remove the finest grain
    and leave the coarser (a phone's photograph shows 2.5 times more of it so).
    """
    rows, columns = (side // 2 * 2 for side in linear.shape)
    quarters = linear[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2)
    linear = quarters.mean(axis=(1, 3))
    detail = linear[:-1, :-1] - linear[1:, :-1] - linear[:-1, 1:] + linear[1:, 1:]
    rows, columns = (side // 16 * 16 for side in detail.shape)
    blocks = _blocks(detail[:rows, :columns])
    level = _blocks(linear[:rows, :columns]).mean(axis=1)
    variance = 4.0 * (_MAD_TO_SIGMA * np.median(np.abs(blocks), axis=1) / 2.0) ** 2
    if not len(variance):
        return UNMEASURED
    lit = (level > 0.003) & (level < 0.8)
    if lit.sum() < 4 * _LEVELS:
        return NoiseModel(shot=2e-4, read=_rounded(np.sqrt(np.median(variance))))
    levels, variances = _calm_by_level(level[lit], variance[lit])
    # Variance grows with the level: least squares in relative error, neither term negative.
    weight = 1.0 / np.maximum(variances, 1e-8)
    design = np.stack([levels, np.ones_like(levels)], axis=1) * weight[:, None]
    (shot, read2), *_ = np.linalg.lstsq(design, variances * weight, rcond=None)
    if shot <= 0.0 or read2 <= 0.0:
        shot = max(0.0, float(np.median(variances / levels))) if read2 <= 0.0 else 0.0
        read2 = float(np.median(variances)) if shot == 0.0 else 1e-7
    return NoiseModel(shot=_rounded(shot), read=_rounded(np.sqrt(read2)))


def _rounded(figure: float) -> float:
    """To four digits: more an estimate has not, and fewer differ from processor to processor."""
    return float(f"{figure:.4g}")


def _blocks(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    rows, columns = picture.shape[0] // 16, picture.shape[1] // 16
    return picture.reshape(rows, 16, columns, 16).transpose(0, 2, 1, 3).reshape(-1, 256)


def _calm_by_level(
    level: NDArray[np.float32], variance: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median level, and the lowest sixth of the variances (the calm third's middle), in bins."""
    order = np.argsort(level)
    groups = np.array_split(order, _LEVELS)
    levels = np.array([np.median(level[group]) for group in groups], np.float64)
    calm = np.array([np.quantile(variance[group], 1 / 6) for group in groups], np.float64)
    return levels, calm


def _code_step(level: NDArray[np.float32], tone: Tone) -> NDArray[np.float32]:
    """Linear light between two neighbouring 8-bit codes at a linear level."""
    codes = np.linspace(0.0, 1.0, 256)
    light = decode(codes, tone)
    return np.interp(level, light, np.gradient(light)).astype(np.float32)
