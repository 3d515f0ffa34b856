"""The corrector: removes what the inverse filter leaves, ringing, noise and marks of sync error.

A U-Net at 1/2, 1/4 and 1/8 of the picture's size, of 3x3 convolutions, ReLU, additions and
nearest-neighbour resizes: all of it runs in int8. No batch normalisation, no transposed
convolution; widths are multiples of 16, as the kernels want. The output is a pixel-shuffle
(DepthToSpace): a resize to full size and a convolution to 3 channels costs as many multiplications
and took 9.9 ms instead of 5.6 ms for a tile of M, 256 px, INT8, onnxruntime 1.31, one x86 thread,
because matrix kernels are made for more than 3 columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from device.kernels.encode import PATHS_CHANNELS

Size = Literal["S", "M", "L"]

NOISE_UNIT = 0.02
"""Standard deviation of linear light that the network sees as 1: that of a photograph in dim
light, so that noise and paths come in alike magnitudes."""

_FIELD_CHANNELS = 32
_RESIDUAL_GAIN = 0.003
"""Of the last weights at the start: training begins at the filter's result."""
_BRANCH_GAIN = 0.3
"""Of the last weights of whatever is added to a level at the start, lest the signal grow with every
addition: a level that starts too strong dies (LOG.md)."""
_MIDDLE_CODE = 0.5


@dataclass(frozen=True)
class Plan:
    """widths : channels at 1/2, 1/4, 1/8; *_blocks : residual blocks behind each level's conv."""

    widths: tuple[int, int, int]
    half_blocks: int
    quarter_blocks: int
    eighth_blocks: int


PLANS: dict[Size, Plan] = {
    "S": Plan((32, 16, 32), half_blocks=0, quarter_blocks=0, eighth_blocks=1),
    "M": Plan((32, 32, 64), half_blocks=1, quarter_blocks=0, eighth_blocks=1),
    "L": Plan((48, 64, 128), half_blocks=1, quarter_blocks=1, eighth_blocks=1),
}
"""5.6, 12.6 and 36.3 thousand multiplications a pixel. Width and depth at 1/2 pay, elsewhere they
hardly do (LOG.md)."""


@dataclass(frozen=True)
class CorrectorConfig:
    """What a corrector is built from, for a checkpoint's metadata. Raises ValueError."""

    size: Size = "M"
    noise_unit: float = NOISE_UNIT

    def __post_init__(self) -> None:
        if self.size not in PLANS:
            raise ValueError(f"size: found {self.size!r}, expected one of {', '.join(PLANS)}")
        if not self.noise_unit > 0:
            raise ValueError(f"noise_unit: found {self.noise_unit}, expected above 0")

    @property
    def plan(self) -> Plan:
        """Widths and depths of this size."""
        return PLANS[self.size]


class Corrector(nn.Module):
    """blurred, filtered, underdamped, paths, noise to the residual that is added to filtered."""

    def __init__(self, config: CorrectorConfig = CorrectorConfig()) -> None:
        super().__init__()
        self.config = config
        plan = config.plan
        half, quarter, eighth = plan.widths
        self.field = nn.Sequential(
            nn.Conv2d(PATHS_CHANNELS + 1, _FIELD_CHANNELS, 3, padding=1), nn.ReLU(inplace=True)
        )
        self.field_to_half = nn.Conv2d(_FIELD_CHANNELS, half, 3, padding=1)
        self.field_to_eighth = nn.Conv2d(_FIELD_CHANNELS, eighth, 3, padding=1)
        self.stem = CentredConv2d(7, half, 4, stride=2, padding=1)
        self.down_to_quarter = nn.Conv2d(half, quarter, 3, stride=2, padding=1)
        self.down_to_eighth = nn.Conv2d(quarter, eighth, 3, stride=2, padding=1)
        self.bottom = _blocks(eighth, plan.eighth_blocks)
        self.up_to_quarter = nn.Conv2d(eighth, quarter, 3, padding=1)
        self.decode_quarter = _level(quarter, plan.quarter_blocks)
        self.up_to_half = nn.Conv2d(quarter, half, 3, padding=1)
        self.decode_half = _level(half, plan.half_blocks)
        self.output = nn.Conv2d(half, 12, 3, padding=1)
        self._initialise()

    def forward(
        self, blurred: Tensor, filtered: Tensor, underdamped: Tensor, paths: Tensor, noise: Tensor
    ) -> Tensor:
        """The residual (B, 3, H, W), H and W multiples of 8.

        blurred, filtered : (B, 3, H, W), and underdamped : (B, 1, H, W), luminance, sRGB-coded,
        0..1. paths : (B, 16, H / 8, W / 8) in units of 32 px. noise : (B, 1, H / 8, W / 8) standard
        deviation of linear light.
        """
        field = self.field(torch.cat([paths, noise * (1.0 / self.config.noise_unit)], dim=1))
        # Convolved where the field is coarse, then enlarged: far cheaper than the other way round.
        field_half = _enlarge(self.field_to_half(field), 4)
        pictures = torch.cat([blurred, filtered, underdamped], dim=1)
        half = functional.relu(self.stem(pictures) + field_half)
        quarter = functional.relu(self.down_to_quarter(half))
        eighth = functional.relu(self.down_to_eighth(quarter) + self.field_to_eighth(field))
        eighth = self.bottom(eighth)
        quarter = self.decode_quarter(quarter + _enlarge(self.up_to_quarter(eighth), 2))
        half = self.decode_half(half + _enlarge(self.up_to_half(quarter), 2))
        return functional.pixel_shuffle(self.output(half), 2)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.output.weight.mul_(_RESIDUAL_GAIN)
            for module in self.modules():
                if isinstance(module, ResidualBlock):
                    module.second.weight.mul_(_BRANCH_GAIN)
            for branch in (
                self.field_to_half, self.field_to_eighth, self.up_to_quarter, self.up_to_half
            ):  # fmt: skip
                branch.weight.mul_(_BRANCH_GAIN)


class CentredConv2d(nn.Conv2d):
    """A convolution that takes the middle of the codes for nothing, by its bias.

    Pictures are 0..1; without it their mean brightness drowns their detail when training begins.
    Subtracting it from the pictures themselves would cost an operator in float.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) codes in 0..1; as nn.Conv2d on codes less the middle one, but at edges."""
        assert self.bias is not None
        bias = self.bias - _MIDDLE_CODE * self.weight.sum(dim=(1, 2, 3))
        centred: Tensor = self._conv_forward(x, self.weight, bias)
        return centred


class ResidualBlock(nn.Module):
    """relu(x + conv(relu(conv(x)))): what leaves a block is positive, so uint8 holds all of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same shape."""
        return functional.relu(x + self.second(functional.relu(self.first(x))))


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))


def _level(channels: int, blocks: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, channels, 3, padding=1)
    return nn.Sequential(conv, nn.ReLU(inplace=True), *_blocks(channels, blocks))


def _enlarge(x: Tensor, factor: int) -> Tensor:
    return functional.interpolate(x, scale_factor=factor, mode="nearest")
