"""Re-blurring against the forward model: the same photograph by two roads."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from device.calibration import CameraCalibration
from device.capture.render import render_exposure, render_sharp
from device.capture.timing import FrameTiming
from device.kernels import field as field_module
from device.kernels.field import KernelField, kernel_field
from device.kernels.reblur import COARSE_GRID, reblur
from device.kernels.tiling import TileGrid
from device.motion.poses import PoseTrack
from device.motion.rotations import rotation_exp

WIDTH, HEIGHT, FOCAL_PX = 384, 320, 700.0
EXPOSURE_NS, LINE_TIME_NS = 40_000_000, 90_000
MID_NS = 10**15
MARGIN_PX, BORDER_PX = 48, 24
SMALL_TILES = TileGrid.square(size=96, margin=24, overlap=16)

Image = NDArray[np.float32]


def camera() -> CameraCalibration:
    return CameraCalibration(
        fx=FOCAL_PX,
        fy=FOCAL_PX,
        cx=(WIDTH - 1) / 2,
        cy=(HEIGHT - 1) / 2,
        width=WIDTH,
        height=HEIGHT,
        distortion_model="none",
        distortion_coeffs=(),
        T_cam_imu=np.eye(4),
    )


def timing() -> FrameTiming:
    first_end_ns = MID_NS + EXPOSURE_NS // 2 - LINE_TIME_NS * HEIGHT // 2
    return FrameTiming(first_end_ns, EXPOSURE_NS, LINE_TIME_NS, "top_down", HEIGHT)


def shaking() -> PoseTrack:
    """Paths of about 16 px, mostly along the read-out, that change over the frame."""
    t_ns = MID_NS + np.arange(-120, 121, dtype=np.int64) * 500_000
    t_s = (t_ns - MID_NS)[:, None] * 1e-9
    omega = 2 * np.pi * np.array([5.0, 6.0, 4.0])
    angle = np.deg2rad([1.2, 0.6, 1.5]) * np.sin(omega * t_s + [0.2, 1.0, 0.5])
    return PoseTrack(t_ns, rotation_exp(angle))


def texture(height: int, width: int, seed: int = 0) -> Image:
    """Random detail of every size, amplitude as 1 / f, like a photograph's."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    fall = 1.0 / np.maximum(frequency, 1.0 / width)
    spectrum = np.fft.rfft2(rng.standard_normal((3, height, width))) * fall
    planes = np.fft.irfft2(spectrum, s=(height, width))
    planes = 0.4 + 0.12 * (planes - planes.mean()) / planes.std()
    return np.ascontiguousarray(np.moveaxis(planes, 0, 2), np.float32)


@pytest.fixture(scope="module")
def shot() -> tuple[Image, Image]:
    """(sharp, blurred), both by the forward model."""
    scene_K = camera().K.copy()
    scene_K[:2, 2] += MARGIN_PX
    scene = texture(HEIGHT + 2 * MARGIN_PX, WIDTH + 2 * MARGIN_PX)
    sharp = render_sharp(scene, scene_K, camera(), timing(), shaking())
    return sharp, render_exposure(scene, scene_K, camera(), timing(), shaking())


def psnr(a: Image, b: Image) -> float:
    inner = slice(BORDER_PX, -BORDER_PX)
    error = (a[inner, inner] - b[inner, inner]).astype(np.float64)
    return float(-10 * np.log10(np.mean(error**2)))


def test_reblurring_the_sharp_view_gives_the_photograph(shot: tuple[Image, Image]) -> None:
    sharp, blurred = shot
    field = kernel_field(shaking(), camera(), timing())
    assert np.median(field.length_px) > 12
    assert psnr(sharp, blurred) < 28
    assert psnr(reblur(sharp, field, grid=SMALL_TILES), blurred) > 45


def test_smaller_tiles_follow_the_field_better(shot: tuple[Image, Image]) -> None:
    sharp, blurred = shot
    field = kernel_field(shaking(), camera(), timing())
    coarse = psnr(reblur(sharp, field, grid=COARSE_GRID), blurred)
    assert psnr(reblur(sharp, field), blurred) > coarse + 2


def test_following_the_rows_brings_it_closer(
    shot: tuple[Image, Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    sharp, blurred = shot
    field = kernel_field(shaking(), camera(), timing())
    with_it = psnr(reblur(sharp, field, grid=SMALL_TILES), blurred)
    monkeypatch.setattr(field_module, "_follow_the_rows", lambda paths, *rest: paths)
    field = kernel_field(shaking(), camera(), timing())
    assert with_it > psnr(reblur(sharp, field, grid=SMALL_TILES), blurred) + 0.7


def constant_field(path: NDArray[np.float64]) -> KernelField:
    node_u, node_v = np.array([0.0, 512.0]), np.array([0.0, 512.0])
    paths = np.broadcast_to(path, (2, 2, 9, 2)).astype(np.float32)
    ones = np.ones((2, 2))
    return KernelField(512, 512, node_u, node_v, paths, ones.astype(np.float32), ones > 0)


def test_a_motionless_camera_changes_nothing() -> None:
    sharp = texture(150, 170)
    blurred = reblur(sharp, constant_field(np.zeros((9, 2))))
    assert blurred.dtype == np.float32
    assert np.abs(blurred - sharp).max() < 1e-5


def test_an_even_pan_is_a_moving_average() -> None:
    """Eleven pixels along a row, against a sum of shifted copies."""
    sharp = texture(90, 200)
    path = np.stack([np.linspace(-5.5, 5.5, 9), np.zeros(9)], axis=1)
    blurred = reblur(sharp, constant_field(path))
    padded = np.pad(sharp, ((0, 0), (8, 8), (0, 0)), mode="reflect")
    shares = dict.fromkeys(range(-5, 6), 1 / 11)
    expected = sum(
        share * padded[:, 8 - shift : 8 - shift + 200] for shift, share in shares.items()
    )
    assert np.abs(blurred - expected).max() < 0.01


def test_a_path_to_the_right_moves_light_to_the_right() -> None:
    sharp = np.zeros((64, 64, 1), np.float32)
    sharp[32, 32] = 1.0
    path = np.stack([np.linspace(0.0, 12.0, 9), np.linspace(0.0, 6.0, 9)], axis=1)
    blurred = reblur(sharp, constant_field(path))[:, :, 0]
    rows, columns = np.mgrid[:64, :64]
    assert (blurred * columns).sum() == pytest.approx(32 + 6, abs=0.05)
    assert (blurred * rows).sum() == pytest.approx(32 + 3, abs=0.05)


def test_threads_change_nothing(shot: tuple[Image, Image]) -> None:
    field = kernel_field(shaking(), camera(), timing())
    one, three = (reblur(shot[0], field, threads=n) for n in (1, 3))
    assert np.array_equal(one, three)
