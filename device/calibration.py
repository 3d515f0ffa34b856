"""One camera and the sensor fixed to it: Kalibr's camchain-imucam YAML, and its projection.

Camera frame: x right, y down, z forward; pixel centres at integer coordinates, (0, 0) top left.
Models as Kalibr defines them: pinhole with `none`, `radtan` (k1, k2, p1, p2) or `equidistant`
(k1..k4, Kannala and Brandt 2006).
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from numpy.typing import ArrayLike, NDArray

from device import distortion
from device.calibration_yaml import Cam0, parse_cam0
from device.errors import InputError
from device.validation import read_text

DistortionModel = Literal["none", "radtan", "equidistant"]
ROTATION_TOLERANCE = 1e-3
ROUND_TRIP_PX = 1e-3
COEFFICIENTS = {"none": 0, "radtan": 4, "equidistant": 4}


@dataclass(frozen=True, eq=False)
class CameraCalibration:
    """Intrinsics of one frame size, extrinsics and time shift to the sensor.

    fx, fy, cx, cy : pixels, of the size width x height.
    distortion_coeffs : none (); radtan (k1, k2, p1, p2); equidistant (k1, k2, k3, k4).
    T_cam_imu : (4, 4) float64, takes a point from the IMU frame to the camera frame, metres.
    timeshift_s : t_imu = t_cam + timeshift_s.
    gyro_bias_rad_s : of the sensor, IMU frame, or None (our extension key gyro_bias_imu_rad_s).

    Raises InputError (a ValueError) for what cannot be: a zero focal length, an improper or
    singular rotation, a wrong number of coefficients, a distortion that folds the picture.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    distortion_model: DistortionModel
    distortion_coeffs: tuple[float, ...]
    T_cam_imu: NDArray[np.float64]
    timeshift_s: float = 0.0
    gyro_bias_rad_s: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        matrix = np.array(self.T_cam_imu, dtype=np.float64)
        matrix.setflags(write=False)
        object.__setattr__(self, "T_cam_imu", matrix)
        object.__setattr__(self, "distortion_coeffs", tuple(self.distortion_coeffs))
        _check_intrinsics(self)
        _check_transform(matrix)
        _check_extras(self)
        if not _invertible(self):
            found = f"{self.distortion_model} {list(self.distortion_coeffs)}"
            raise _refuse("distortion_coeffs", found, "a model that can be inverted in the picture")

    @classmethod
    def centred(
        cls,
        focal_px: float,
        width: int,
        height: int,
        *,
        T_cam_imu: NDArray[np.float64] | None = None,
        timeshift_s: float = 0.0,
        gyro_bias_rad_s: tuple[float, float, float] | None = None,
    ) -> CameraCalibration:
        """An ideal pinhole with square pixels and its axis through the middle of the picture.

        T_cam_imu : None when the sensor's axes lie along the camera's own.
        """
        return cls(
            fx=focal_px,
            fy=focal_px,
            cx=(width - 1) / 2,
            cy=(height - 1) / 2,
            width=width,
            height=height,
            distortion_model="none",
            distortion_coeffs=(),
            T_cam_imu=np.eye(4) if T_cam_imu is None else T_cam_imu,
            timeshift_s=timeshift_s,
            gyro_bias_rad_s=gyro_bias_rad_s,
        )

    @cached_property
    def K(self) -> NDArray[np.float64]:  # noqa: N802 - the field's name
        """The camera matrix (3, 3)."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @cached_property
    def R_ci(self) -> NDArray[np.float64]:  # noqa: N802 - the field's name
        """The rotation from the IMU frame to the camera frame, (3, 3), exactly orthonormal."""
        u, _, vt = np.linalg.svd(self.T_cam_imu[:3, :3])
        return np.asarray(u @ vt)

    def pixels_to_rays(self, uv: ArrayLike) -> NDArray[np.float64]:
        """Rays (..., 3) with z = 1, camera frame, of the pixels uv (..., 2).

        NaN where no ray in front of the camera leads to the pixel.
        """
        uv = np.asarray(uv, dtype=np.float64)
        xy = (uv - (self.cx, self.cy)) / (self.fx, self.fy)
        xy = distortion.undistort(self.distortion_model, self.distortion_coeffs, xy)
        return np.concatenate([xy, np.ones_like(xy[..., :1])], axis=-1)

    def rays_to_pixels(self, rays: ArrayLike) -> NDArray[np.float64]:
        """Pixels (..., 2) at which the rays (..., 3), camera frame, any length, are seen.

        NaN for rays that do not point forward (z <= 0).
        """
        rays = np.asarray(rays, dtype=np.float64)
        z = np.where(rays[..., 2:] > 0, rays[..., 2:], np.nan)
        xy = distortion.distort(self.distortion_model, self.distortion_coeffs, rays[..., :2] / z)
        return xy * (self.fx, self.fy) + (self.cx, self.cy)

    def scaled(self, factor: float) -> CameraCalibration:
        """The calibration of the same picture resized by `factor` (0.5: half as wide).

        Pixel centres lie at integers, so the picture's corner is at -0.5 and stays there.
        """
        return replace(
            self,
            fx=self.fx * factor,
            fy=self.fy * factor,
            cx=(self.cx + 0.5) * factor - 0.5,
            cy=(self.cy + 0.5) * factor - 0.5,
            width=max(1, round(self.width * factor)),
            height=max(1, round(self.height * factor)),
        )


def _refuse(field: str, found: object, expected: str) -> InputError:
    return InputError("calibration", field, found, expected)


def _check_intrinsics(cal: CameraCalibration) -> None:
    intrinsics = [cal.fx, cal.fy, cal.cx, cal.cy]
    if not all(map(math.isfinite, intrinsics)):
        raise _refuse("intrinsics", intrinsics, "four finite numbers fx, fy, cx, cy")
    if cal.fx <= 0 or cal.fy <= 0:
        raise _refuse("intrinsics", f"focal lengths {cal.fx:g}, {cal.fy:g}", "more than 0 pixels")
    if cal.width <= 0 or cal.height <= 0:
        raise _refuse("resolution", [cal.width, cal.height], "a width and a height above 0")
    count = COEFFICIENTS.get(cal.distortion_model)
    if count is None:
        raise _refuse("distortion_model", cal.distortion_model, "none, radtan or equidistant")
    coeffs = cal.distortion_coeffs
    if len(coeffs) != count or not all(map(math.isfinite, coeffs)):
        raise _refuse("distortion_coeffs", list(coeffs), f"{count} finite numbers")


def _check_transform(matrix: NDArray[np.float64]) -> None:
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise _refuse("T_cam_imu", f"shape {matrix.shape}", "4 x 4 finite numbers")
    if not np.allclose(matrix[3], (0, 0, 0, 1), rtol=0, atol=1e-9):
        raise _refuse("T_cam_imu[3]", matrix[3].tolist(), "[0.0, 0.0, 0.0, 1.0]")
    rotation = matrix[:3, :3]
    det = float(np.linalg.det(rotation))
    if abs(det - 1) > ROTATION_TOLERANCE:
        what = "singular" if abs(det) < ROTATION_TOLERANCE else "not a rotation"
        raise _refuse("T_cam_imu", f"determinant {det:.6g} ({what})", "a rotation, determinant +1")
    skew = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if skew > ROTATION_TOLERANCE:
        raise _refuse("T_cam_imu", f"axes {skew:.3g} off square", "a rotation, R R^T = identity")


def _check_extras(cal: CameraCalibration) -> None:
    if not math.isfinite(cal.timeshift_s):
        raise _refuse("timeshift_cam_imu", cal.timeshift_s, "a finite number of seconds")
    bias = cal.gyro_bias_rad_s
    if bias is not None and (len(bias) != 3 or not all(map(math.isfinite, bias))):
        raise _refuse("gyro_bias_imu_rad_s", list(bias), "three finite numbers in rad/s")


def _invertible(cal: CameraCalibration) -> bool:
    """Whether every part of the picture has exactly one ray: checked on a grid of it."""
    if cal.distortion_model == "none":
        return True
    u, v = np.meshgrid(np.linspace(0, cal.width - 1, 9), np.linspace(0, cal.height - 1, 9))
    uv = np.stack([u, v], axis=-1)
    back = cal.rays_to_pixels(cal.pixels_to_rays(uv))
    return bool((np.abs(back - uv) < ROUND_TRIP_PX).all())


def read_calibration(path: str | os.PathLike[str]) -> CameraCalibration:
    """Read a Kalibr camchain-imucam YAML with one camera, cam0.

    Raises InputError naming the file, the key (or the line), what was found and expected.
    """
    path = Path(path)
    cam0 = parse_cam0(path, read_text(path, "a Kalibr camera calibration"))
    try:
        return _from_cam0(cam0)
    except InputError as error:
        raise InputError(path, f"cam0.{error.field}", error.found, error.expected) from None


def _from_cam0(cam0: Cam0) -> CameraCalibration:
    coeffs = tuple(cam0.distortion_coeffs)
    if cam0.distortion_model == "none" and not any(coeffs):
        coeffs = ()  # Kalibr's users write [] as well as four zeros
    fx, fy, cx, cy = cam0.intrinsics
    width, height = cam0.resolution
    bias = cam0.gyro_bias_imu_rad_s
    return CameraCalibration(
        fx=fx,
        fy=fy,
        cx=cx,
        cy=cy,
        width=width,
        height=height,
        distortion_model=cam0.distortion_model,
        distortion_coeffs=coeffs,
        T_cam_imu=np.array(cam0.T_cam_imu, dtype=np.float64),
        timeshift_s=cam0.timeshift_cam_imu,
        gyro_bias_rad_s=None if bias is None else (bias[0], bias[1], bias[2]),
    )


def write_calibration(path: str | os.PathLike[str], calibration: CameraCalibration) -> None:
    """Write a calibration as Kalibr's YAML; read_calibration gives the same numbers back."""
    cal = calibration
    cam0: dict[str, object] = {
        "camera_model": "pinhole",
        "intrinsics": [float(x) for x in (cal.fx, cal.fy, cal.cx, cal.cy)],
        "distortion_model": cal.distortion_model,
        "distortion_coeffs": [float(x) for x in cal.distortion_coeffs],
        "resolution": [int(cal.width), int(cal.height)],
        "T_cam_imu": cal.T_cam_imu.tolist(),
        "timeshift_cam_imu": float(cal.timeshift_s),
    }
    if cal.gyro_bias_rad_s is not None:
        cam0["gyro_bias_imu_rad_s"] = [float(x) for x in cal.gyro_bias_rad_s]
    text = yaml.safe_dump({"cam0": cam0}, sort_keys=False, default_flow_style=None, width=100)
    Path(path).write_text(text, encoding="utf-8")


__all__ = ["CameraCalibration", "DistortionModel", "read_calibration", "write_calibration"]
