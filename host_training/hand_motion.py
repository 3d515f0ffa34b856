"""Recorded hand motion for simulations: all usable recordings of a folder, and windows of them.

A window is one exposure's place in a recording. Windows are drawn for a wanted blur length, so
that a set covers short and long blur alike instead of what a recording holds most of.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from device.errors import InputError
from device.motion.recordings import Recording, column_count, read_recordings, read_tum_poses
from device.motion.rotations import FloatArray

_STEP_S = 0.004
_SHORTEST_S = 5.0
_CANDIDATES = 4000
_AXIS_WEIGHTS = np.array([1.0, 1.0, 0.35])
"""A turn about the optical axis, z, moves a pixel by its distance from the centre, not by f."""


@dataclass(frozen=True)
class HandMotion:
    """One gap-free recording and where it came from."""

    name: str
    recording: Recording

    @cached_property
    def turned_rad(self) -> FloatArray:
        """Running integral at steps of 4 ms of the angular speed, as it counts for blur (N,)."""
        t_s = np.arange(0.0, self.recording.duration_s, _STEP_S)
        speed = np.linalg.norm(self.recording.gyro_rad_s(t_s) * _AXIS_WEIGHTS, axis=1)
        return np.concatenate([[0.0], np.cumsum(speed[:-1]) * _STEP_S])

    def angle_rad(self, start_s: FloatArray, end_s: FloatArray) -> FloatArray:
        """The way turned between two times (M,): blur length over focal length, about."""
        t_s = np.arange(len(self.turned_rad)) * _STEP_S
        travelled = np.interp(end_s, t_s, self.turned_rad) - np.interp(
            start_s, t_s, self.turned_rad
        )
        return np.asarray(travelled)


@dataclass(frozen=True)
class Window:
    """One exposure's place in a recording: mid_s is the recording's own time."""

    motion: HandMotion
    mid_s: float
    exposure_s: float


def read_hand_motion(folder: Path) -> list[HandMotion]:
    """Recordings of at least 5 s without gaps below a folder: poses (8 columns) and rates (4).

    Text files of other kinds are left out, as are poses rounded to four decimals: their steps of
    0.01 deg are many deg/s after differentiation. Raises InputError when nothing remains.
    """
    motions = [motion for path in sorted(folder.rglob("*.txt")) for motion in _read(path)]
    if not motions:
        raise InputError(folder, "recorded motion", "none", "text logs of poses or a gyroscope")
    return motions


def _read(path: Path) -> list[HandMotion]:
    columns = column_count(path)
    if columns not in (4, 8) or (columns == 8 and _rounded(path)):
        return []
    return [
        HandMotion(f"{path.parent.name}/{path.stem}", recording)
        for recording in read_recordings(path)
        if recording.duration_s >= _SHORTEST_S
    ]


def _rounded(path: Path) -> bool:
    quaternions = np.concatenate(read_tum_poses(path))[:, 4:8]
    return bool(np.abs(quaternions * 1e4 - np.rint(quaternions * 1e4)).max() < 1e-4)


def draw_window(
    motions: list[HandMotion],
    angle_rad: float,
    exposure_range_s: tuple[float, float],
    rng: np.random.Generator,
    *,
    before_s: float = 2.3,
    after_s: float = 0.8,
) -> Window:
    """A random window in which the camera turns by about this angle (as a way travelled).

    Exposures are log-uniform over the range; each recording counts by its length. The best of
    4000 candidates is within a few percent unless the angle is out of reach.
    before_s, after_s : what the recording must hold around the middle of the exposure.
    """
    spans_s = np.array([max(0.0, m.recording.duration_s - before_s - after_s) for m in motions])
    which = rng.choice(len(motions), _CANDIDATES, p=spans_s / spans_s.sum())
    mid_s = before_s + rng.uniform(0, 1, _CANDIDATES) * spans_s[which]
    shortest, longest = map(math.log, exposure_range_s)
    exposure_s = np.exp(rng.uniform(shortest, longest, _CANDIDATES))
    found = np.empty(_CANDIDATES)
    for index in np.unique(which):
        mine = which == index
        found[mine] = motions[index].angle_rad(
            mid_s[mine] - exposure_s[mine] / 2, mid_s[mine] + exposure_s[mine] / 2
        )
    close = np.flatnonzero(np.abs(found / angle_rad - 1) < 0.05)
    # The first close one is a fair draw; the closest of all would prefer frequent speeds.
    best = int(close[0]) if len(close) else int(np.argmin(np.abs(np.log(found / angle_rad))))
    return Window(motions[which[best]], float(mid_s[best]), float(exposure_s[best]))
