"""The inverse filter: one tile of blurred linear light to its sharp estimate.

    W = conj(H) / (|H|^2 + N / S + U)

the Wiener filter (Wiener 1949; Gonzalez and Woods, section 5.8), with
    H  the transfer function of the tile's path,
    N  the noise's power, from the sensor's noise model at the tile's brightness,
    S  the sharp scene's power, estimated from the tile itself, ring by ring in frequency,
    U  what the path's own uncertainty adds: a displacement error of sigma pixels turns the share
       (2 pi |f| sigma)^2 of the scene into unexplained signal; plus a floor for the change of the
       path across the tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Image = NDArray[np.float32]
Spectrum = NDArray[np.complex64]

NOISE_WEIGHT = 1.0
UNCERTAINTY_WEIGHT = 0.4
MODEL_FLOOR = 0.01
_RINGS = 20
_HIGH_PASS_SIGMA_PX = 1.5


@dataclass(frozen=True, slots=True)
class FilteredTile:
    """sharp : (C, size, size); expected_share : what the guard compares against, see there."""

    sharp: Image
    expected_share: float


@dataclass(frozen=True)
class FrequencyPlane:
    """Everything about the frequencies of a square tile that does not depend on its content.

    squared : |f|^2 in (cycles per pixel)^2, on the frequencies of rfft2.
    ring : index of the ring of each frequency, rings evenly spaced in log |f|;
    ring_position : the same, not rounded.
    high_pass : the guard's band, 1 - a Gaussian of 1.5 px.
    laplacian : the discrete Laplacian's transfer function, 1 at zero frequency.
    wrap : (size,) phase of a step of one pixel backwards around the edge.
    """

    squared: Image
    ring: NDArray[np.intp]
    ring_position: Image
    high_pass: Image
    laplacian: Image
    wrap: Spectrum


@lru_cache(maxsize=4)
def frequency_plane(size: int) -> FrequencyPlane:
    """The frequencies of a tile of this size."""
    down, across = fft.fftfreq(size)[:, None], fft.rfftfreq(size)[None]
    squared = down**2 + across**2
    log_frequency = np.log(np.maximum(np.sqrt(squared), 1.0 / size))
    lowest, highest = np.log(1.0 / size), np.log(np.sqrt(0.5))
    position = (log_frequency - lowest) / (highest - lowest) * (_RINGS - 1)
    gaussian = np.exp(-2.0 * (np.pi * _HIGH_PASS_SIGMA_PX) ** 2 * squared)
    laplacian = 2.0 * np.cos(2.0 * np.pi * down) + 2.0 * np.cos(2.0 * np.pi * across) - 4.0
    laplacian[0, 0] = 1.0
    return FrequencyPlane(
        squared=squared.astype(np.float32),
        ring=np.rint(position).astype(np.intp).ravel(),
        ring_position=position.astype(np.float32),
        high_pass=(1.0 - gaussian).astype(np.float32),
        laplacian=laplacian.astype(np.float32),
        wrap=np.exp(2j * np.pi * np.arange(size) / size).astype(np.complex64),
    )


def filter_tile(
    tile: Image, H: Spectrum, noise_variance: float, sigma_px: float, plane: FrequencyPlane
) -> FilteredTile:
    """Undo a known blur on a tile (C, size, size) of linear light.

    H : (size, size // 2 + 1) transfer function; noise_variance : of one channel;
    sigma_px : uncertainty of the path.
    """
    size = tile.shape[1]
    smooth = _smooth_part(tile, plane)
    spectrum = fft.rfft2(tile) - smooth
    H2 = np.square(H.real) + np.square(H.imag)
    power = (np.square(spectrum.real) + np.square(spectrum.imag)).mean(axis=0) / np.float32(size**2)
    damping = (
        NOISE_WEIGHT * np.float32(noise_variance) / _scene_power(power, H2, noise_variance, plane)
    )
    uncertain = np.minimum((2.0 * np.pi * sigma_px) ** 2 * plane.squared, 1.0)
    damping += UNCERTAINTY_WEIGHT * uncertain + np.float32(MODEL_FLOOR)
    # Blur moves light and takes none: without this the floor would darken the picture.
    damping[0, 0] = 0.0
    denominator = H2 + damping
    spectrum *= np.conj(H) / denominator
    spectrum += smooth
    sharp = fft.irfft2(spectrum, s=(size, size))
    return FilteredTile(sharp, _expected_share(damping / denominator, plane))


def _smooth_part(tile: Image, plane: FrequencyPlane) -> Spectrum:
    """Spectrum of the smooth part of a tile, the one that carries the jump across its edges.

    Periodic plus smooth decomposition (Moisan 2011): the smooth part solves Poisson's equation for
    the steps between opposite edges. What remains wraps around without a seam and can be filtered
    cyclically; the smooth part has nothing to deblur.
    """
    size = tile.shape[1]
    step_down, step_across = tile[:, -1] - tile[:, 0], tile[:, :, -1] - tile[:, :, 0]
    rows = fft.rfft(step_down)[:, None, :] * (1.0 - plane.wrap)[:, None]
    columns = fft.fft(step_across)[:, :, None] * (1.0 - plane.wrap[: size // 2 + 1])
    smooth: Spectrum = (rows + columns) / plane.laplacian
    smooth[:, 0, 0] = 0.0
    return smooth


def _scene_power(power: Image, H2: Image, noise_variance: float, plane: FrequencyPlane) -> Image:
    """The sharp scene's power S, one value a ring, from the blurred power P = |H|^2 S + N.

    Least squares over the ring, S = sum |H|^2 (P - N) / sum |H|^4: frequencies that the blur
    spared speak for those that it erased, as textures look alike in all directions.
    """
    weighted = (H2 * (power - np.float32(noise_variance))).ravel()
    numerator = np.bincount(plane.ring, weighted, minlength=_RINGS)
    denominator = np.bincount(plane.ring, np.square(H2).ravel(), minlength=_RINGS)
    rings = np.maximum(numerator / np.maximum(denominator, 1e-9), 1e-3 * noise_variance)
    log_rings = np.convolve(np.pad(np.log(rings), 1, "edge"), [0.25, 0.5, 0.25], "valid")
    log_power = np.interp(plane.ring_position, np.arange(_RINGS), log_rings)
    return np.exp(log_power).astype(np.float32)


def _expected_share(unexplained: Image, plane: FrequencyPlane) -> float:
    """Share of a SHARP scene's high-passed power that survives the re-blur test of the guard.

    unexplained : 1 - H W, what re-blurring leaves of each frequency. Scene power ~ 1 / f^2.
    """
    weight = np.square(plane.high_pass) / np.maximum(plane.squared, 1e-6)
    weight[:, 1:-1] *= 2.0
    return float((weight * np.square(unexplained)).sum() / weight.sum())
