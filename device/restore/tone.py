"""Coded pixel values to linear light and back.

Blur is a sum of light, so it is undone in linear light. sRGB: IEC 61966-2-1.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from device.capture.camera import Tone

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
Value = TypeVar("Value", np.uint8, np.float32)

LUMINANCE = np.array([0.25, 0.5, 0.25], np.float32)
"""Weights of R, G, B: those of the Bayer pattern, so its noise is the least."""
_STEPS = 1 << 16
"""Entries of the table from light to code: at the steep foot of sRGB 0.05 codes apart."""


def to_linear(pixels: Pixels, tone: Tone) -> NDArray[np.float32]:
    """Linear light in 0..1 of coded values, any shape."""
    table = _decoding_table(tone, np.iinfo(pixels.dtype).max)
    if pixels.dtype == np.uint8 and pixels.size:
        # A third of the time; it knows no other indices.
        linear = cv2.LUT(pixels.reshape(1, -1), table).reshape(pixels.shape)
        return np.asarray(linear, np.float32)
    return _looked_up(table, pixels)


def from_linear(linear: NDArray[np.float32], tone: Tone) -> NDArray[np.uint8]:
    """8-bit code of linear light, clipped to 0..1, any shape; rounds to the nearest code."""
    return _looked_up(_encoding_table(tone), _steps(linear))


def coded(linear: NDArray[np.float32], tone: Tone) -> NDArray[np.float32]:
    """Code in 0..1 of linear light, clipped to 0..1, any shape; `encode` by table, to 1e-4."""
    return _looked_up(_curve_table(tone, _STEPS - 1), _steps(linear))


def code_of_steps(steps: NDArray[np.uint16], highest: int, tone: Tone) -> NDArray[np.float32]:
    """Code in 0..1 of linear light in integers of 0..highest, any shape."""
    return _looked_up(_curve_table(tone, highest), steps)


def decoded(code: NDArray[np.float32], tone: Tone) -> NDArray[np.float32]:
    """The inverse of `coded`, to 2e-5."""
    return _looked_up(_decoding_table(tone, _STEPS - 1), _steps(code))


def _looked_up(table: NDArray[Value], index: Pixels) -> NDArray[Value]:
    # No index is out of range; the mode that looks for those takes twice as long.
    return table.take(index, mode="clip")


def _steps(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The nearest entries of a table of _STEPS for values clipped to 0..1."""
    index = np.clip(values, 0.0, 1.0)
    index *= _STEPS - 1
    index += 0.5
    return index.astype(np.uint16)


def encode(linear: NDArray[np.float64], tone: Tone) -> NDArray[np.float64]:
    """The tone curve itself: linear light in 0..1 to code in 0..1."""
    if tone == "linear":
        return linear
    if tone == "srgb":
        low = 12.92 * linear
        return np.where(
            linear <= 0.0031308, low, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
        )
    points = np.asarray(tone.points, np.float64)
    return np.interp(linear, points[:, 0], points[:, 1])


def decode(code: NDArray[np.float64], tone: Tone) -> NDArray[np.float64]:
    """The inverse of `encode`."""
    if tone == "linear":
        return code
    if tone == "srgb":
        return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    points = np.asarray(tone.points, np.float64)
    return np.interp(code, points[:, 1], points[:, 0])


@lru_cache(maxsize=8)
def _decoding_table(tone: Tone, highest_code: int) -> NDArray[np.float32]:
    return decode(np.linspace(0.0, 1.0, highest_code + 1), tone).astype(np.float32)


@lru_cache(maxsize=8)
def _curve_table(tone: Tone, highest: int) -> NDArray[np.float32]:
    return encode(np.linspace(0.0, 1.0, highest + 1), tone).astype(np.float32)


@lru_cache(maxsize=8)
def _encoding_table(tone: Tone) -> NDArray[np.uint8]:
    return np.rint(255.0 * encode(np.linspace(0.0, 1.0, _STEPS), tone)).astype(np.uint8)
