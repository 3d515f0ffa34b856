"""The network of the system this project starts from: a U-Net told one straight vector a pixel.

The U-Net of Ronneberger et al., "U-Net: Convolutional networks for biomedical image segmentation"
(MICCAI 2015), padded, with batch normalisation, half as wide. Kept to be measured against.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

BASE_CHANNELS = 32
DEPTH = 4
"""Times the picture is halved: its sides must be multiples of 2 ** DEPTH."""

LONGEST_PX = 64.0
"""Of a blur vector: its norm enters the first convolution as 0..1, beside RGB of the same range."""
_PATHS_UNIT_PX = 32.0
_CELL_PX = 8


class SeedUNet(nn.Module):
    """RGB and the blur vectors of every pixel to the sharp picture; 7,766,915 parameters."""

    def __init__(self) -> None:
        super().__init__()
        widths = [BASE_CHANNELS << level for level in range(DEPTH + 1)]
        self.encoders = nn.ModuleList(
            _double_conv(before, after) for before, after in zip([6, *widths], widths, strict=False)
        )
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(2 * width, width, 2, stride=2) for width in reversed(widths[:-1])
        )
        self.decoders = nn.ModuleList(
            _double_conv(2 * width, width) for width in reversed(widths[:-1])
        )
        self.output = nn.Conv2d(BASE_CHANNELS, 3, 1)

    def forward(self, rgb: Tensor, vectors: Tensor) -> Tensor:
        """Restore pictures: (B, 3, H, W) each, H and W multiples of 16; returns (B, 3, H, W).

        rgb : sRGB-coded, 0..1. vectors : norm, x, y in pixels (device.kernels.encode.vector_view).
        """
        x = torch.cat([rgb, vectors * (1.0 / LONGEST_PX)], dim=1)
        skips: list[Tensor] = []
        for level, encoder in enumerate(self.encoders):
            x = encoder(x if level == 0 else functional.max_pool2d(x, 2))
            skips.append(x)
        x = skips.pop()
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            x = decoder(torch.cat([skips.pop(), up(x)], dim=1))
        restored: Tensor = self.output(x)
        return restored


def _double_conv(channels_in: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


def vectors_from_paths(paths: Tensor) -> Tensor:
    """The seed's view of paths: (B, 16, H / 8, W / 8) in units of 32 px to (B, 3, H, W) in pixels.

    What device.kernels.encode.vector_view gives, from the view that the correctors are given:
    norm, x, y of the chord from the beginning of the exposure to its end, with x >= 0.
    """
    pieces = paths.shape[1] // 2
    chord = paths[:, [pieces - 1, 2 * pieces - 1]] - paths[:, [0, pieces]]
    chord = functional.interpolate(
        _PATHS_UNIT_PX * chord, scale_factor=_CELL_PX, mode="bilinear", align_corners=False
    )
    chord = torch.where(chord[:, :1] < 0, -chord, chord)
    return torch.cat([torch.linalg.vector_norm(chord, dim=1, keepdim=True), chord], dim=1)
