"""Camera poses over time: what the kernel field, the twin and the calibration look up."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from device.motion.rotations import FloatArray, rotation_exp, rotation_log


@dataclass(frozen=True)
class PoseTrack:
    """Orientation and, where known, position of the camera at increasing times.

    t_ns : (N,) int64, camera time on CLOCK_MONOTONIC, strictly increasing, N >= 2.
    R_wc : (N, 3, 3) float64, camera to world.
    centre_m : (N, 3) float64, camera centre in the world, or None when translation is unknown.
    """

    t_ns: NDArray[np.int64]
    R_wc: FloatArray
    centre_m: FloatArray | None = None
    _step_rad: FloatArray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        relative = np.swapaxes(self.R_wc[:-1], -1, -2) @ self.R_wc[1:]
        object.__setattr__(self, "_step_rad", rotation_log(relative))

    def covers(self, start_ns: float, end_ns: float) -> bool:
        """Whether both instants lie inside the track."""
        return bool(self.t_ns[0] <= start_ns and end_ns <= self.t_ns[-1])

    def rotation_at(self, t_ns: ArrayLike) -> FloatArray:
        """R_wc at times of any shape (...,): (..., 3, 3), along the geodesic between neighbours.

        Outside the track the nearest interval's rotation goes on at its constant rate.
        """
        before, fraction = self._locate(t_ns)
        step = rotation_exp(fraction[..., None] * self._step_rad[before])
        rotation: FloatArray = self.R_wc[before] @ step
        return rotation

    def centre_at(self, t_ns: ArrayLike) -> FloatArray | None:
        """Camera centre in metres at times (...,): (..., 3), linear between neighbours."""
        if self.centre_m is None:
            return None
        before, fraction = self._locate(t_ns)
        here, there = self.centre_m[before], self.centre_m[before + 1]
        centre: FloatArray = here + fraction[..., None] * (there - here)
        return centre

    def _locate(self, t_ns: ArrayLike) -> tuple[NDArray[np.intp], FloatArray]:
        t = np.asarray(t_ns)
        before = np.clip(np.searchsorted(self.t_ns, t, "right") - 1, 0, len(self.t_ns) - 2)
        span = self.t_ns[before + 1] - self.t_ns[before]
        fraction = (t - self.t_ns[before]) / span
        return before, np.asarray(fraction, np.float64)
