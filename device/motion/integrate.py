"""Angular rate to orientation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from device.motion.rotations import (
    FloatArray,
    cumulative_product,
    matrix_from_quaternion,
    quaternion_from_rotvec,
)


def integrate_rates(t_ns: NDArray[np.int64], rate_rad_s: FloatArray) -> FloatArray:
    """Orientation R_wi at every sample, the identity at the first: (N,), (N, 3) -> (N, 3, 3).

    R_wi(t + dt) = R_wi(t) Exp(omega dt), omega the body rate in the IMU frame. Between two samples
    the rate is taken as linear; the increment is then the trapezoid plus dt^2 / 12 (w0 x w1), the
    second term of the Magnus expansion (Blanes et al. 2009), with each interval's own dt.
    """
    dt_s = np.diff(t_ns)[:, None] * 1e-9
    before, after = rate_rad_s[:-1], rate_rad_s[1:]
    increment = 0.5 * dt_s * (before + after) + dt_s**2 / 12.0 * np.cross(before, after)
    identity = np.array([[1.0, 0.0, 0.0, 0.0]])
    steps = np.concatenate([identity, quaternion_from_rotvec(increment)])
    return matrix_from_quaternion(cumulative_product(steps))
