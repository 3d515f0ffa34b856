"""The guard: how far to trust the restoration, in every neighbourhood of the picture.

The restored picture, blurred again with the measured field, must explain the photograph within its
noise. It does wherever the scene stood still. What moved with the camera (a panned car, a hand)
is sharp in the photograph: there the photograph holds fine detail that no picture blurred along the
measured path could have, and re-blurring leaves it over. So two powers are compared in the
band of fine detail, both in units of the noise:

    left over   e = mean |high-pass(photo - reblur(result))|^2 / noise
    present     b = mean |high-pass(photo)|^2 / noise

A sharp scene leaves over the share (e - 1) / (b - 1) that its blur would have erased (computed with
the filter, `expected_share`); a blurred one leaves next to nothing, or what the uncertainty of
the path explains. Places with neither are decided by their neighbours. Nearer than half a path and
the reach of the votes to a distrusted place nothing is trusted: 70 to 120 working pixels. Where
less than 55 % of the picture is left, it is trusted less: perhaps the motion is another one.

Where the restoration gathers light in edges, its gradients being sparser than the photograph's
(device.restore.sparsity), it was right whatever it leaves over: votes against it are hushed, the
less so the less of the picture says the same.

What a path connects with unknown light, clipped or outside the picture, no blur of the rest
explains. The filter rings there, and what it leaves over counts against it; a network has taken the
ringing away, and such places are decided by their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from device.kernels.psf import transfer_function
from device.restore.wiener import HIGH_PASS_SIGMA_PX, FrequencyPlane

Image = NDArray[np.float32]

CELL_PX = 8
"""One value of the maps stands for a cell of this many pixels squared."""
BAND_FREQUENCY = 0.2
"""Cycles per pixel about which the band of fine detail lies."""


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """Thresholds, in units of the noise's variance or of the expected share; reaches in pixels."""

    floor: float = 1.3
    """Left-over power of a correct restoration: noise, JPEG, the filter's own damping."""
    calm_share: float = 0.2
    loudest_calm: float = 4.0
    """Calm places of phones' photographs leave over up to 3 times the noise; more is detail."""
    sharp_power: float = 2.2
    sharp_share: float = 0.5
    blurred_share: float = 0.35
    power_smoothing_px: float = 10.0
    share_smoothing_px: float = 14.0
    near_px: float = 24.0
    far_px: float = 48.0
    reach_px: float = 12.0
    clipped_share: float = 0.02
    little_gathered: float = 0.05
    much_gathered: float = 0.1
    enough_gathered: float = 0.5
    """Of the picture: with a smaller share less is hushed, as its square."""
    enough_trusted: float = 0.55
    """Of the picture that is not clipped: with a smaller share trust fades, as its square."""


def evidence_tiles(tiles: Image, path_px: NDArray[np.floating], plane: FrequencyPlane) -> Image:
    """High-passed (left over, present) of luminance tiles (photo, result), both (n, 2, ...)."""
    shape = tiles.shape[-2:]
    evidence = np.empty_like(tiles)
    left_over, present = evidence[:, 0], evidence[:, 1]
    for photo, fine in zip(tiles[:, 0], present, strict=True):
        # As plane.high_pass, without two transforms; it ends otherwise in the margins alone.
        np.subtract(photo, cv2.GaussianBlur(photo, (0, 0), HIGH_PASS_SIGMA_PX), out=fine)
    reblurred = fft.rfft2(tiles[:, 1]) * transfer_function(path_px, *shape)
    reblurred *= plane.high_pass
    np.subtract(present, fft.irfft2(reblurred, s=shape), out=left_over)
    return evidence


def trust_map(
    leftover: Image,
    present: Image,
    expected_share: Image,
    sigma_px: Image,
    path_extent_px: float,
    clipped: Image,
    gathering: Image,
    *,
    rings: bool,
    settings: GuardSettings | None = None,
) -> Image:
    """Trust 0..1 for every cell, none in what is clipped: there the photograph stands.

    leftover, present : cells' power in units of noise; expected_share : of a sharp scene;
    sigma_px : uncertainty of the path; clipped : share of clipped pixels; gathering : by how much
    the result's gradients are sparser than the photograph's; all (rows, columns).
    rings : the result beside unknown light, as the filter's does without a network.
    """
    settings = settings or GuardSettings()
    sharp, blurred = _votes(leftover, present, expected_share, sigma_px, settings)
    if not rings:
        unknown = (clipped > settings.clipped_share).astype(np.float32)
        # The last two arguments: what lies outside counts as clipped.
        disc = _disc(0.5 * path_extent_px + CELL_PX)
        sharp *= 1.0 - cv2.dilate(unknown, disc, borderType=cv2.BORDER_CONSTANT, borderValue=(1.0,))
    sharp *= 1.0 - _gathered(gathering, settings)
    # Where nothing speaks near by, the wider surroundings do; where they are silent too, the small
    # constants do: the measured motion is right.
    far_for, far_against = _smooth(blurred, settings.far_px), _smooth(sharp, settings.far_px)
    prior = (far_for + 0.005) / (far_for + far_against + 0.005)
    near_for, near_against = _smooth(blurred, settings.near_px), _smooth(sharp, settings.near_px)
    belief = (near_for + 0.05 * prior) / (near_for + near_against + 0.05)
    trust = np.clip((belief - 0.2) / 0.25, 0.0, 1.0).astype(np.float32)
    disc = _disc(0.5 * path_extent_px + settings.reach_px)
    trust = _smooth(np.asarray(cv2.erode(trust, disc), np.float32), settings.power_smoothing_px)
    trust = np.where(trust < 0.02, 0.0, trust).astype(np.float32)
    seen = 1.0 - _smooth(clipped, CELL_PX)
    share = float((trust * seen).sum() / max(seen.sum(), 1.0))
    trust *= min(share / settings.enough_trusted, 1.0) ** 2
    return np.asarray(trust * seen, np.float32)


def _gathered(gathering: Image, settings: GuardSettings) -> Image:
    """0..1 for every cell: how surely the restoration put light together there."""
    between = settings.much_gathered - settings.little_gathered
    here = np.clip((gathering - settings.little_gathered) / between, 0.0, 1.0)
    believed = min(float(here.mean()) / settings.enough_gathered, 1.0) ** 2
    return np.asarray(believed * here, np.float32)


def _disc(radius_px: float) -> NDArray[np.uint8]:
    radius = round(radius_px / CELL_PX)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(disc, np.uint8)


def _votes(
    leftover: Image,
    present: Image,
    expected_share: Image,
    sigma_px: Image,
    settings: GuardSettings,
) -> tuple[Image, Image]:
    """How strongly each cell says "sharp in the photograph" and "blurred as measured"."""
    e = _smooth(leftover, settings.power_smoothing_px)
    # JPEG and the camera's own processing leave more over than the sensor's noise, everywhere: the
    # calm places of the picture tell how much. A picture of gravel has none.
    calm = float(np.quantile(e, settings.calm_share))
    unit = min(max(1.0, calm), settings.loudest_calm)
    e = e / unit
    b = _smooth(present, settings.power_smoothing_px) / unit
    fine = _smooth(present, settings.share_smoothing_px) / unit - settings.floor
    left = _smooth(leftover, settings.share_smoothing_px) / unit - settings.floor
    share = left / np.maximum(fine, 0.5)
    blurred_leaves = 0.8 * np.minimum((2.0 * np.pi * BAND_FREQUENCY * sigma_px) ** 2, 1.0)
    # Where the path is so uncertain that both would leave as much, the test is silent.
    apart = np.maximum(expected_share, 0.02) - blurred_leaves
    relative = (share - blurred_leaves) / np.maximum(apart, 0.02)
    sharp = np.clip(e / settings.sharp_power - 1.0, 0.0, 3.0) * np.clip(apart / 0.1, 0.0, 1.0)
    between = settings.sharp_share - settings.blurred_share
    sharp *= np.clip((relative - settings.blurred_share) / between, 0.0, 1.0)
    blurred = np.clip((b - e) / 4.0 - 0.5, 0.0, 1.0)
    blurred *= np.clip((settings.blurred_share - relative) / between, 0.0, 1.0)
    return sharp, blurred


def _smooth(cells: Image, sigma_px: float) -> Image:
    return np.asarray(cv2.GaussianBlur(cells, (0, 0), sigma_px / CELL_PX), np.float32)


def stretched(values: NDArray[np.float32] | NDArray[np.float64], rows: int, columns: int) -> Image:
    """One value a tile or a node, stretched over the cells of the picture: (rows, columns)."""
    size = (columns, rows)
    return np.asarray(cv2.resize(values.astype(np.float32), size), np.float32)
