"""Photographs whose blur is known without a log: straight lines, one everywhere or a field of them.

The field format is that of DeepGyro's published test pictures (Mustaniemi et al., WACV 2019, github
jannemus/DeepGyro): blurx/NAME.png and blury/NAME.png, 8-bit grey, of the photograph's size; value
minus 128 is the horizontal and the vertical length in pixels of the straight smear at that pixel.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from device import frame_file
from device.bundle import Bundle, read_bundle, write_bundle
from device.calibration import CameraCalibration
from device.capture.camera import Frame, NoiseModel
from device.capture.timing import FrameTiming
from device.errors import InputError
from device.kernels.field import POSES, KernelField
from firmware_bridge.samples import ImuSamples

_SPACING_PX = 16
_ZERO = 128
_ROUNDING_PX = 12**-0.5
"""Standard deviation of a length rounded to whole pixels."""


def uniform_field(width: int, height: int, vector_px: NDArray[np.float64]) -> KernelField:
    """One straight, even smear over the whole picture, the light's mid-exposure in its middle.

    vector_px : (2,) from its beginning to its end, (u, v).
    """
    corners = np.tile(vector_px, (2, 2, 1))
    return _straight(width, height, np.array([0.0, width]), np.array([0.0, height]), corners, 0.0)


def read_blur_field(blur_x: Path, blur_y: Path) -> KernelField:
    """The kernel field of a pair of blur pictures; raises InputError."""
    across, down = _grey(blur_x), _grey(blur_y)
    if across.shape != down.shape:
        sizes = [f"{picture.shape[1]}x{picture.shape[0]}" for picture in (down, across)]
        raise InputError(blur_y, "size", sizes[0], f"{sizes[1]}, that of {blur_x.name}")
    height, width = across.shape
    lengths_px = np.stack([across, down], axis=-1).astype(np.float32) - _ZERO
    # A node stands for its neighbourhood: the mean is finer than the pixels' rounding.
    smooth = np.asarray(cv2.blur(lengths_px, (_SPACING_PX, _SPACING_PX)), np.float32)
    node_u, node_v = (
        np.arange(0, side + _SPACING_PX, _SPACING_PX, dtype=float) for side in (width, height)
    )
    # The last nodes lie beyond the edge: the nearest pixel speaks for them.
    rows, columns = np.minimum(node_v, height - 1), np.minimum(node_u, width - 1)
    vectors = smooth[np.ix_(rows.astype(int), columns.astype(int))]
    return _straight(width, height, node_u, node_v, vectors, _ROUNDING_PX)


def _straight(
    width: int,
    height: int,
    node_u: NDArray[np.float64],
    node_v: NDArray[np.float64],
    vectors_px: NDArray[np.floating],
    sigma_px: float,
) -> KernelField:
    """Straight paths of vectors (ny, nx, 2); sigma_px : of one component of a vector."""
    instants = np.linspace(-0.5, 0.5, POSES)
    paths = vectors_px[:, :, None, :] * instants[:, None]
    rms_px = sigma_px * np.sqrt(2.0 * np.mean(instants**2))
    return KernelField(
        width=width,
        height=height,
        node_u=node_u,
        node_v=node_v,
        paths_px=paths.astype(np.float32),
        sigma_px=np.full(vectors_px.shape[:2], rms_px, np.float32),
        valid=np.ones(vectors_px.shape[:2], bool),
    )


def photograph_alone(
    pixels: NDArray[np.uint8], folder: Path, *, noise: NoiseModel | None = None
) -> Bundle:
    """Write a photograph (H, W, 3), R G B, sRGB, without a log as the bundle `folder`; it, read.

    Good for `restore(..., field=...)` only, so its timing is that of an instant and its lens any: a
    field from outside needs neither. noise : where it is known.
    """
    height, width = pixels.shape[:2]
    timing = FrameTiming(1, 1, 0, "top_down", height)
    frame = Frame(pixels=pixels, timing=timing, tone="srgb", noise=noise)
    calibration = CameraCalibration.centred(float(width), width, height)
    return read_bundle(
        write_bundle(folder, frame, ImuSamples.empty(), calibration, frame_format="png")
    )


def _grey(path: Path) -> NDArray[np.uint8]:
    size = frame_file.picture_size(path)
    frame_file.require_whole(path, *size)
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 2 or pixels.dtype != np.uint8:
        raise InputError(path, "pixels", "colour or 16 bits", "an 8-bit grey picture")
    return np.asarray(pixels, np.uint8)
