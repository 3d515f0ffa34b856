"""The photograph at the working scale, strip by strip, in linear light.

A long blur leaves no fine detail along its path, so it is undone on a reduced picture: the tiles
then hold the whole path, and the work shrinks with the square of the scale. What restoration
proposes is kept as a CHANGE to the photograph, so fine detail across the path, which a blur does
not touch, stays the photograph's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import cv2
import numpy as np
from numpy.typing import NDArray

from device.capture.camera import Tone
from device.restore.tone import LUMINANCE, Pixels, to_linear

Image = NDArray[np.float32]
Change = NDArray[np.int16]

CHANGE_UNIT = np.float32(1.0 / 32767.0)
"""A change of linear light is kept as 16-bit integers of this unit: 12 MP in 73 MB."""
LIGHT_STEPS = 2 * 32767
"""Light itself, where it is kept as integers: 0..1 in half units of a change, so that a change is
added without a remainder."""
LONGEST_EXTENT_PX = 64.0
"""Paths of up to this extent fit a tile of 256 px with its margins."""
CLIPPED_SHARE_OF_RANGE = 0.98


def reduction_for(extent_px: float) -> int:
    """1, 2 or 4: by how much the picture is reduced for paths of this extent."""
    for factor in (1, 2):
        if extent_px <= factor * LONGEST_EXTENT_PX:
            return factor
    return 4


@dataclass(frozen=True)
class WorkingPhoto:
    """pixels : (H, W, 3) or (H, W) codes; factor : pixels of the photograph per working pixel."""

    pixels: Pixels
    tone: Tone
    factor: int

    @property
    def height(self) -> int:
        """Rows at the working scale."""
        return -(-int(self.pixels.shape[0]) // self.factor)

    @property
    def width(self) -> int:
        """Columns at the working scale."""
        return -(-int(self.pixels.shape[1]) // self.factor)

    @property
    def channels(self) -> int:
        """3, or 1 for a grey picture."""
        return 1 if self.pixels.ndim == 2 else self.pixels.shape[2]

    def linear_rows(self, first: int, last: int) -> Image:
        """Rows first..last-1 at the working scale: (channels, rows, width), linear light."""
        f = self.factor
        codes = self.pixels[first * f : last * f]
        linear = np.atleast_3d(to_linear(codes, self.tone))
        if f > 1:
            linear = self._reduce(linear, last - first)
        return np.ascontiguousarray(np.moveaxis(linear, 2, 0))

    @property
    def luminance_weights(self) -> Image:
        """(channels,) of the channels' sum: 1 for a grey picture."""
        return LUMINANCE if self.channels == 3 else np.ones(1, np.float32)

    def luminance_rows(self, first: int, last: int) -> Image:
        """As linear_rows, their weighted sum: (1, rows, width)."""
        return np.tensordot(self.luminance_weights[None], self.linear_rows(first, last), axes=1)

    def light_rows(self, first: int, last: int) -> NDArray[np.uint16]:
        """As linear_rows, in integers of 0..LIGHT_STEPS."""
        light = self.linear_rows(first, last)
        light *= LIGHT_STEPS
        light += 0.5
        return light.astype(np.uint16)

    def clipped_rows(self, first: int, last: int) -> NDArray[np.bool_]:
        """Where any channel is at the top of its range: (rows, width) of the photograph's rows."""
        limit = CLIPPED_SHARE_OF_RANGE * np.iinfo(self.pixels.dtype).max
        codes = self.pixels[first:last]
        clipped = np.atleast_3d(codes >= limit)
        # One channel after the other: any() over so short an axis takes ten times as long.
        return reduce(np.logical_or, np.moveaxis(clipped, 2, 0))

    def _reduce(self, linear: Image, rows: int) -> Image:
        below, right = rows * self.factor - len(linear), -linear.shape[1] % self.factor
        padded = np.pad(linear, ((0, below), (0, right), (0, 0)), mode="edge")
        reduced = cv2.resize(padded, (self.width, rows), interpolation=cv2.INTER_AREA)
        return np.atleast_3d(np.asarray(reduced, np.float32))


def enlarge_rows(values: NDArray[np.int16] | Image, factor: int, first: int, last: int) -> Image:
    """Rows first..last-1 of (h, w, C) or (h, w) enlarged `factor` times, bilinear, as float32.

    Rows count in the enlarged picture; beyond the edge the outermost values go on.
    """
    if factor == 1:
        return values[first:last].astype(np.float32)
    top, bottom = first // factor - 1, -(-last // factor) + 1
    index = np.clip(np.arange(top, bottom), 0, len(values) - 1)
    part = values[index].astype(np.float32)
    size = (part.shape[1] * factor, part.shape[0] * factor)
    large = cv2.resize(part, size, interpolation=cv2.INTER_LINEAR).reshape(
        size[1], size[0], *part.shape[2:]
    )
    return np.asarray(large[first - top * factor : last - top * factor], np.float32)
