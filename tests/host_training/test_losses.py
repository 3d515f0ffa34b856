"""The losses against formulas by hand and against the device's own blur."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed")

from device.kernels.psf import transfer_function  # noqa: E402
from device.restore.tone import decode  # noqa: E402
from host_training.losses import (  # noqa: E402
    CorrectorLoss,
    charbonnier,
    fft_l1,
    reblur,
    reblur_loss,
    seed_loss,
    srgb_to_linear,
    transfer_functions,
)

SIZE = 64


def _pictures(seed: int, count: int = 2, size: int = SIZE) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, size // 8, size // 8, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 0.9)


def _curved_path_px(length_px: float) -> np.ndarray:
    """(9, 2) from -1/2 to 1/2 of a bent path, the middle at (0, 0)."""
    fraction = np.linspace(-0.5, 0.5, 9)
    path = np.stack([length_px * fraction, 0.4 * length_px * (fraction + 2 * fraction**2)], 1)
    return path.astype(np.float32)


def _paths_view(paths_px: np.ndarray, cells: int = SIZE // 8) -> torch.Tensor:
    """(B, 9, 2) to (B, 16, cells, cells) in units of 32 px, alike everywhere."""
    pieces = np.delete(paths_px, 4, axis=1) / 32.0
    flat = torch.from_numpy(pieces.transpose(0, 2, 1).reshape(len(paths_px), 16))
    return flat[:, :, None, None].expand(-1, -1, cells, cells)


def test_charbonnier_is_l1_far_away_and_smooth_near() -> None:
    sharp = torch.zeros(1, 3, 4, 4)
    assert charbonnier(sharp + 0.5, sharp).item() == pytest.approx(0.5, rel=1e-4)
    assert charbonnier(sharp, sharp).item() == pytest.approx(1e-3)


def test_fft_l1_equals_numpy_s_transform() -> None:
    restored, sharp = _pictures(1), _pictures(2)
    spectrum = np.fft.rfft2((restored - sharp).numpy().astype(float), norm="ortho")
    expected = np.mean([np.abs(spectrum.real), np.abs(spectrum.imag)])
    assert fft_l1(restored, sharp).item() == pytest.approx(expected, rel=1e-4)


def test_seed_loss_weighs_ten_to_one() -> None:
    sharp = torch.zeros(1, 3, 4, 4)
    assert seed_loss(sharp + 0.2, sharp).item() == pytest.approx(10 * 0.2 + 0.04)


def test_linear_light_is_the_device_s_own_with_finite_gradients() -> None:
    code = torch.linspace(-0.1, 1.1, 200, requires_grad=True)
    linear = srgb_to_linear(code)
    expected = decode(np.clip(np.linspace(-0.1, 1.1, 200), 0, 1), "srgb")
    np.testing.assert_allclose(linear.detach().numpy(), expected, atol=1e-6)
    linear.sum().backward()
    assert torch.isfinite(code.grad).all()


@pytest.mark.parametrize("cells", [7, 8])
def test_transfer_functions_are_the_device_s_own(cells: int) -> None:
    paths_px = np.stack([_curved_path_px(12.0), _curved_path_px(-25.0)])
    result = transfer_functions(_paths_view(paths_px, cells), SIZE, SIZE).numpy()
    expected = np.stack([transfer_function(path, SIZE, SIZE) for path in paths_px])
    # The device's points are up to 0.6 px apart: at the highest frequencies that is felt.
    np.testing.assert_allclose(result, expected, atol=6e-3)
    np.testing.assert_allclose(result[:, :8, :8], expected[:, :8, :8], atol=1e-3)
    assert result[:, 0, 0] == pytest.approx(1.0, abs=1e-6)


def test_every_picture_is_blurred_by_its_own_psf() -> None:
    paths_px = np.stack([np.zeros((9, 2), np.float32), _curved_path_px(16.0)])
    pictures = _pictures(3)
    blurred = reblur(pictures, transfer_functions(_paths_view(paths_px), SIZE, SIZE))
    linear = srgb_to_linear(pictures)
    torch.testing.assert_close(blurred[0], linear[0], rtol=0, atol=1e-5)
    assert blurred[1].std() < 0.97 * linear[1].std()


def _linear_to_srgb(linear: torch.Tensor) -> torch.Tensor:
    curve = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, curve)


def test_the_truth_agrees_with_its_own_blur_and_the_photograph_does_not() -> None:
    sharp = _pictures(4)
    transfer = transfer_functions(_paths_view(np.stack([_curved_path_px(10.0)] * 2)), SIZE, SIZE)
    blurred = _linear_to_srgb(reblur(sharp, transfer).clamp(0, 1))
    truth = reblur_loss(sharp, blurred, transfer, 8).item()
    assert truth == pytest.approx(1e-3, abs=1e-4)
    assert reblur_loss(blurred, blurred, transfer, 8).item() > 3 * truth


def test_clipped_pixels_and_the_margin_are_not_judged() -> None:
    identity = torch.ones(1, SIZE, SIZE // 2 + 1, dtype=torch.complex64)
    blurred = torch.full((1, 3, SIZE, SIZE), 0.5)
    restored = blurred.clone()
    blurred[..., 20:30, 20:30] = 1.0
    restored[..., :8, :] = 0.0
    assert reblur_loss(restored, blurred, identity, 8).item() == pytest.approx(1e-3, abs=1e-5)
    assert reblur_loss(restored, blurred, identity, 0).item() > 5e-3
    all_clipped = torch.ones_like(blurred)
    assert reblur_loss(restored, all_clipped, identity, 8).item() == 0.0


def test_a_margin_that_leaves_nothing_is_refused() -> None:
    picture = torch.zeros(1, 3, SIZE, SIZE)
    with pytest.raises(ValueError, match="margin_px: found 32"):
        reblur_loss(picture, picture, torch.ones(1, SIZE, SIZE // 2 + 1), 32)


def test_the_sum_of_all_falls_towards_the_truth_and_has_gradients() -> None:
    sharp = _pictures(5)
    paths = _paths_view(np.stack([_curved_path_px(10.0)] * 2))
    blurred = _linear_to_srgb(reblur(sharp, transfer_functions(paths, SIZE, SIZE)).clamp(0, 1))
    batch = {"sharp": sharp, "blurred": blurred, "paths": paths}
    loss = CorrectorLoss(margin_px=8)
    losses = []
    for share in (0.0, 0.5, 1.0):
        restored = (blurred + share * (sharp - blurred)).requires_grad_()
        value = loss(restored, batch)
        value.backward()
        assert torch.isfinite(restored.grad).all()
        losses.append(value.item())
    assert losses[0] > losses[1] > losses[2]


def test_bfloat16_is_judged_in_float32() -> None:
    sharp = _pictures(6)
    restored = sharp.to(torch.bfloat16)
    batch = {"sharp": sharp, "blurred": sharp, "paths": torch.zeros(2, 16, 8, 8)}
    for value in (seed_loss(restored, sharp), CorrectorLoss(margin_px=8)(restored, batch)):
        assert value.dtype == torch.float32


def test_pictures_without_motion_data_are_not_held_to_the_photograph() -> None:
    blurred, sharp = _pictures(7), _pictures(8)
    plain = CorrectorLoss(reblur_weight=0.0, margin_px=8)
    with_reblur = CorrectorLoss(margin_px=8)
    paths = torch.zeros(2, 16, 8, 8)
    batch = {"sharp": sharp, "blurred": blurred, "paths": paths}
    assert with_reblur(sharp, batch).item() == plain(sharp, batch).item()
    measured = {**batch, "paths": torch.cat([paths[:1], paths[1:] + 0.01])}
    assert with_reblur(sharp, measured).item() > plain(sharp, measured).item()


def test_autocast_and_memory_format_change_nothing() -> None:
    sharp, restored = _pictures(9), _pictures(10)
    paths = _paths_view(np.stack([_curved_path_px(10.0)] * 2))
    batch = {"sharp": sharp, "blurred": _pictures(11), "paths": paths}
    loss = CorrectorLoss(margin_px=8)
    expected = loss(restored, batch)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(loss(restored, batch), expected)
    last = {k: x.to(memory_format=torch.channels_last) for k, x in batch.items()}
    torch.testing.assert_close(loss(restored.to(memory_format=torch.channels_last), last), expected)
