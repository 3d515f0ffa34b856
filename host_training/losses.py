"""What training lowers. Pictures are sRGB-coded, 0..1, (B, 3, H, W); every loss is a scalar.

The sums are computed in float32 under autocast too: bfloat16 has three digits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_CHARBONNIER_EPSILON = 1e-3
_SATURATED = 0.98
"""Codes from here on may be clipped: what they were before, the re-blurred result cannot tell."""
_PATHS_UNIT_PX = 32.0
_POINTS_PER_PIECE = 16
"""Enough for pieces of 10 px: device.kernels.psf wants steps of at most 0.6 px."""


def charbonnier(restored: Tensor, sharp: Tensor, epsilon: float = _CHARBONNIER_EPSILON) -> Tensor:
    """Mean of sqrt(difference ** 2 + epsilon ** 2): L1 with a smooth foot.

    Charbonnier et al., "Two deterministic half-quadratic regularization algorithms" (ICIP 1994).
    """
    difference = restored.float() - sharp.float()
    return torch.sqrt(difference.square() + epsilon**2).mean()


def fft_l1(restored: Tensor, sharp: Tensor) -> Tensor:
    """Mean difference of the real and imaginary parts of the orthonormal transforms.

    Cho et al., "Rethinking coarse-to-fine approach in single image deblurring" (ICCV 2021), eq. 6.
    """
    difference = torch.fft.rfft2(restored.float() - sharp.float(), norm="ortho")
    return torch.view_as_real(difference).abs().mean()


def seed_loss(restored: Tensor, sharp: Tensor) -> Tensor:
    """The seed system's: ten parts of mean absolute and one part of mean squared difference."""
    restored, sharp = restored.float(), sharp.float()
    return 10.0 * functional.l1_loss(restored, sharp) + functional.mse_loss(restored, sharp)


def srgb_to_linear(coded: Tensor) -> Tensor:
    """Linear light of sRGB codes, clipped to 0..1 (device.restore.tone.decode)."""
    coded = coded.float().clamp(0.0, 1.0)
    # Held above the foot on the curve's side: its gradient must stay finite where it is not used.
    curve = ((coded.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(coded <= 0.04045, coded / 12.92, curve)


def transfer_functions(paths: Tensor, height: int, width: int) -> Tensor:
    """The middle cell's PSF as a transfer function: (B, height, width // 2 + 1) complex64.

    paths : (B, 16, h, w) in units of 32 px (device.kernels.encode.paths_view). The same points and
    phases as device.kernels.psf.transfer_function. Right for the middle of a crop; in a crop of
    128 px the path changes little towards its sides.
    """
    batch, channels, rows, columns = paths.shape
    middle = paths.float()[
        :, :, (rows - 1) // 2 : rows // 2 + 1, (columns - 1) // 2 : columns // 2 + 1
    ]
    pieces = _PATHS_UNIT_PX * middle.mean(dim=(2, 3)).reshape(batch, 2, channels // 2)
    half = channels // 4
    path = torch.cat([pieces[..., :half], torch.zeros_like(pieces[..., :1]), pieces[..., half:]], 2)
    steps = torch.arange(_POINTS_PER_PIECE, device=paths.device, dtype=torch.float32)
    fraction = (steps + 0.5) / _POINTS_PER_PIECE
    points = path[..., :-1, None] + fraction * torch.diff(path, dim=2)[..., None]
    across_px, down_px = points.reshape(batch, 2, -1).unbind(dim=1)
    down = _phases(down_px, torch.fft.fftfreq(height, device=paths.device))
    across = _phases(across_px, torch.fft.rfftfreq(width, device=paths.device))
    return down.transpose(1, 2) @ across / down_px.shape[1]


def _phases(position_px: Tensor, frequency: Tensor) -> Tensor:
    phase = -2.0 * math.pi * position_px[..., None] * frequency
    return torch.polar(torch.ones_like(phase), phase)


def reblur(coded: Tensor, transfer: Tensor) -> Tensor:
    """Blur pictures in linear light, each by its own PSF; they wrap around. Returns linear light.

    transfer : (B, H, W // 2 + 1) complex64, of the whole picture's size.
    """
    spectrum = torch.fft.rfft2(srgb_to_linear(coded)) * transfer[:, None]
    blurred: Tensor = torch.fft.irfft2(spectrum, s=coded.shape[-2:])
    return blurred


def reblur_loss(
    restored: Tensor,
    blurred: Tensor,
    transfer: Tensor,
    margin_px: int,
    judged: Tensor | None = None,
) -> Tensor:
    """How far the re-blurred result is from the photograph, in linear light, Charbonnier's mean.

    Left out: `margin_px` at every side, where the picture wraps around (at least half the longest
    path), pixels of the photograph that may be clipped, and pictures where `judged` (B,) is False.
    0 when no pixel is left. Raises ValueError when the margin leaves none.
    """
    height, width = restored.shape[-2:]
    if 2 * margin_px >= min(height, width):
        raise ValueError(f"margin_px: found {margin_px}, expected below half of {height}x{width}")
    inner = (..., slice(margin_px, height - margin_px), slice(margin_px, width - margin_px))
    difference = (reblur(restored, transfer) - srgb_to_linear(blurred))[inner]
    trusted = (blurred.float() < _SATURATED)[inner]
    if judged is not None:
        trusted = trusted & judged[:, None, None, None]
    distance = torch.sqrt(difference.square() + _CHARBONNIER_EPSILON**2)
    return (distance * trusted).sum() / trusted.sum().clamp(min=1)


@dataclass(frozen=True)
class CorrectorLoss:
    """Charbonnier + FFT-L1 + re-blur, weighted: the correctors' loss.

    The re-blur term is told the MEASURED path, which is wrong by the sensor's errors: a weight
    near that of the others would teach the network to believe it. A picture whose paths are all 0
    has no motion data and is not judged by it.
    """

    fft_weight: float = 0.1
    reblur_weight: float = 0.05
    margin_px: int = 24

    def __call__(self, restored: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Loss of `restored` (B, 3, S, S) for a batch with sharp, blurred and paths."""
        loss = charbonnier(restored, batch["sharp"])
        if self.fft_weight:
            loss = loss + self.fft_weight * fft_l1(restored, batch["sharp"])
        if self.reblur_weight:
            paths = batch["paths"]
            transfer = transfer_functions(paths, *restored.shape[-2:])
            measured = paths.abs().amax(dim=(1, 2, 3)) > 0
            loss = loss + self.reblur_weight * reblur_loss(
                restored, batch["blurred"], transfer, self.margin_px, measured
            )
        return loss
