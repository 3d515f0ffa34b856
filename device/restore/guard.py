"""The guard: how far to trust the restoration, in every neighbourhood of the picture.

The restored picture, blurred again with the measured field, must explain the photograph within its
noise. It does wherever the scene stood still. What moved with the camera (a panned car, a hand)
is sharp in the photograph: there the photograph holds fine detail that no picture blurred along the
measured path could have, and re-blurring leaves it over. So two powers are compared in the
band of fine detail, both in units of the noise:

    left over   e = mean |high-pass(photo - reblur(result))|^2 / noise
    present     b = mean |high-pass(photo)|^2 / noise

A sharp scene leaves over the share (e - 1) / (b - 1) that its blur would have erased (computed with
the filter, `expected_share`); a blurred one leaves next to nothing. Places with neither are
decided by their neighbours. Nearer than half a path to a distrusted place nothing is trusted.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from device.kernels.field import KernelField
from device.kernels.psf import transfer_function
from device.restore.wiener import FrequencyPlane

Image = NDArray[np.float32]

CELL_PX = 8
"""One value of the maps stands for a cell of this many pixels squared."""
LUMINANCE = np.float32([0.25, 0.5, 0.25])
"""Weights of R, G, B: those of the Bayer pattern, so its noise is the least."""


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """Thresholds, in units of the noise's variance or of the expected share."""

    floor: float = 1.3
    """Left-over power of a correct restoration: noise, JPEG, the filter's own damping."""
    sharp_power: float = 2.5
    sharp_share: float = 0.6
    blurred_share: float = 0.45
    smoothing_px: float = 10.0
    voting_px: float = 24.0
    reach_px: float = 12.0


def evidence_tile(
    tile: Image, path_px: NDArray[np.floating], plane: FrequencyPlane
) -> Image:
    """High-passed (left over, present) of a tile (photo, result) of luminance: (2, size, size)."""
    size = tile.shape[1]
    photo, result = fft.rfft2(tile)
    leftover = photo - result * transfer_function(path_px, size, size)
    both = np.stack([leftover, photo]) * plane.high_pass
    evidence: Image = fft.irfft2(both, s=(size, size))
    return evidence


def cell_means(values: Image) -> Image:
    """Means over cells of CELL_PX squared; the last row and column of cells may be smaller."""
    rows, columns = values.shape
    pad = ((0, -rows % CELL_PX), (0, -columns % CELL_PX))
    padded = np.pad(values, pad, mode="edge") if any(side for _, side in pad) else values
    shape = (padded.shape[0] // CELL_PX, CELL_PX, padded.shape[1] // CELL_PX, CELL_PX)
    means: Image = padded.reshape(shape).mean(axis=(1, 3))
    return means


def trust_map(
    leftover: Image,
    present: Image,
    expected_share: Image,
    path_extent_px: float,
    settings: GuardSettings = GuardSettings(),
) -> Image:
    """Trust 0..1 for every cell, from the cells' left-over and present power in units of noise."""
    blur = lambda x, sigma_px: cv2.GaussianBlur(x, (0, 0), sigma_px / CELL_PX)  # noqa: E731
    e, b = blur(leftover, settings.smoothing_px), blur(present, settings.smoothing_px)
    share = (e - settings.floor) / np.maximum(b - settings.floor, 0.5)
    relative = share / np.maximum(expected_share, 0.02)
    sharp = np.clip((e - settings.sharp_power) / settings.sharp_power, 0.0, 3.0)
    sharp *= np.clip((relative - settings.blurred_share) / (settings.sharp_share - settings.blurred_share), 0.0, 1.0)  # fmt: skip
    blurred = np.clip((b - e) / 4.0 - 0.5, 0.0, 1.0)
    blurred *= np.clip((settings.blurred_share - relative) / 0.15, 0.0, 1.0)
    # The small constant is the belief where nothing speaks: the measured motion is right.
    votes_for = blur(blurred, settings.voting_px) + 0.02
    votes_against = blur(sharp, settings.voting_px)
    trust = np.clip((votes_for / (votes_for + votes_against) - 0.35) / 0.3, 0.0, 1.0)
    radius = round((0.5 * path_extent_px + settings.reach_px) / CELL_PX)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    trust = blur(cv2.erode(trust, disc), settings.smoothing_px)
    return np.where(trust < 0.02, 0.0, trust).astype(np.float32)


def unclipped_map(clipped: Image, path_extent_px: float) -> Image:
    """Fade 0..1 for every cell, 0 within reach of clipped pixels.

    clipped : share of clipped pixels in every cell. Clipped light is not a sum any more, so an
    inverse filter rings around it as far as half a path.
    """
    reach = 2 * round(0.5 * path_extent_px / CELL_PX) + 1
    near = cv2.blur(clipped, (reach, reach), borderType=cv2.BORDER_REFLECT_101)
    return np.clip(1.0 - 4.0 * near, 0.0, 1.0).astype(np.float32)


def expected_share_map(shares: NDArray[np.float64], rows: int, columns: int) -> Image:
    """One value a tile, (tile rows, tile columns), stretched over the cells of the picture."""
    stretched = cv2.resize(
        shares.astype(np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR
    )
    return np.asarray(stretched, np.float32)


def blur_extent_px(field: KernelField) -> float:
    """The extent nine paths in ten stay below: what the reach of the guard follows."""
    extents = np.ptp(field.paths_px, axis=2).max(axis=-1)
    return float(np.quantile(extents[field.valid], 0.9)) if field.valid.any() else 0.0
