"""A calibration for a camera that was never calibrated: nominal lens, stated axes.

Axes are told as in Gyroflow's logs: three letters, what of the motion sensor points along the
picture's right, down and into the scene; a capital letter along, a small one against.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from device.calibration import CameraCalibration


def rotation_from_axes(axes: str) -> NDArray[np.float64]:
    """R_ci (3, 3), IMU frame to camera frame.

    >>> rotation_from_axes("yXZ") @ [1.0, 0.0, 0.0]  # the sensor's x points down
    array([0., 1., 0.])
    """
    rotation = np.zeros((3, 3))
    for row, letter in enumerate(axes):
        rotation[row, "XYZ".index(letter.upper())] = 1.0 if letter.isupper() else -1.0
    return rotation


def nominal_calibration(
    intrinsics: tuple[float, float, float, float], size: tuple[int, int], axes: str
) -> CameraCalibration:
    """No distortion, no time shift, the sensor at the lens; intrinsics fx, fy, cx, cy in pixels."""
    transform = np.eye(4)
    transform[:3, :3] = rotation_from_axes(axes)
    fx, fy, cx, cy = intrinsics
    return CameraCalibration(fx, fy, cx, cy, *size, "none", (), transform)
