"""The inverse filter on tiles whose blur, noise and scene are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import fft

from device.kernels.psf import transfer_function
from device.restore.wiener import FrequencyPlane, filter_tiles, frequency_plane

SIZE, MARGIN = 144, 28
Image = NDArray[np.float32]
Path = NDArray[np.float64]


def texture(size: int, seed: int = 0) -> Image:
    """Random detail of every size, amplitude as 1 / f: (3, size, size) around 0.4."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    fall = 1.0 / np.maximum(frequency, 1.0 / size)
    planes = fft.irfft2(fft.rfft2(rng.standard_normal((3, size, size))) * fall, s=(size, size))
    planes = 0.4 + 0.12 * (planes - planes.mean()) / planes.std()
    return np.asarray(np.clip(planes, 0.0, 1.0), np.float32)


def straight(du: float, dv: float) -> Path:
    return np.linspace(-0.5, 0.5, 9)[:, None] * [du, dv]


def hook() -> Path:
    """A hand's path: down, then to the right, slower at the end."""
    u = np.array([0.0, 0.1, 0.3, 0.8, 2.0, 4.0, 6.5, 8.5, 9.5])
    v = np.array([0.0, 2.5, 4.5, 6.0, 7.0, 7.5, 7.8, 7.9, 8.0])
    return np.stack([u - u[4], v - v[4]], axis=1)


def photographed(path: Path, noise_sd: float, seed: int = 0) -> tuple[Image, Image]:
    """(sharp, blurred and noisy) tile cut from something larger: its edges do not wrap around."""
    large = 2 * SIZE
    scene = texture(large, seed)
    H = transfer_function(path, large, large)
    blurred = fft.irfft2(fft.rfft2(scene) * H, s=(large, large))
    noise = noise_sd * np.random.default_rng(seed + 50).standard_normal(blurred.shape)
    cut = slice(SIZE // 2, SIZE // 2 + SIZE)
    return scene[:, cut, cut], np.asarray(blurred + noise, np.float32)[:, cut, cut]


def filter_one(
    tile: Image, H: NDArray[np.complex64], variance: float, sigma_px: float, plane: FrequencyPlane
) -> tuple[Image, float]:
    """The sharp tile and its expected share."""
    each = [np.full(1, value, np.float32) for value in (variance, sigma_px)]
    filtered = filter_tiles(tile[None], H[None], each[0], each[1], plane)
    return filtered.sharp[0], float(filtered.expected_share[0])


def test_the_underdamped_luminance_is_sharper_and_noisier() -> None:
    plane = frequency_plane(SIZE, SIZE)
    weights = np.array([0.25, 0.5, 0.25], np.float32)
    each = np.full(1, 2e-5, np.float32), np.full(1, 0.0, np.float32)
    inner = slice(MARGIN, -MARGIN)

    def roughness(scene: Image, picture: Image) -> float:
        return float(np.square(picture - scene)[inner, inner].mean())

    errors = {}
    for noise_sd in (0.0, 4.5e-3):
        scene, tile = photographed(hook(), noise_sd)
        H = transfer_function(hook(), SIZE, SIZE)
        found = filter_tiles(tile[None], H[None], *each, plane, underdamped=weights)
        assert found.underdamped is not None
        luminance = np.tensordot(weights, scene, axes=1)
        kept = np.tensordot(weights, found.sharp[0], axes=1)
        errors[noise_sd] = roughness(luminance, kept), roughness(luminance, found.underdamped[0])
    (kept, lively), (kept_noisy, lively_noisy) = errors.values()
    assert lively < kept
    assert lively_noisy - lively > 1.5 * (kept_noisy - kept)


def restored(tile: Image, path: Path, noise_sd: float, sigma_px: float = 0.0) -> Image:
    H = transfer_function(path, SIZE, SIZE)
    plane = frequency_plane(SIZE, SIZE)
    return filter_one(tile, H, max(noise_sd**2, 1e-8), sigma_px, plane)[0]


def psnr(a: Image, b: Image) -> float:
    """Inside the margins, which the tiles' windows throw away."""
    inner = slice(MARGIN, -MARGIN)
    error = (a[:, inner, inner] - b[:, inner, inner]).astype(np.float64)
    return float(-10 * np.log10(np.mean(error**2)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("path", "noise_sd", "gain_db"),
    [(straight(12, 0), 0.002, 4.0), (straight(5, 9), 0.01, 2.0), (hook(), 0.005, 5.0)],
    ids=["pan", "tilted, noisy", "hook"],
)
def test_a_known_blur_is_undone(path: Path, noise_sd: float, gain_db: float, seed: int) -> None:
    sharp, blurred = photographed(path, noise_sd, seed)
    assert psnr(restored(blurred, path, noise_sd), sharp) > psnr(blurred, sharp) + gain_db


@pytest.mark.parametrize("noise_sd", [0.01, 0.02])
def test_it_is_nearly_the_filter_that_knows_the_scene(noise_sd: float) -> None:
    """Wiener's optimum with the true spectrum, on a scene that does wrap around.

    (With less noise the floor for an imperfect path decides, which the optimum does not have.)
    """
    scene, path = texture(SIZE), hook()
    H = transfer_function(path, SIZE, SIZE)
    noise = noise_sd * np.random.default_rng(9).standard_normal(scene.shape)
    blurred = np.asarray(fft.irfft2(fft.rfft2(scene) * H, s=(SIZE, SIZE)) + noise, np.float32)
    down, across = np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None]
    power = 1.0 / np.maximum(down**2 + across**2, 1.0 / SIZE**2)
    full = np.concatenate([power, power[:, 1:-1]], axis=1).sum()
    power *= scene.var() * SIZE**2 / full
    optimal = fft.irfft2(
        fft.rfft2(blurred) * np.conj(H) / (np.abs(H) ** 2 + noise_sd**2 / power), s=(SIZE, SIZE)
    )
    best = psnr(np.asarray(optimal, np.float32), scene)
    assert best > psnr(blurred, scene) + 2
    assert psnr(restored(blurred, path, noise_sd), scene) > best - 1.0


def test_without_blur_it_leaves_the_photograph_alone() -> None:
    sharp, noisy = photographed(straight(0, 0), 0.004)
    result = restored(noisy, straight(0, 0), 0.004)
    assert psnr(result, noisy) > 45
    assert psnr(result, sharp) > psnr(noisy, sharp) - 0.5


@pytest.mark.parametrize("path", [straight(0, 0), straight(12, 5), hook()], ids=str)
@pytest.mark.parametrize("sigma_px", [0.0, 2.0])
def test_no_light_is_lost(path: Path, sigma_px: float) -> None:
    _, blurred = photographed(path, 0.01)
    result = restored(blurred, path, 0.01, sigma_px)
    assert result.mean(axis=(1, 2)) == pytest.approx(blurred.mean(axis=(1, 2)), rel=1e-5)


def test_the_more_uncertain_the_path_the_less_is_done() -> None:
    _, blurred = photographed(hook(), 0.003)
    changes = [
        float(np.abs(restored(blurred, hook(), 0.003, sigma_px) - blurred).mean())
        for sigma_px in (0.0, 0.5, 1.0, 2.0)
    ]
    assert changes == sorted(changes, reverse=True)
    assert changes[-1] < 0.7 * changes[0]


def test_a_wrong_path_does_less_harm_when_its_uncertainty_is_known() -> None:
    """The log says 14 px, the hand did 11: off by 0.9 px rms."""
    sharp, blurred = photographed(straight(11, 0), 0.002)
    trusting = psnr(restored(blurred, straight(14, 0), 0.002, 0.0), sharp)
    careful = psnr(restored(blurred, straight(14, 0), 0.002, 0.9), sharp)
    assert careful > trusting + 0.7


def test_the_noisier_the_photograph_the_less_is_done() -> None:
    _, blurred = photographed(hook(), 0.003)
    changes = [
        float(np.abs(restored(blurred, hook(), noise_sd) - blurred).mean())
        for noise_sd in (0.001, 0.01, 0.1)
    ]
    assert changes == sorted(changes, reverse=True)


def test_opposite_edges_that_differ_leave_no_seam() -> None:
    """A slope from dark to bright: blurred it is the same slope, and so must the result be."""
    slope = np.linspace(0.1, 0.9, SIZE, dtype=np.float32)
    tile = np.stack([np.tile(slope, (SIZE, 1)), np.tile(slope[:, None], (1, SIZE))])
    result = restored(tile, straight(16, 10), 0.001)
    inner = slice(MARGIN, -MARGIN)
    assert np.abs(result - tile)[:, inner, inner].max() < 0.01


def test_each_channel_is_filtered_alike() -> None:
    _, blurred = photographed(hook(), 0.003)
    same = np.repeat(blurred[:1], 3, axis=0)
    result = restored(same, hook(), 0.003)
    assert np.abs(result - result[:1]).max() < 1e-6
    assert result.dtype == np.float32


def expected_share(path: Path, noise_sd: float = 0.002, sigma_px: float = 0.0) -> float:
    _, blurred = photographed(path, noise_sd)
    H = transfer_function(path, SIZE, SIZE)
    return filter_one(blurred, H, noise_sd**2, sigma_px, frequency_plane(SIZE, SIZE))[1]


def test_what_a_sharp_scene_would_leave_over_grows_with_the_blur() -> None:
    """Without blur re-blurring explains everything; a long path erases most fine detail."""
    shares = [expected_share(straight(length, 0.4 * length)) for length in (0.0, 4.0, 12.0, 30.0)]
    assert shares == sorted(shares)
    assert shares[0] < 0.05
    assert 0.5 < shares[-1] <= 1.0


def test_what_a_sharp_scene_leaves_over_is_predicted() -> None:
    """Filter a SHARP tile with a path it does not have, blur again: the measured share."""
    path, noise_sd = straight(12, 5), 0.002
    sharp = texture(SIZE, seed=4)
    H, plane = transfer_function(path, SIZE, SIZE), frequency_plane(SIZE, SIZE)
    result, share = filter_one(sharp, H, noise_sd**2, 0.0, plane)
    left = sharp - fft.irfft2(fft.rfft2(result) * H, s=(SIZE, SIZE))
    power = [
        np.square(fft.irfft2(fft.rfft2(part) * plane.high_pass, s=(SIZE, SIZE))).mean()
        for part in (left, sharp)
    ]
    assert power[0] / power[1] == pytest.approx(share, rel=0.15)
