"""What the twin looks at: a photograph hung up in front of a simulated camera."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from device.calibration import CameraCalibration
from device.capture.camera import Tone
from device.capture.render import Layer
from device.errors import InputError
from device.motion.rotations import FloatArray
from device.restore.tone import to_linear

_DEMO_DATA = Path(__file__).resolve().parent.parent / "demo_data"
DEMO_PHOTOGRAPH = _DEMO_DATA / "osprey.jpg"
DEMO_MOTION = _DEMO_DATA / "hand.txt"
"""20 s of recorded hand motion; sources and licences are in CREDITS.md beside it."""
_SCENE_MARGIN = 1.12


@dataclass(frozen=True)
class Scene:
    """What the twin looks at.

    picture : (H, W, 3) float32, linear light. K : (3, 3) its intrinsics: a camera that looks
    straight sees the picture's middle. depth_m : its distance, None for far away.
    layers : things in front of it.
    """

    picture: NDArray[np.float32]
    K: FloatArray
    depth_m: float | None = None
    layers: Sequence[Layer] = ()


def simulated_calibration(width: int, height: int, *, view_deg: float = 60.0) -> CameraCalibration:
    """An ideal pinhole camera with this horizontal view and the sensor's axes along its own."""
    focal_px = width / 2 / math.tan(math.radians(view_deg) / 2)
    return CameraCalibration.centred(focal_px, width, height)


def scene_for(
    calibration: CameraCalibration,
    photograph: NDArray[np.uint8],
    *,
    tone: Tone = "srgb",
    depth_m: float | None = None,
) -> Scene:
    """A photograph hung up so that the frame lies within it with a margin of 6 percent a side.

    photograph : (H, W, 3) uint8. A larger one is shrunk to the frame's resolution, with area
    averaging in linear light, so that nothing aliases; a smaller one stays as it is.
    """
    picture = to_linear(photograph, tone)
    height, width = picture.shape[:2]
    # Scene pixels per frame pixel when the scene just covers the frame and its margin.
    scale = min(width / calibration.width, height / calibration.height) / _SCENE_MARGIN
    if scale > 1:
        width, height = round(width / scale), round(height / scale)
        resized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        picture = np.asarray(resized, dtype=np.float32)
        scale = 1.0
    K = np.array(
        [
            [calibration.fx * scale, 0, (width - 1) / 2],
            [0, calibration.fy * scale, (height - 1) / 2],
            [0, 0, 1.0],
        ]
    )
    return Scene(picture, K, depth_m)


def read_photograph(path: Path) -> NDArray[np.uint8]:
    """The pixels (H, W, 3), R G B, turned upright by the EXIF orientation; grey becomes RGB.

    Raises InputError for a file that is no picture.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise InputError(path, "photograph", error.strerror, "a readable file") from error
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if pixels is None:
        raise InputError(path, "photograph", f"{len(data)} bytes of no picture", "JPEG or PNG")
    return np.ascontiguousarray(pixels[:, :, ::-1], dtype=np.uint8)
