"""Rotations: the exponential map of SO(3), its inverse, and products of unit quaternions.

Rotation vectors are radians, right-hand rule; quaternions are (w, x, y, z), Hamilton convention.
Formulas: Sola, "Quaternion kinematics for the error-state Kalman filter" (2017), sections 1-2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_SMALL_ANGLE_RAD = 1e-4
"""Below it the series replaces sin(x)/x: its next term is under 1e-17."""


def quaternion_from_rotvec(rotvec_rad: FloatArray) -> FloatArray:
    """Unit quaternions of rotation vectors: (N, 3) -> (N, 4)."""
    half_angle = 0.5 * np.linalg.norm(rotvec_rad, axis=-1, keepdims=True)
    # np.sinc(x) is sin(pi x) / (pi x), and finite at zero.
    imaginary = 0.5 * np.sinc(half_angle / np.pi) * rotvec_rad
    return np.concatenate([np.cos(half_angle), imaginary], axis=-1)


def quaternion_product(left: FloatArray, right: FloatArray) -> FloatArray:
    """Hamilton product of (..., 4) quaternions."""
    w1, x1, y1, z1 = np.moveaxis(left, -1, 0)
    w2, x2, y2, z2 = np.moveaxis(right, -1, 0)
    return np.stack(
        [
            w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
            w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
            w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
            w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
        ],
        axis=-1,
    )


def cumulative_product(quaternions: FloatArray) -> FloatArray:
    """Running products q0, q0 q1, q0 q1 q2, ... of (N, 4) quaternions, normalised.

    A parallel prefix scan (Hillis and Steele 1986): log2(N) array operations instead of N
    Python steps, because a search over time shift and bias integrates hundreds of times.
    """
    product = quaternions.copy()
    step = 1
    while step < len(product):
        product[step:] = quaternion_product(product[:-step], product[step:])
        step *= 2
    normalised: FloatArray = product / np.linalg.norm(product, axis=-1, keepdims=True)
    return normalised


def matrix_from_quaternion(quaternions: FloatArray) -> FloatArray:
    """Rotation matrices of unit quaternions: (N, 4) -> (N, 3, 3)."""
    w, x, y, z = np.moveaxis(quaternions, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def rotation_exp(rotvec_rad: FloatArray) -> FloatArray:
    """Rotation matrices of rotation vectors: (N, 3) -> (N, 3, 3)."""
    return matrix_from_quaternion(quaternion_from_rotvec(rotvec_rad))


def rotation_log(R: FloatArray) -> FloatArray:
    """Rotation vectors of rotation matrices by angles below pi: (N, 3, 3) -> (N, 3)."""
    twice_sine_axis = np.stack(
        [
            R[..., 2, 1] - R[..., 1, 2],
            R[..., 0, 2] - R[..., 2, 0],
            R[..., 1, 0] - R[..., 0, 1],
        ],
        axis=-1,
    )
    sine = 0.5 * np.linalg.norm(twice_sine_axis, axis=-1)
    cosine = 0.5 * (np.trace(R, axis1=-2, axis2=-1) - 1.0)
    angle = np.arctan2(sine, cosine)
    small = sine < _SMALL_ANGLE_RAD
    scale = np.where(small, 0.5 + angle**2 / 12.0, 0.5 * angle / np.where(small, 1.0, sine))
    log: FloatArray = scale[..., None] * twice_sine_axis
    return log
