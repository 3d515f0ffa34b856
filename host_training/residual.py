"""How well a restored picture explains the photograph: blurred again, is it what was taken?

Needs no truth, so it judges real photographs too. It sees what a restoration adds or removes
against the blur, and nothing of what the blur had erased: the photograph's own noise may be gone
or kept, a wrong kernel field may be explained perfectly.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from device.bundle import Bundle
from device.kernels.field import KernelField
from device.kernels.reblur import reblur
from device.restore.noise import noise_variance
from device.restore.pipeline import photo_noise
from device.restore.tone import to_linear
from device.restore.working import CLIPPED_SHARE_OF_RANGE
from host_training.metrics import BORDER_PX

Pixels = NDArray[np.uint8]

_LEVEL_PX = 5


def reblur_residual(bundle: Bundle, restored: Pixels, field: KernelField) -> float | None:
    """Root mean square of photograph - reblur(restored), in standard deviations of the noise.

    1 is a perfect explanation, in linear light and over all channels. Left out: the border, half a
    path or 16 px, and what lies within a path of a clipped pixel, whose light is not known.
    None when nothing is left.
    """
    pixels = bundle.read_pixels()
    noise, _ = photo_noise(bundle, pixels)
    photo = to_linear(pixels, bundle.tone)
    # Restored 8-bit pictures keep a camera's own curve; linear ones come out as sRGB.
    tone = "srgb" if bundle.tone == "linear" else bundle.tone
    difference = photo - reblur(to_linear(restored, tone), field)
    level = np.asarray(cv2.blur(photo, (_LEVEL_PX, _LEVEL_PX)), np.float32)
    squared = np.square(difference) / noise_variance(level, noise, bundle.tone)
    reach_px = int(np.ceil(field.extent_px))
    limit = CLIPPED_SHARE_OF_RANGE * np.iinfo(pixels.dtype).max
    clipped = np.asarray((pixels >= limit).any(axis=2), np.uint8)
    square = np.ones((2 * (reach_px // 2) + 1,) * 2, np.uint8)
    judged = cv2.dilate(clipped, square) == 0
    border_px = max(BORDER_PX, reach_px // 2)
    inner = slice(border_px, -border_px)
    kept = squared[inner, inner][judged[inner, inner]]
    return float(np.sqrt(kept.mean(dtype=np.float64))) if kept.size else None
