"""Position of the sensor from its accelerometer, over the short span around an exposure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from device.motion.rotations import FloatArray
from firmware_bridge.samples import STANDARD_GRAVITY_M_S2


def integrate_specific_force(
    t_ns: NDArray[np.int64], R_wi: FloatArray, acc_g: FloatArray
) -> FloatArray:
    """Position p_w of the IMU in metres, relative to its mean: (N,), (N, 3, 3), (N, 3) -> (N, 3).

    A hand-held camera goes nowhere in half a second: over the span its mean acceleration is zero,
    which gives gravity, and its mean velocity is zero, which gives the unknown initial velocity.
    Both keep the drift of the double integral bounded. The span should hold several sways of
    the hand (0.5 to 1 s); a real journey of the camera in that time is not seen.
    """
    force_w_g = np.einsum("nij,nj->ni", R_wi, acc_g)
    acceleration_m_s2 = STANDARD_GRAVITY_M_S2 * (force_w_g - _time_mean(t_ns, force_w_g))
    velocity_m_s = _cumulative_trapezoid(t_ns, acceleration_m_s2)
    velocity_m_s -= _time_mean(t_ns, velocity_m_s)
    position_m = _cumulative_trapezoid(t_ns, velocity_m_s)
    return position_m - _time_mean(t_ns, position_m)


def _cumulative_trapezoid(t_ns: NDArray[np.int64], values: FloatArray) -> FloatArray:
    dt_s = np.diff(t_ns)[:, None] * 1e-9
    steps = 0.5 * dt_s * (values[:-1] + values[1:])
    return np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(steps, axis=0)])


def _time_mean(t_ns: NDArray[np.int64], values: FloatArray) -> FloatArray:
    span_s = (t_ns[-1] - t_ns[0]) * 1e-9
    mean: FloatArray = _cumulative_trapezoid(t_ns, values)[-1] / span_s
    return mean
