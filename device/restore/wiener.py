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

NOISE_WEIGHT = 0.7
UNCERTAINTY_WEIGHT = 0.4
MODEL_FLOOR = 0.005
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
    taper : (size, size) 1 inside, falling to 0 over `margin` pixels at the edges.
    """

    squared: Image
    ring: NDArray[np.intp]
    ring_position: Image
    high_pass: Image
    taper: Image


@lru_cache(maxsize=4)
def frequency_plane(size: int, margin: int) -> FrequencyPlane:
    """The frequencies of a tile of this size whose edges are tapered over `margin` pixels."""
    down, across = fft.fftfreq(size)[:, None], fft.rfftfreq(size)[None]
    squared = down**2 + across**2
    log_frequency = np.log(np.maximum(np.sqrt(squared), 1.0 / size))
    lowest, highest = np.log(1.0 / size), np.log(np.sqrt(0.5))
    position = (log_frequency - lowest) / (highest - lowest) * (_RINGS - 1)
    gaussian = np.exp(-2.0 * (np.pi * _HIGH_PASS_SIGMA_PX) ** 2 * squared)
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(margin) + 0.5) / margin)
    edge = np.concatenate([rise, np.ones(size - 2 * margin), rise[::-1]])
    return FrequencyPlane(
        squared=squared.astype(np.float32),
        ring=np.rint(position).astype(np.intp).ravel(),
        ring_position=position.astype(np.float32),
        high_pass=(1.0 - gaussian).astype(np.float32),
        taper=np.outer(edge, edge).astype(np.float32),
    )


def filter_tile(
    tile: Image, H: Spectrum, noise_variance: float, sigma_px: float, plane: FrequencyPlane
) -> FilteredTile:
    """Undo a known blur on a tile (C, size, size) of linear light.

    H : (size, size // 2 + 1) transfer function; noise_variance : of one channel;
    sigma_px : uncertainty of the path.
    """
    size = tile.shape[1]
    spectrum = fft.rfft2(_tapered(tile, H, plane))
    H2 = np.square(H.real) + np.square(H.imag)
    power = (np.square(spectrum.real) + np.square(spectrum.imag)).mean(axis=0) / np.float32(size**2)
    scene = _scene_power(power, H2, noise_variance, plane)
    uncertain = np.minimum((2.0 * np.pi * sigma_px) ** 2 * plane.squared, 1.0)
    damping = NOISE_WEIGHT * np.float32(noise_variance) / scene
    damping += UNCERTAINTY_WEIGHT * uncertain + np.float32(MODEL_FLOOR)
    denominator = H2 + damping
    sharp = fft.irfft2(spectrum * (np.conj(H) / denominator), s=(size, size))
    return FilteredTile(sharp, _expected_share(damping / denominator, plane))


def _tapered(tile: Image, H: Spectrum, plane: FrequencyPlane) -> Image:
    """Fade the tile's edges into its own cyclic blur, so that they fit where they wrap around."""
    size = tile.shape[1]
    cyclic = fft.irfft2(fft.rfft2(tile) * H, s=(size, size))
    faded: Image = cyclic + (tile - cyclic) * plane.taper
    return faded


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
