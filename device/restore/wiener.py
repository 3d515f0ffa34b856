"""The inverse filter: tiles of blurred linear light to their sharp estimates.

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

Image = NDArray[np.float32] | NDArray[np.float64]
Spectrum = NDArray[np.complex64] | NDArray[np.complex128]
"""In single precision, or all of a call's tiles and spectra in double."""

NOISE_WEIGHT = 1.0
UNCERTAINTY_WEIGHT = 0.4
MODEL_FLOOR = 0.01
LIGHT_DAMPING = 0.1
"""Of the underdamped result: noise and floor count as a tenth. It rings and is noisy where the
filter held back, and so tells a network what lies there and how far the path can be believed."""
FLOOR_FREQUENCY = 0.02
"""Cycles per pixel from which on the floor is whole."""
_RINGS = 20
HIGH_PASS_SIGMA_PX = 1.5


@dataclass(frozen=True, slots=True)
class FilteredTiles:
    """sharp : (n, C, rows, columns); expected_share : (n,), the guard compares against it.
    underdamped : (n, rows, columns) luminance with LIGHT_DAMPING, where it was asked for.
    """

    sharp: Image
    expected_share: Image
    underdamped: Image | None = None


@dataclass(frozen=True)
class FrequencyPlane:
    """Everything about the frequencies of a tile that does not depend on its content.

    squared : |f|^2 in (cycles per pixel)^2, on the frequencies of rfft2.
    by_ring, ring_starts : the flat frequencies sorted by their rings, which are evenly spaced in
        log |f|, and where in that order each ring begins. ring_is_empty : it has none.
    inner_ring, beyond : the ring below each frequency, and the fraction of the way to the next.
    high_pass : the guard's band, 1 - a Gaussian of 1.5 px.
    per_laplacian : 1 / the discrete Laplacian's transfer function, 0 at zero frequency; complex,
        because it multiplies spectra, and a multiplication is 50 times as fast as the division.
    edge_down, edge_across : (rows,) and (columns // 2 + 1,), transfer functions of a step of
        height 1 across the edge.
    floor : of the damping; it fades out towards zero frequency, because blur moves light and takes
        none: what is damped there would lift the blacks.
    scene_weight : share of each frequency in a scene of power 1 / f^2 after the high pass.
    """

    squared: Image
    by_ring: NDArray[np.intp]
    ring_starts: NDArray[np.intp]
    ring_is_empty: NDArray[np.bool_]
    inner_ring: NDArray[np.intp]
    beyond: Image
    high_pass: Image
    per_laplacian: Spectrum
    edge_down: Spectrum
    edge_across: Spectrum
    floor: Image
    scene_weight: Image


@lru_cache(maxsize=4)
def frequency_plane(rows: int, columns: int) -> FrequencyPlane:
    """The frequencies of tiles of this shape, an even number of columns."""
    down, across = fft.fftfreq(rows)[:, None], fft.rfftfreq(columns)[None]
    squared = down**2 + across**2
    slowest = 1.0 / max(rows, columns)
    log_frequency = np.log(np.maximum(np.sqrt(squared), slowest))
    lowest, highest = np.log(slowest), np.log(np.sqrt(0.5))
    position = (log_frequency - lowest) / (highest - lowest) * (_RINGS - 1)
    ring = np.rint(position).astype(np.intp).ravel()
    inner_ring = np.minimum(position.astype(np.intp), _RINGS - 2)
    gaussian = np.exp(-2.0 * (np.pi * HIGH_PASS_SIGMA_PX) ** 2 * squared)
    laplacian = 2.0 * np.cos(2.0 * np.pi * down) + 2.0 * np.cos(2.0 * np.pi * across) - 4.0
    laplacian[0, 0] = np.inf
    scene_weight = np.square(1.0 - gaussian) / np.maximum(squared, 1e-6)
    scene_weight[:, 1:-1] *= 2.0
    return FrequencyPlane(
        squared=squared.astype(np.float32),
        by_ring=np.argsort(ring, kind="stable"),
        ring_starts=np.searchsorted(np.sort(ring), np.arange(_RINGS)),
        ring_is_empty=np.bincount(ring, minlength=_RINGS) == 0,
        inner_ring=inner_ring,
        beyond=(position - inner_ring).astype(np.float32),
        high_pass=(1.0 - gaussian).astype(np.float32),
        per_laplacian=(1.0 / laplacian).astype(np.complex64),
        edge_down=_step(down[:, 0]),
        edge_across=_step(across[0]),
        floor=(MODEL_FLOOR * np.minimum(squared / FLOOR_FREQUENCY**2, 1.0)).astype(np.float32),
        scene_weight=(scene_weight / scene_weight.sum()).astype(np.float32),
    )


def _step(frequency: NDArray[np.float64]) -> NDArray[np.complex64]:
    return np.asarray(1.0 - np.exp(2j * np.pi * frequency), np.complex64)


def filter_tiles(
    tiles: Image,
    H: Spectrum,
    noise_variance: Image,
    sigma_px: Image,
    plane: FrequencyPlane,
    *,
    underdamped: Image | None = None,
) -> FilteredTiles:
    """Undo known blurs on tiles (n, C, rows, columns) of linear light.

    H : (n, rows, columns // 2 + 1) transfer functions; noise_variance : (n,) of one channel;
    sigma_px : (n,) uncertainty of the paths. underdamped : (C,) weights of the luminance that is
    wanted underdamped too.
    """
    rows, columns = tiles.shape[-2:]
    smooth = _smooth_part(tiles, plane)
    spectrum = fft.rfft2(tiles) - smooth
    H2 = _squared(H)
    power = _squared(spectrum).mean(axis=1) / np.float32(rows * columns)
    noise = noise_variance[:, None, None]
    damping = np.float32(NOISE_WEIGHT) * noise / _scene_power(power, H2, noise, plane)
    damping += plane.floor
    spread = np.square(2.0 * np.pi * sigma_px, dtype=np.float32)[:, None, None]
    uncertainty = np.float32(UNCERTAINTY_WEIGHT) * np.minimum(spread * plane.squared, 1.0)
    lively = None
    if underdamped is not None:
        light = np.float32(LIGHT_DAMPING) * damping + uncertainty
        light[:, 0, 0] = 0.0
        luminance = _weighted(underdamped, spectrum)
        luminance *= _filter(H, H2 + light)
        luminance += _weighted(underdamped, smooth)
        lively = fft.irfft2(luminance, s=(rows, columns))
    damping += uncertainty
    damping[:, 0, 0] = 0.0
    denominator = H2 + damping
    spectrum *= _filter(H, denominator)[:, None]
    spectrum += smooth
    sharp = fft.irfft2(spectrum, s=(rows, columns))
    unexplained = np.asarray(damping / denominator, np.float32)
    return FilteredTiles(sharp, _expected_share(unexplained, plane), lively)


def _filter(H: Spectrum, denominator: Image) -> Spectrum:
    """W = conj(H) / denominator, each part for itself: a complex division takes 3 times as long."""
    W = np.empty_like(H)
    gain = np.reciprocal(denominator)
    np.multiply(H.real, gain, out=W.real)
    np.multiply(H.imag, np.negative(gain, out=gain), out=W.imag)
    return W


def _weighted(weights: Image, spectra: Spectrum) -> Spectrum:
    """Weighted sums over the channels: (n, C, ...) -> (n, ...)."""
    tiles, channels, *shape = spectra.shape
    parts = spectra.view(spectra.real.dtype).reshape(tiles, channels, -1)
    sums = np.matmul(weights, parts)
    return np.asarray(sums.view(spectra.dtype).reshape(tiles, *shape))


def _squared(values: Spectrum) -> Image:
    return np.asarray(np.square(values.real) + np.square(values.imag))


def _smooth_part(tiles: Image, plane: FrequencyPlane) -> Spectrum:
    """Spectra of the smooth part of tiles, the one that carries the jump across their edges.

    Periodic plus smooth decomposition (Moisan 2011): the smooth part solves Poisson's equation for
    the steps between opposite edges. What remains wraps around without a seam and can be filtered
    cyclically; the smooth part has nothing to deblur.
    """
    step_down = fft.rfft(tiles[..., -1, :] - tiles[..., 0, :])
    step_across = fft.fft(tiles[..., :, -1] - tiles[..., :, 0])
    # edge_down (x) step_down + step_across (x) edge_across, as one product of thin matrices.
    left = np.stack([np.broadcast_to(plane.edge_down, step_across.shape), step_across], axis=-1)
    right = np.stack([step_down, np.broadcast_to(plane.edge_across, step_down.shape)], axis=-2)
    smooth: Spectrum = left @ right
    smooth *= plane.per_laplacian
    return smooth


def _scene_power(power: Image, H2: Image, noise: Image, plane: FrequencyPlane) -> Image:
    """The sharp scenes' power S, one value a ring, from the blurred power P = |H|^2 S + N.

    Least squares over the ring, S = sum |H|^2 (P - N) / sum |H|^4: frequencies that the blur
    spared speak for those that it erased, as textures look alike in all directions.
    """
    numerator = _ring_sums(H2 * (power - noise), plane)
    denominator = _ring_sums(np.square(H2), plane)
    rings = np.maximum(numerator / np.maximum(denominator, 1e-9), 1e-3 * noise[:, :, 0])
    log_rings = np.pad(np.log(rings), ((0, 0), (1, 1)), "edge")
    log_rings = 0.25 * log_rings[:, :-2] + 0.5 * log_rings[:, 1:-1] + 0.25 * log_rings[:, 2:]
    log_rings = log_rings.astype(power.dtype)
    below = np.take(log_rings, plane.inner_ring, axis=1)
    above = np.take(log_rings, plane.inner_ring + 1, axis=1)
    return np.asarray(np.exp(below + plane.beyond * (above - below)))


def _ring_sums(values: Image, plane: FrequencyPlane) -> NDArray[np.float64]:
    """Sums over rings of frequencies: (n, rows, columns // 2 + 1) -> (n, rings)."""
    sorted_ = np.take(values.reshape(len(values), -1), plane.by_ring, axis=1)
    sums = np.add.reduceat(sorted_, plane.ring_starts, axis=1, dtype=np.float64)
    return np.where(plane.ring_is_empty, 0.0, sums)


def _expected_share(unexplained: Image, plane: FrequencyPlane) -> Image:
    """Share of a SHARP scene's high-passed power that survives the re-blur test of the guard.

    unexplained : 1 - H W, what re-blurring leaves of each frequency. Scene power ~ 1 / f^2.
    """
    share = np.tensordot(np.square(unexplained), plane.scene_weight, axes=2)
    return np.asarray(share, np.float32)
