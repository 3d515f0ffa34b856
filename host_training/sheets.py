"""Contact sheets: crops of several pictures side by side, labelled, to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from host_training.evaluate import BLURRED, EXACT, TRUTH, Judged, Score
from host_training.tables import gains_db

Pixels = NDArray[np.uint8]

CROP_PX = (240, 320)
ORACLE = "oracle"
_BAR_PX = 22


def photo_row(photos: Mapping[str, Pixels], caption: str) -> Pixels:
    """Crops from the middle of like pictures side by side, each under its name."""
    crops = [_crop(picture) for picture in photos.values()]
    bars = [
        _bar(name if index else f"{name}  {caption}", crop.shape[1])
        for index, (name, crop) in enumerate(zip(photos, crops, strict=True))
    ]
    return np.vstack([np.hstack(bars), np.hstack(crops)])


def judged_row(judged: Judged, shown: Sequence[str], focus: str) -> Pixels:
    """One bundle: the photograph, the methods `shown`, the oracle of `focus`, and the truth."""
    score = judged.score
    labels = {BLURRED: score.quality[BLURRED].psnr_db}
    labels |= {name: score.quality[name].psnr_db for name in shown}
    photos = {f"{name} {db:.1f} dB": judged.picture(name) for name, db in labels.items()}
    photos[f"{focus}, {ORACLE} {score.psnr_db[EXACT][focus]:.1f} dB"] = judged.picture(focus, EXACT)
    photos[TRUTH] = judged.picture(TRUTH)
    name = score.name.removesuffix(".capture")
    return photo_row(photos, f"{name}, {score.blur_px:.0f} px")


def telling(scores: Sequence[Score], method: str) -> list[int]:
    """The bundles of a method's worst, median and best gain."""
    order = np.argsort(gains_db(scores, method), kind="stable")
    return list(dict.fromkeys(int(order[at]) for at in (0, (len(order) - 1) // 2, -1)))


def _crop(pixels: Pixels) -> Pixels:
    height, width = min(CROP_PX[0], pixels.shape[0]), min(CROP_PX[1], pixels.shape[1])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def _bar(label: str, width: int) -> Pixels:
    bar = np.zeros((_BAR_PX, width, 3), np.uint8)
    white = (255, 255, 255)
    cv2.putText(bar, label, (6, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.4, white, 1, cv2.LINE_AA)
    return bar
