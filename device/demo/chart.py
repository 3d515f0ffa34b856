"""The Galaxy Nexus chart's dots: true point-spread functions to hold the predicted ones against.

The chart has 13 black squares with a white dot in the middle. In the photograph each dot is the
PSF of its place, widened by the dot's own size. So a prediction is the measured path, drawn as
the trace of a disc; the disc's diameter, one number for all dots, is fitted. The same fit for a
camera that stood still says how much of the agreement the disc alone would explain.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from device.kernels.field import KernelField
from device.kernels.psf import rasterise
from device.restore.tone import to_linear

PATCH_PX = 49
"""Side of the square around a dot; odd, smaller than the black squares."""
_SQUARE_SIDE_PX = (110, 180)
_COARSE_DIAMETERS_PX = np.arange(3.0, 22.0, 2.0)
_FINE_STEPS_PX = np.arange(-1.5, 1.6, 0.5)
_SHIFTS_PX = np.arange(-4.0, 4.01, 0.25)
"""Tried when a prediction is laid onto its dot, in both directions."""
_OVERSAMPLING = 8


@dataclass(frozen=True)
class DotMatch:
    """One dot and its prediction.

    u, v : centroid of the dot in the photograph, pixels.
    dot, predicted : (PATCH_PX, PATCH_PX) float32, linear light above the black, peak 1; the
        prediction already shifted onto the dot.
    correlation : normalised, mean removed, -1..1; still_correlation : of a camera that stood still.
    """

    u: float
    v: float
    dot: NDArray[np.float32]
    predicted: NDArray[np.float32]
    correlation: float
    still_correlation: float


@dataclass(frozen=True)
class ChartMatch:
    """All dots; diameters of the disc that fits best with the motion and without it, in pixels."""

    dots: tuple[DotMatch, ...]
    diameter_px: float
    still_diameter_px: float


def match_dots(photo: NDArray[np.uint8], field: KernelField) -> ChartMatch:
    """Find the dots of the photographed chart (H, W, 3) and compare each with the field's PSF.

    The photograph is taken as sRGB. Raises ValueError when it shows no such chart.
    """
    places = find_dots(photo)
    if not places:
        raise ValueError("no black squares with a dot in this photograph")
    dots = np.stack([_dot_patch(photo, u, v) for u, v in places])
    paths = field.paths_at(np.asarray(places))
    diameter_px, correlation, predicted = _fit_diameter(dots, paths)
    still_diameter_px, still_correlation, _ = _fit_diameter(dots, np.zeros_like(paths))
    matches = [
        DotMatch(
            *place,
            dot=dots[index],
            predicted=predicted[index] / predicted[index].max(),
            correlation=float(correlation[index]),
            still_correlation=float(still_correlation[index]),
        )
        for index, place in enumerate(places)
    ]
    return ChartMatch(tuple(matches), diameter_px, still_diameter_px)


def find_dots(photo: NDArray[np.uint8]) -> list[tuple[float, float]]:
    """Centroids (u, v) of the bright dots in the middle of black squares, in reading order."""
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    smooth = cv2.GaussianBlur(grey, (0, 0), 3)
    # Darker than the mean of a wide neighbourhood: the light falls off towards the corners.
    dark = cv2.adaptiveThreshold(
        smooth, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, 301, 25
    )
    _, _, boxes, _ = cv2.connectedComponentsWithStats(dark)
    low, high = _SQUARE_SIDE_PX
    found = []
    for left, top, width, height, area in boxes[1:].tolist():
        if low < width < high and low < height < high and area > 0.85 * width * height:
            u, v = left + width / 2, top + height / 2
            for _ in range(3):  # the window follows the dot it weighs
                u, v = _centroid(photo, u, v)
            found.append((u, v))
    return sorted(found, key=lambda place: (round(place[1] / 100), place[0]))


def _window(photo: NDArray[np.uint8], u: float, v: float) -> NDArray[np.float32]:
    """Green light of the square around (u, v), whole pixels."""
    half = PATCH_PX // 2
    top, left = round(v) - half, round(u) - half
    return to_linear(photo[top : top + PATCH_PX, left : left + PATCH_PX, 1], "srgb")


def _above_black(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Light above the black of the square, its noise cut off, peak 1."""
    black, noise = float(np.median(light)), float(np.median(np.abs(light - np.median(light))))
    above = np.maximum(light - black - 4 * noise, 0)
    return np.asarray(above / above.max(), np.float32)


def _centroid(photo: NDArray[np.uint8], u: float, v: float) -> tuple[float, float]:
    bright = _above_black(_window(photo, u, v))
    bright[bright < 0.2] = 0
    rows, columns = np.mgrid[:PATCH_PX, :PATCH_PX] - PATCH_PX // 2
    total = float(bright.sum())
    return (
        round(u) + float((bright * columns).sum()) / total,
        round(v) + float((bright * rows).sum()) / total,
    )


def _dot_patch(photo: NDArray[np.uint8], u: float, v: float) -> NDArray[np.float32]:
    light = _window(photo, u, v)
    light = light - np.float32(np.median(light))
    return np.asarray(light / light.max(), np.float32)


def _fit_diameter(
    dots: NDArray[np.float32], paths: NDArray[np.float32]
) -> tuple[float, NDArray[np.float64], NDArray[np.float32]]:
    """The disc whose traces along the paths (M, 9, 2) resemble the dots most, and how they fit."""
    psfs = np.stack([rasterise(path, PATCH_PX) for path in paths])

    def fit(diameter_px: float) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        disc = _disc(diameter_px)
        return _lay_onto(dots, np.stack([cv2.filter2D(psf, -1, disc) for psf in psfs]))

    best_px = _COARSE_DIAMETERS_PX[0]
    for candidates in (_COARSE_DIAMETERS_PX, _FINE_STEPS_PX):
        tried = candidates if candidates is _COARSE_DIAMETERS_PX else best_px + candidates
        best_px = max(tried.tolist(), key=lambda diameter: float(fit(diameter)[0].mean()))
    return best_px, *fit(best_px)


def _disc(diameter_px: float) -> NDArray[np.float32]:
    """An evenly lit disc, its edge anti-aliased, sum 1."""
    side = 2 * int(np.ceil(diameter_px / 2)) + 3
    fine = (np.arange(side * _OVERSAMPLING) + 0.5) / _OVERSAMPLING - side / 2
    inside = np.hypot(fine[:, None], fine[None, :]) <= diameter_px / 2
    cells = inside.reshape(side, _OVERSAMPLING, side, _OVERSAMPLING).mean(axis=(1, 3))
    return np.asarray(cells / cells.sum(), np.float32)


def _lay_onto(
    dots: NDArray[np.float32], traces: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Best normalised correlations (M,) over sub-pixel shifts, and the traces so shifted."""
    a = dots - dots.mean(axis=(1, 2), keepdims=True)
    b = traces - traces.mean(axis=(1, 2), keepdims=True)
    spectra = np.fft.fft2(a) * np.conj(np.fft.fft2(b))
    frequency = np.fft.fftfreq(PATCH_PX)
    waves = np.exp(2j * np.pi * _SHIFTS_PX[:, None] * frequency)
    scores = (waves @ spectra @ waves.T).real / PATCH_PX**2
    best = scores.reshape(len(dots), -1).argmax(axis=1)
    row, column = np.unravel_index(best, scores.shape[1:])
    norms = np.linalg.norm(a, axis=(1, 2)) * np.linalg.norm(b, axis=(1, 2))
    moves = np.conj(waves[row][:, :, None] * waves[column][:, None, :])
    shifted = np.fft.ifft2(np.fft.fft2(traces) * moves).real.astype(np.float32)
    return scores.reshape(len(dots), -1).max(axis=1) / norms, shifted
