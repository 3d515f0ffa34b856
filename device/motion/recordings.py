"""Recorded hand motion as a motion source: poses of motion capture, logs of a gyroscope.

Both become one smooth curve of orientations (a spline that is twice differentiable), so that
the rate is exactly the rotation's derivative. A recording is cut at its gaps: what the hand did
there is unknown, and a spline would invent it. Times start at 0.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.errors import InputError
from device.motion.integrate import integrate_rates
from device.motion.rotations import FloatArray
from device.motion.sources import UPRIGHT_R_WI, specific_force_g
from firmware_bridge.samples import ImuSamples

_LONGEST_STEP_S = 0.03
"""Two to three samples of the recordings at hand may be missing; a tremor is slower than that."""


class Recording:
    """A piece of recorded motion, valid from 0 to `duration_s`.

    t_s : (N,) strictly increasing; R_wi : (N, 3, 3); position_m : (N, 3) or None, at rest.
    """

    def __init__(
        self, t_s: FloatArray, R_wi: FloatArray, position_m: FloatArray | None = None
    ) -> None:
        # Splines are for simulation only; a Pi that restores photographs never loads them.
        from scipy.interpolate import CubicSpline
        from scipy.spatial.transform import Rotation, RotationSpline

        own_s = t_s - t_s[0]
        self.duration_s = float(own_s[-1])
        self._turn: Any = RotationSpline(own_s, Rotation.from_matrix(R_wi))
        self._walk: Any = None if position_m is None else CubicSpline(own_s, position_m)

    def rotation(self, t_s: FloatArray) -> FloatArray:
        """R_wi (N, 3, 3)."""
        return np.asarray(self._turn(t_s).as_matrix(), dtype=np.float64)

    def position_m(self, t_s: FloatArray) -> FloatArray:
        """Position (N, 3)."""
        return np.zeros((len(t_s), 3)) if self._walk is None else np.asarray(self._walk(t_s))

    def gyro_rad_s(self, t_s: FloatArray) -> FloatArray:
        """Body rate (N, 3)."""
        return np.asarray(self._turn(t_s, 1), dtype=np.float64)

    def specific_force_g(self, t_s: FloatArray) -> FloatArray:
        """Accelerometer reading (N, 3), g."""
        zero = np.zeros((len(t_s), 3))
        acceleration = zero if self._walk is None else np.asarray(self._walk(t_s, 2))
        return specific_force_g(self.rotation(t_s), acceleration)


def recorded_poses(
    table: FloatArray, *, smoothing_s: float = 0.012, rate_hz: float = 120.0
) -> Recording:
    """Motion capture without gaps as a motion.

    table : (N, 8) t_s tx ty tz qx qy qz qw, as `read_tum_poses` gives it.
    smoothing_s : standard deviation of the Gaussian that the poses are smoothed with. Motion
        capture is noisy by some 0.05 deg, which is many deg/s after differentiation; in the
        TUM VI recordings noise exceeds motion above 12 Hz, where 0.012 s passes half.
    """
    from scipy.ndimage import gaussian_filter1d

    span_s = table[-1, 0] - table[0, 0]
    t_s = np.linspace(0.0, span_s, max(4, round(span_s * rate_hz) + 1))
    own_s = table[:, 0] - table[0, 0]
    quaternions = _same_hemisphere(table[:, 4:8])
    columns = np.concatenate([table[:, 1:4], quaternions], axis=1)
    even = np.stack([np.interp(t_s, own_s, column) for column in columns.T], axis=1)
    even = gaussian_filter1d(even, smoothing_s * rate_hz, axis=0, mode="nearest")
    return Recording(t_s, _matrices(even[:, 3:]), even[:, :3])


def recorded_gyro(samples: ImuSamples, *, orientation: FloatArray = UPRIGHT_R_WI) -> Recording:
    """A gyroscope's log without gaps as a motion: rotation only, starting at `orientation`."""
    t_s = (samples.t_ns - samples.t_ns[0]) * 1e-9
    return Recording(t_s, orientation @ integrate_rates(samples.t_ns, samples.gyro_rad_s))


def read_recordings(path: Path) -> list[Recording]:
    """The gap-free pieces of a motion log, longest first, whichever kind of text it is.

    Eight columns are poses (`read_tum_poses`), four a gyroscope's (`read_phone_gyro`).
    Raises InputError for any other file.
    """
    columns = column_count(path)
    if columns == 8:
        return [recorded_poses(piece) for piece in read_tum_poses(path)]
    if columns == 4:
        return [recorded_gyro(piece) for piece in read_phone_gyro(path)]
    raise InputError(path, "motion log", f"{columns} columns of numbers", "8 (poses) or 4 (rates)")


def column_count(path: Path) -> int:
    """Numbers in the first line of a text file that is not a comment; 0 for another text.

    Raises InputError when the file cannot be read.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            words = next((line.split() for line in lines if not line.startswith("#")), [])
    except OSError as error:
        raise InputError(path, "motion log", error.strerror, "a readable file") from error
    try:
        return len([float(word) for word in words])
    except ValueError:
        return 0


def read_tum_poses(path: Path) -> list[FloatArray]:
    """Gap-free pieces (N, 8) of a TUM trajectory: t_s tx ty tz qx qy qz qw, longest first.

    Raises InputError for a file that is not one.
    """
    table = _read_table(path, 8, "t tx ty tz qx qy qz qw")
    norms = np.linalg.norm(table[:, 4:8], axis=1)
    if np.any(np.abs(norms - 1) > 0.01):
        raise InputError(path, "quaternion", f"length {norms.max():.3f}", "unit length")
    return [table[piece] for piece in _pieces(table[:, 0])]


def read_phone_gyro(path: Path) -> list[ImuSamples]:
    """Gap-free pieces of a text log `time_ns wx wy wz` in rad/s, longest first.

    Raises InputError for a file that is not one.
    """
    table = _read_table(path, 4, "time_ns wx wy wz")
    t_ns = np.rint(table[:, 0]).astype(np.int64)
    acc = np.full((len(table), 3), np.nan)
    whole = ImuSamples(t_ns, table[:, 1:4], acc)
    return [
        ImuSamples(whole.t_ns[piece], whole.gyro_rad_s[piece], whole.acc_g[piece])
        for piece in _pieces((t_ns - t_ns[0]) * 1e-9)
    ]


def _read_table(path: Path, columns: int, names: str) -> FloatArray:
    try:
        table = np.loadtxt(path, dtype=np.float64, comments="#", ndmin=2)
    except (ValueError, OSError) as error:
        raise InputError(path, "motion log", error, f"a text table of {names}") from error
    if table.shape[1] != columns or len(table) < 4:
        raise InputError(path, "columns", table.shape[1], f"{columns}: {names}")
    if not np.isfinite(table).all() or np.any(np.diff(table[:, 0]) <= 0):
        raise InputError(path, "time", "unsorted or not finite", "finite, increasing times")
    return table


def _pieces(t_s: FloatArray) -> list[slice]:
    """The stretches between gaps, longest first; a second at least, a single spare if none is."""
    cuts = np.flatnonzero(np.diff(t_s) > _LONGEST_STEP_S) + 1
    bounds = np.concatenate([[0], cuts, [len(t_s)]])
    pieces = [slice(int(a), int(b)) for a, b in itertools.pairwise(bounds)]
    pieces.sort(key=lambda piece: piece.start - piece.stop)
    long = [piece for piece in pieces if t_s[piece.stop - 1] - t_s[piece.start] >= 1.0]
    return long or pieces[:1]


def _same_hemisphere(quaternions: FloatArray) -> FloatArray:
    """The quaternions with signs such that neighbours are close (q and -q are one rotation)."""
    flips = np.sign((quaternions[1:] * quaternions[:-1]).sum(axis=1))
    signs = np.concatenate([[1.0], np.cumprod(np.where(flips == 0, 1.0, flips))])
    return np.asarray(quaternions * signs[:, None])


def _matrices(quaternions_xyzw: NDArray[np.float64]) -> FloatArray:
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_quat(quaternions_xyzw).as_matrix(), dtype=np.float64)
