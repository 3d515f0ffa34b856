"""Motions for an emulated sensor when there is no recording at hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.emulator.physics import MotionFunction

_FREQUENCIES_HZ = np.array([1.3, 3.1, 5.7, 8.9, 10.7])
"""Hand shake lies between 1 and 12 Hz, physiological tremor at the upper end."""


def still(t_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A sensor lying on a table, z up. As MotionFunction."""
    return np.zeros((len(t_s), 3)), np.tile([0.0, 0.0, 1.0], (len(t_s), 1))


def hand_shake(rms_deg_s: float = 6.0, seed: int = 0) -> MotionFunction:
    """A gentle synthetic shake: a few sines of random phase about each axis, z about up.

    rms_deg_s : of the angular rate about each axis.
    """
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0.0, 2.0 * np.pi, (3, len(_FREQUENCIES_HZ)))
    weight = rng.uniform(0.5, 1.0, (3, len(_FREQUENCIES_HZ)))
    weight *= np.radians(rms_deg_s) * np.sqrt(2.0 / (weight**2).sum(axis=1, keepdims=True))
    omega = 2.0 * np.pi * _FREQUENCIES_HZ

    def motion(t_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        angle = t_s[:, None, None] * omega + phase  # (N, 3, frequencies)
        gyro_rad_s = (weight * np.sin(angle)).sum(axis=2)
        tilt_rad = -(weight / omega * np.cos(angle)).sum(axis=2)
        up = np.stack([-tilt_rad[:, 1], tilt_rad[:, 0], np.ones(len(t_s))], axis=1)
        return gyro_rad_s, up / np.linalg.norm(up, axis=1, keepdims=True)

    return motion
