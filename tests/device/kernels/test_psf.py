"""Point-spread functions: as pictures, as transfer functions, and both against formulas."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import fft

from device.kernels.psf import STEP_PX, path_points, rasterise, transfer_function

POSES = 9
Path = NDArray[np.float64]


def straight(length_px: float, angle_deg: float = 0.0) -> Path:
    """An even motion along a line, through the origin in the middle."""
    direction = np.array([np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))])
    return np.outer(np.linspace(-length_px / 2, length_px / 2, POSES), direction)


def crooked(seed: int = 0, step_px: float = 2.0) -> Path:
    steps = step_px * np.random.default_rng(seed).standard_normal((POSES, 2))
    path = np.cumsum(steps, axis=0)
    return np.asarray(path - path[POSES // 2])


def centre_and_variance(psf: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """Centre (u, v) from the middle pixel, and the sum of the variances along both axes."""
    rows, columns = np.mgrid[: len(psf), : len(psf)] - len(psf) // 2
    centre = np.array([(columns * psf).sum(), (rows * psf).sum()], dtype=np.float64)
    variance = (psf * ((columns - centre[0]) ** 2 + (rows - centre[1]) ** 2)).sum()
    return centre, float(variance)


# Points


@pytest.mark.parametrize("path", [straight(0.0), straight(3.0, 20.0), straight(90.0), crooked(1)])
def test_points_lie_close_enough_along_the_whole_path(path: Path) -> None:
    points = path_points(path)
    gaps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert gaps.max() <= STEP_PX + 1e-5
    assert np.linalg.norm(points[0] - path[0]) <= 0.5 * STEP_PX + 1e-5
    assert np.linalg.norm(points[-1] - path[-1]) <= 0.5 * STEP_PX + 1e-5


def test_light_dwells_equally_long_on_every_piece() -> None:
    """Seven pieces in the first pixel, one long dash: an eighth of the points on the dash."""
    path = np.zeros((POSES, 2))
    path[:8, 0] = np.linspace(-0.5, 0.0, 8)
    path[8, 0] = 24.0
    points = path_points(path)
    assert np.mean(points[:, 0] > 0.0) == pytest.approx(1 / 8)


# Pictures


@pytest.mark.parametrize("size", [33, 48])
def test_a_psf_sums_to_one_and_begins_in_the_middle(size: int) -> None:
    psf = rasterise(straight(0.0), size)
    assert psf.shape == (size, size)
    assert psf[size // 2, size // 2] == 1.0
    assert psf.sum() == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_its_light_lies_where_the_path_does(seed: int) -> None:
    path = crooked(seed)
    psf = rasterise(path, 65)
    assert psf.sum() == pytest.approx(1.0, abs=1e-5)
    assert psf.min() >= 0.0
    points = path_points(path).astype(np.float64)
    centre, variance = centre_and_variance(psf)
    assert centre == pytest.approx(points.mean(axis=0), abs=1e-4)
    # Sharing a point among four pixels widens it by 0 to 1/4 px^2 along each axis.
    assert 0.0 <= variance - points.var(axis=0).sum() <= 0.5


def test_right_is_right_and_down_is_down() -> None:
    path = np.stack([np.linspace(-6, 6, POSES), np.linspace(-3, 3, POSES)], axis=1)
    path[POSES // 2 + 1 :] *= 0.0  # the second half rests in the middle
    psf = rasterise(path, 21)
    assert psf[:10, :10].sum() > 0.3
    assert psf[11:, 11:].sum() == 0.0
    assert psf[10, 10] > 0.3


def test_an_even_pan_is_a_box() -> None:
    """Nine pixels long: seven full ones, the ends shared."""
    psf = rasterise(straight(9.0), 31)
    row = psf[15].astype(np.float64)
    assert psf.sum() == pytest.approx(row.sum())
    assert row[12:19] == pytest.approx(np.full(7, 1 / 9), rel=0.08)
    assert not row[:10].any()
    assert not row[21:].any()


@pytest.mark.parametrize("path", [straight(20.0), straight(20.0, 90.0), crooked(3, step_px=6.0)])
def test_a_path_that_does_not_fit_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="does not fit 15 px"):
        rasterise(path, 15)


# Transfer functions


@pytest.mark.parametrize("length_px", [0.0, 1.0, 7.3, 31.0])
def test_an_even_pan_is_a_sinc(length_px: float) -> None:
    """sin(pi f L) / (pi f L) across, the same for every frequency down."""
    H = transfer_function(straight(length_px), 24, 64)
    expected = np.sinc(fft.rfftfreq(64) * length_px)
    # Points STEP_PX apart stand for the line: up to (pi f step)^2 / 6 of it at the frequency f.
    assert np.abs(H - expected[None, :]).max() < 0.02
    low = fft.rfftfreq(64) < 0.25
    assert np.abs(H - expected[None, :])[:, low].max() < 0.005


@pytest.mark.parametrize(
    ("path_dtype", "dtype", "error"),
    [(np.float32, np.complex64, 2e-5), (np.float64, np.complex128, 1e-12)],
)
def test_precision_is_that_of_the_path(path_dtype: type, dtype: type, error: float) -> None:
    path = crooked(2)
    points = path_points(path.astype(np.float64))
    f = np.stack(np.meshgrid(fft.rfftfreq(48), fft.fftfreq(40)), axis=-1)
    exact = np.exp(-2j * np.pi * (f @ points.T)).mean(axis=-1)
    H = transfer_function(path.astype(path_dtype), 40, 48)
    assert H.dtype == dtype
    assert np.abs(H - exact).max() < error


@pytest.mark.parametrize("angle_deg", [30.0, 90.0, 135.0])
def test_a_pan_at_an_angle_is_a_sinc_along_it(angle_deg: float) -> None:
    H = transfer_function(straight(12.0, angle_deg), 40, 48)
    angle = np.deg2rad(angle_deg)
    along = fft.rfftfreq(48)[None] * np.cos(angle) + fft.fftfreq(40)[:, None] * np.sin(angle)
    assert np.abs(H - np.sinc(12.0 * along)).max() < 0.02


def test_light_moved_right_and_down_is_a_falling_phase() -> None:
    """A point moved by (3, 2): the transform of the moved picture is H times the picture's."""
    picture = np.random.default_rng(0).standard_normal((16, 20)).astype(np.float32)
    H = transfer_function(np.tile([3.0, 2.0], (POSES, 1)), 16, 20)
    moved = fft.irfft2(fft.rfft2(picture) * H, s=picture.shape)
    assert moved == pytest.approx(np.roll(picture, (2, 3), axis=(0, 1)), abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_transform_of_the_picture(seed: int) -> None:
    """Sharing points among pixels softens the picture by at most sinc^2 a frequency and axis."""
    path, size = crooked(seed), 64
    picture = np.roll(rasterise(path, size), (-size // 2, -size // 2), axis=(0, 1))
    of_picture = fft.rfft2(picture)
    H = transfer_function(path, size, size)
    down, across = fft.fftfreq(size)[:, None], fft.rfftfreq(size)[None]
    low = np.hypot(down, across) < 0.1
    assert np.abs(of_picture - H)[low].max() < 0.04
    # The softening itself is known on the average of sub-pixel positions.
    softened = H * np.sinc(down) ** 2 * np.sinc(across) ** 2
    assert np.abs(of_picture - softened)[low].max() < np.abs(of_picture - H)[low].max()


def test_it_conserves_light() -> None:
    H = transfer_function(crooked(2), 32, 32)
    assert H[0, 0] == pytest.approx(1.0, abs=1e-6)
    assert np.abs(H).max() <= 1.0 + 1e-5


def test_the_shape_is_that_of_a_real_transform() -> None:
    for height, width in ((10, 12), (11, 13)):
        assert transfer_function(crooked(0), height, width).shape == (height, width // 2 + 1)
