"""Timed samples of an inertial sensor: the one type that leaves this package."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STANDARD_GRAVITY_M_S2 = 9.80665


@dataclass(frozen=True, slots=True)
class ImuSamples:
    """Angular rate and specific force in the IMU frame, on the host's clock.

    t_ns : (N,) int64, CLOCK_MONOTONIC, strictly increasing.
    gyro_rad_s : (N, 3) float64, body rate, right-hand rule.
    acc_g : (N, 3) float64, specific force: +1 g along the axis that points up, at rest.
        NaN throughout when the log holds no accelerometer.
    """

    t_ns: NDArray[np.int64]
    gyro_rad_s: NDArray[np.float64]
    acc_g: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.t_ns)

    @classmethod
    def empty(cls) -> ImuSamples:
        """No samples at all."""
        return cls(np.empty(0, np.int64), np.empty((0, 3)), np.empty((0, 3)))

    @property
    def has_acc(self) -> bool:
        """Whether every sample carries an accelerometer reading."""
        return len(self) > 0 and bool(np.isfinite(self.acc_g).all())

    def between(self, start_ns: int, end_ns: int) -> ImuSamples:
        """The samples with start_ns <= t <= end_ns."""
        keep = slice(
            int(np.searchsorted(self.t_ns, start_ns, "left")),
            int(np.searchsorted(self.t_ns, end_ns, "right")),
        )
        return ImuSamples(self.t_ns[keep], self.gyro_rad_s[keep], self.acc_g[keep])
