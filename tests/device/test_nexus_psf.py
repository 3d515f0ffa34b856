"""The predicted blur against the true one: white dots in the black squares of a real photograph.

Every printed dot is a disc about 11.5 px wide in this photograph, wider than the 9 px that the
hand moved. So the prediction is the PSF convolved with one disc and one lens blur, the same for
all dots, and it must beat the best still disc, not only correlate with the dot.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import j1

from device.bundle import Bundle, read_bundle
from device.importers.nexus import import_nexus
from device.kernels.field import kernel_field
from device.kernels.psf import rasterise
from device.motion.frame_motion import frame_motion

Floats = NDArray[np.floating[Any]]
SIZE = 48
DOT_PX, LENS_SIGMA_PX = 11.5, 1.3
WINDOW_PX = 16.0

# What was measured; the issue asks for 0.8 on 8 dots.
LEAST_CORRELATION = 0.98
LEAST_GAIN = 1.9


@pytest.fixture(scope="module")
def bundle(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    source = shared_data / "gyro_blur" / "galaxy_nexus_chart"
    (path,) = import_nexus(source, tmp_path_factory.mktemp("nexus"))
    return read_bundle(path)


@pytest.fixture(scope="module")
def dots(bundle: Bundle) -> list[tuple[Floats, Floats]]:
    """(centre uv, (SIZE, SIZE) linear light without background) of every dot."""
    coded = bundle.read_pixels()[..., 1] / 255.0
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    return [_crop(linear, centre) for centre in _dark_squares(coded)]


def _dark_squares(coded: Floats) -> list[tuple[int, int]]:
    dark = (coded < 0.38).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(dark)
    centres = []
    for left, top, width, height, area in stats[1:count]:
        if min(width, height) > 110 and max(width, height) < 170 and area > 0.85 * width * height:
            centres.append((int(left + width // 2), int(top + height // 2)))
    return sorted(centres, key=lambda centre: (centre[1] // 200, centre[0]))


def _grid() -> tuple[Floats, Floats]:
    v, u = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)
    return u, v


def _crop(linear: Floats, centre: tuple[int, int]) -> tuple[Floats, Floats]:
    """The dot nearest a square's centre, its background (a plane around it) taken off."""
    u, v = _grid()
    x, y = centre
    for _ in range(3):
        crop = linear[y - SIZE // 2 : y + SIZE // 2, x - SIZE // 2 : x + SIZE // 2]
        bright = np.clip(crop - 0.5 * (np.median(crop) + crop.max()), 0, None)
        du = (bright * u).sum() / bright.sum() - SIZE // 2
        dv = (bright * v).sum() / bright.sum() - SIZE // 2
        x, y = x + round(du), y + round(dv)
    crop = linear[y - SIZE // 2 : y + SIZE // 2, x - SIZE // 2 : x + SIZE // 2]
    away = np.hypot(u - SIZE // 2, v - SIZE // 2)
    ring = (away > 14) & (away < 23)
    plane = np.stack([np.ones_like(u), u, v], axis=-1)
    fit = np.linalg.lstsq(plane[ring], crop[ring], rcond=None)[0]
    return np.array([x + du, y + dv]), (crop - plane @ fit) * (away < WINDOW_PX)


def _frequencies() -> tuple[Floats, Floats]:
    return np.fft.rfftfreq(SIZE)[None], np.fft.fftfreq(SIZE)[:, None]


def _dot_transfer(diameter_px: float, sigma_px: float) -> Floats:
    """A printed disc seen by a lens: a jinc times a Gaussian."""
    fu, fv = _frequencies()
    f = np.hypot(fu, fv)
    x = np.pi * diameter_px * f
    jinc = np.where(x > 0, 2 * j1(x) / np.where(x > 0, x, 1), 1.0)
    return np.asarray(jinc * np.exp(-2 * (np.pi * sigma_px * f) ** 2))


def _energy(spectrum: Any) -> float:
    """Sum over the whole plane from the half that rfft2 keeps."""
    return float(2 * spectrum.sum() - spectrum[:, 0].sum() - spectrum[:, -1].sum())


def aligned_correlation(observed: Floats, predicted_spectrum: Any) -> float:
    """Normalised correlation at the best shift, found to 1/50 px."""
    fu, fv = _frequencies()
    seen = np.fft.rfft2(observed - observed.mean())
    predicted = predicted_spectrum.copy()
    predicted[0, 0] = 0
    cross = seen * predicted.conj()

    def at(dv: float, du: float) -> float:
        return _energy((cross * np.exp(2j * np.pi * (fu * du + fv * dv))).real)

    whole = np.fft.irfft2(cross, s=(SIZE, SIZE))
    here = tuple(float(i) for i in np.unravel_index(int(whole.argmax()), whole.shape))
    best, step = at(*here), 0.5
    while step > 0.02:
        around = [(here[0] + a * step, here[1] + b * step) for a, b in _SIDES]
        top = max(around, key=lambda shift: at(*shift))
        if at(*top) > best:
            here, best = top, at(*top)
        else:
            step /= 2
    return float(best / np.sqrt(_energy(np.abs(seen) ** 2) * _energy(np.abs(predicted) ** 2)))


_SIDES = ((0, 1), (0, -1), (1, 0), (-1, 0))


def predicted_paths(bundle: Bundle, dots: list[tuple[Floats, Floats]]) -> NDArray[Any]:
    motion = frame_motion(bundle.samples, bundle.calibration, bundle.timing)
    field = kernel_field(motion.track, bundle.calibration, bundle.timing)
    return field.paths_at(np.array([centre for centre, _ in dots]))


def psf_correlations(bundle: Bundle, dots: list[tuple[Floats, Floats]]) -> Floats:
    dot = _dot_transfer(DOT_PX, LENS_SIGMA_PX)
    paths = predicted_paths(bundle, dots)
    return np.array(
        [
            aligned_correlation(seen, np.fft.rfft2(rasterise(path, SIZE)) * dot)
            for (_, seen), path in zip(dots, paths, strict=True)
        ]
    )


def still_correlations(dots: list[tuple[Floats, Floats]]) -> Floats:
    """The best round dot without any motion: diameter and blur fitted to all dots together."""
    point = np.zeros((SIZE, SIZE))
    point[SIZE // 2, SIZE // 2] = 1
    spectrum = np.fft.rfft2(point)
    tries = [
        np.array([aligned_correlation(seen, spectrum * _dot_transfer(d, s)) for _, seen in dots])
        for d in (11.0, 11.5, 12.0, 12.5)
        for s in (1.5, 2.0, 2.4, 2.8)
    ]
    return max(tries, key=lambda correlations: float(correlations.mean()))


def unexplained(correlations: Floats) -> float:
    return float((1 - correlations**2).mean())


def shifted(bundle: Bundle, shift_s: float) -> Bundle:
    earlier = bundle.calibration.timeshift_s
    return replace(bundle, calibration=replace(bundle.calibration, timeshift_s=earlier + shift_s))


def test_all_thirteen_dots_are_found(dots: list[tuple[Floats, Floats]]) -> None:
    assert len(dots) == 13
    assert all(seen.max() > 0.25 for _, seen in dots)


def test_predicted_psfs_match_the_dots(
    bundle: Bundle, dots: list[tuple[Floats, Floats]], record_property: Any
) -> None:
    found, still = psf_correlations(bundle, dots), still_correlations(dots)
    record_property("correlations", [round(float(value), 4) for value in found])
    record_property("still disc", [round(float(value), 4) for value in still])
    assert (found > LEAST_CORRELATION).sum() >= 8
    assert found.min() > 0.8
    # The motion explains half of what the best motionless dot leaves unexplained.
    assert unexplained(still) > LEAST_GAIN * unexplained(found)


def test_elongation_follows_the_rows(bundle: Bundle, dots: list[tuple[Floats, Floats]]) -> None:
    """xx - yy of the second moments: the round dot and the lens cancel out of it."""
    u, v = _grid()
    seen = []
    for _, picture in dots:
        weight = np.clip(picture - 0.05 * picture.max(), 0, None)
        cov = np.cov(np.stack([u.ravel(), v.ravel()]), aweights=weight.ravel())
        seen.append(cov[0, 0] - cov[1, 1])
    variance = predicted_paths(bundle, dots).var(axis=1)
    assert np.corrcoef(variance[:, 0] - variance[:, 1], seen)[0, 1] > 0.9
    assert max(seen) > 3
    assert min(seen) < -1


def test_the_time_shift_is_the_one_the_dots_want(
    bundle: Bundle, dots: list[tuple[Floats, Floats]]
) -> None:
    shifts_ms = np.arange(-24, 25, 3)
    left = [unexplained(psf_correlations(shifted(bundle, ms * 1e-3), dots)) for ms in shifts_ms]
    assert abs(int(shifts_ms[int(np.argmin(left))])) <= 3
    assert left[0] > 1.3 * min(left)
    assert left[-1] > 1.3 * min(left)


def test_other_axes_do_not_explain_the_dots(
    bundle: Bundle, dots: list[tuple[Floats, Floats]]
) -> None:
    right = unexplained(psf_correlations(bundle, dots))
    quarter = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    turned = replace(bundle.calibration, T_cam_imu=quarter @ bundle.calibration.T_cam_imu)
    assert unexplained(psf_correlations(replace(bundle, calibration=turned), dots)) > 1.5 * right
