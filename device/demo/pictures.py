"""Pictures of the demo: side by side with labels, dots beside their predictions; and PSNR."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from device.demo.chart import DotMatch

BORDER_PX = 16
"""Left out of PSNR: a restoration cannot know what came in from outside the frame."""
_GAP_PX, _ZOOM = 6, 3


def psnr_db(picture: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of coded values (H, W, 3), without the border; dB."""
    inner = (slice(BORDER_PX, -BORDER_PX), slice(BORDER_PX, -BORDER_PX))
    error = picture[inner].astype(np.float32) - truth[inner]
    return 10 * math.log10(255.0**2 / max(float(np.square(error).mean()), 1e-12))


def side_by_side(pictures: Sequence[NDArray[np.uint8]], labels: Sequence[str]) -> NDArray[np.uint8]:
    """Pictures of one size in a row with a thin gap, each with its label in the corner."""
    height, width = pictures[0].shape[:2]
    total = len(pictures) * width + (len(pictures) - 1) * _GAP_PX
    canvas = Image.new("RGB", (total, height), (255, 255, 255))
    font = ImageFont.load_default(max(14, height // 20))
    for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        left = index * (width + _GAP_PX)
        canvas.paste(Image.fromarray(picture), (left, 0))
        draw = ImageDraw.Draw(canvas)
        place = (left + height // 30, height - height // 30)
        box = draw.textbbox(place, label, font=font, anchor="ls")
        pad = height // 60
        frame = (box[0] - pad, box[1] - pad, box[2] + pad, box[3] + pad)
        draw.rounded_rectangle(frame, radius=pad, fill=(20, 20, 24))
        draw.text(place, label, font=font, fill=(255, 255, 255), anchor="ls")
    return np.asarray(canvas, np.uint8)


def dot_pair(dot: DotMatch, side_px: int = 33) -> NDArray[np.uint8]:
    """A dot of the photograph beside its prediction, enlarged, grey as bright as the light."""
    cut = (dot.dot.shape[0] - side_px) // 2
    inner = slice(cut, cut + side_px)
    tiles = [np.clip(light[inner, inner], 0, 1) for light in (dot.dot, dot.predicted)]
    gap = np.full((side_px, 1), 0.35, np.float32)
    grey = np.round(255 * np.concatenate([tiles[0], gap, tiles[1]], axis=1)).astype(np.uint8)
    size = (grey.shape[1] * _ZOOM, grey.shape[0] * _ZOOM)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_NEAREST), np.uint8)
