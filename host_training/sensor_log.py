"""What a WT901 would have logged of a motion, and how wrong its calibration is.

A short cut for test sets: samples straight from the motion, with the sensor's resolution, noise
and bias. The emulator of `firmware_bridge` models the transport as well; this does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from device.calibration import CameraCalibration
from device.motion.rotations import FloatArray, rotation_exp
from device.motion.sources import MotionSource
from firmware_bridge.gcsv import WT901_ASCALE_G, WT901_GSCALE_RAD_S
from firmware_bridge.samples import ImuSamples


@dataclass(frozen=True)
class CalibrationErrors:
    """How far the calibration in a bundle is from the truth: magnitudes, directions are drawn.

    The defaults are what a careful calibration of a WT901 leaves.
    """

    time_shift_s: float = 1e-3
    bias_deg_s: float = 0.12
    focal_share: float = 0.005
    axis_deg: float = 0.3


@dataclass(frozen=True)
class SensorNoise:
    """White noise of the samples, root mean square per axis."""

    gyro_deg_s: float = 0.05
    acc_g: float = 0.004


def miscalibrated(
    truth: CameraCalibration, errors: CalibrationErrors, rng: np.random.Generator
) -> CameraCalibration:
    """The calibration a user has: off by these magnitudes in random directions."""
    if truth.gyro_bias_rad_s is None:
        raise ValueError("the true calibration must know the sensor's bias")
    focal = 1 + errors.focal_share * _sign(rng)
    turned = truth.T_cam_imu.copy()
    turned[:3, :3] = rotation_exp(np.radians(errors.axis_deg) * _direction(rng)) @ turned[:3, :3]
    bias = np.array(truth.gyro_bias_rad_s) + np.radians(errors.bias_deg_s) * _direction(rng)
    return replace(
        truth,
        fx=truth.fx * focal,
        fy=truth.fy * focal,
        T_cam_imu=turned,
        timeshift_s=truth.timeshift_s + errors.time_shift_s * _sign(rng),
        gyro_bias_rad_s=(float(bias[0]), float(bias[1]), float(bias[2])),
    )


def sensor_log(
    source: MotionSource,
    truth: CameraCalibration,
    start_ns: int,
    end_ns: int,
    rng: np.random.Generator,
    *,
    rate_hz: float = 200.0,
    noise: SensorNoise = SensorNoise(),
) -> ImuSamples:
    """The log of a motion between two camera times, stamped on the sensor's side of the shift.

    source : on the camera's clock. truth : its bias and time shift are those of the sensor.
    """
    step_ns = round(1e9 / rate_hz)
    camera_ns = np.arange(start_ns + rng.integers(step_ns), end_ns, step_ns, dtype=np.int64)
    t_s = camera_ns.astype(np.float64) * 1e-9
    bias_rad_s = np.zeros(3) if truth.gyro_bias_rad_s is None else truth.gyro_bias_rad_s
    gyro = source.gyro_rad_s(t_s) + bias_rad_s
    gyro += np.radians(noise.gyro_deg_s) * rng.standard_normal(gyro.shape)
    acc = source.specific_force_g(t_s)
    acc += noise.acc_g * rng.standard_normal(acc.shape)
    return ImuSamples(
        camera_ns + round(truth.timeshift_s * 1e9),
        _quantised(gyro, WT901_GSCALE_RAD_S),
        _quantised(acc, WT901_ASCALE_G),
    )


def _quantised(values: FloatArray, scale: float) -> NDArray[np.float64]:
    return np.clip(np.rint(values / scale), -32768, 32767) * scale


def _direction(rng: np.random.Generator) -> FloatArray:
    vector = rng.standard_normal(3)
    return np.asarray(vector / np.linalg.norm(vector))


def _sign(rng: np.random.Generator) -> float:
    return float(rng.choice([-1.0, 1.0]))
