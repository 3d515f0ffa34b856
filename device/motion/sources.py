"""Where simulated motion comes from: one interface for formulas and for recordings.

The world of a source has z up. R_wi takes the IMU frame to it; angular rate is the body rate in
the IMU frame; specific force is R_wi^T (a + g z) / g, +1 g along the axis that points up, at rest.
All four functions of a source describe the same motion exactly: the rate is the derivative of
the rotation, the force holds the second derivative of the position.
Times are seconds, float64, on the clock the source is used with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from device.motion.poses import PoseTrack
from device.motion.rotations import FloatArray, rotation_exp
from firmware_bridge.samples import STANDARD_GRAVITY_M_S2

UPRIGHT_R_WI: FloatArray = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
"""A level camera looking along the world's y, with sensor axes along the camera's."""
_UP = np.array([0.0, 0.0, 1.0])


class MotionSource(Protocol):
    """A motion that can be asked at any times t_s (N,)."""

    def rotation(self, t_s: FloatArray) -> FloatArray:
        """R_wi (N, 3, 3)."""
        ...

    def position_m(self, t_s: FloatArray) -> FloatArray:
        """Position of the sensor in the world (N, 3)."""
        ...

    def gyro_rad_s(self, t_s: FloatArray) -> FloatArray:
        """Body rate (N, 3), IMU frame."""
        ...

    def specific_force_g(self, t_s: FloatArray) -> FloatArray:
        """What an accelerometer reads, in g (N, 3), IMU frame."""
        ...


def specific_force_g(R_wi: FloatArray, acceleration_m_s2: FloatArray) -> FloatArray:
    """Accelerometer reading (N, 3) of a sensor with these orientations and world accelerations."""
    force = acceleration_m_s2 / STANDARD_GRAVITY_M_S2 + _UP
    return np.asarray(np.einsum("nji,nj->ni", R_wi, force))


def pose_track(
    source: MotionSource,
    T_cam_imu: FloatArray,
    t_ns: NDArray[np.int64],
    *,
    reference_ns: int | None = None,
) -> PoseTrack:
    """Camera poses of a source at times (N,) of its clock in nanoseconds.

    T_cam_imu : (4, 4), takes a point from the IMU frame to the camera frame.
    reference_ns : the world becomes the camera frame of this moment, where the pose is the
        identity: how a scene picture is seen. None keeps the source's world.
    """
    R_ci, lever_m = T_cam_imu[:3, :3], T_cam_imu[:3, 3]
    wanted_ns = t_ns if reference_ns is None else np.append(t_ns, reference_ns)
    t_s: FloatArray = wanted_ns.astype(np.float64) * 1e-9
    R_wi = source.rotation(t_s)
    R_wc = R_wi @ R_ci.T
    centre_m = source.position_m(t_s) - R_wc @ lever_m
    if reference_ns is not None:
        to_reference = R_wc[-1].T
        R_wc = to_reference @ R_wc[:-1]
        centre_m = (centre_m[:-1] - centre_m[-1]) @ to_reference.T
    return PoseTrack(t_ns, R_wc, centre_m)


@dataclass(frozen=True, eq=False)
class ConstantRate:
    """An even turn and an even walk: what a formula can be checked against.

    rate_rad_s : body rate (3,); velocity_m_s : in the world (3,); origin_s : the time at which
        the pose is `orientation` and the position zero.
    """

    rate_rad_s: tuple[float, float, float]
    velocity_m_s: tuple[float, float, float] = (0.0, 0.0, 0.0)
    origin_s: float = 0.0
    orientation: FloatArray = field(default_factory=UPRIGHT_R_WI.copy)

    def rotation(self, t_s: FloatArray) -> FloatArray:
        """R_wi (N, 3, 3)."""
        turned = rotation_exp((t_s - self.origin_s)[:, None] * np.array(self.rate_rad_s))
        return np.asarray(self.orientation @ turned)

    def position_m(self, t_s: FloatArray) -> FloatArray:
        """Position (N, 3)."""
        return np.asarray((t_s - self.origin_s)[:, None] * np.array(self.velocity_m_s))

    def gyro_rad_s(self, t_s: FloatArray) -> FloatArray:
        """Body rate (N, 3)."""
        return np.tile(np.array(self.rate_rad_s), (len(t_s), 1))

    def specific_force_g(self, t_s: FloatArray) -> FloatArray:
        """Gravity only (N, 3), g."""
        return specific_force_g(self.rotation(t_s), np.zeros((len(t_s), 3)))


class Still(ConstantRate):
    """A camera on a rock."""

    def __init__(self) -> None:
        super().__init__((0.0, 0.0, 0.0))


@dataclass(frozen=True)
class _Waves:
    """A vector as a sum of sines, with its exact derivatives.

    amplitude : (3, M); frequency_rad_s, phase_rad : (3, M).
    """

    amplitude: FloatArray
    frequency_rad_s: FloatArray
    phase_rad: FloatArray

    def derivative(self, t_s: FloatArray, order: int) -> FloatArray:
        """The derivative of this order (N, 3); 0 is the vector itself."""
        angle = t_s[:, None, None] * self.frequency_rad_s + self.phase_rad + order * np.pi / 2
        return np.asarray((self.amplitude * self.frequency_rad_s**order * np.sin(angle)).sum(-1))


class HandShake:
    """A hand that holds a camera: slow drift below 3 Hz plus tremor of 4 to 12 Hz, six axes.

    The rotation vector and the position are sums of sines, so every derivative is exact. Drift
    falls as 1 / f^2 in angle; the tremor is a bump around 8 Hz, the physiological tremor of a
    held arm (Elble and Koller 1990 give 8 to 12 Hz for the hand, 3 to 5 Hz for the elbow).

    rate_rms_deg_s : root mean square of the angular rate's length; 2 is calm, 10 is careless.
    speed_rms_m_s : the same for the velocity.
    tremor_share : the tremor's part of the rate's power, 0..1.
    """

    def __init__(
        self,
        seed: int,
        *,
        rate_rms_deg_s: float = 5.0,
        speed_rms_m_s: float = 0.02,
        tremor_share: float = 0.4,
        orientation: FloatArray = UPRIGHT_R_WI,
    ) -> None:
        rng = np.random.default_rng(seed)
        self._orientation = orientation
        self._turn = _hand_waves(rng, np.radians(rate_rms_deg_s), tremor_share)
        # An arm's mass damps fast translation: a tenth of the tremor's power is left.
        self._walk = _hand_waves(rng, speed_rms_m_s, 0.1 * tremor_share)

    def rotation(self, t_s: FloatArray) -> FloatArray:
        """R_wi (N, 3, 3)."""
        return np.asarray(self._orientation @ rotation_exp(self._turn.derivative(t_s, 0)))

    def position_m(self, t_s: FloatArray) -> FloatArray:
        """Position (N, 3)."""
        return self._walk.derivative(t_s, 0)

    def gyro_rad_s(self, t_s: FloatArray) -> FloatArray:
        """Body rate (N, 3): the right Jacobian of the rotation vector times its derivative."""
        return body_rate(self._turn.derivative(t_s, 0), self._turn.derivative(t_s, 1))

    def specific_force_g(self, t_s: FloatArray) -> FloatArray:
        """Accelerometer reading (N, 3), g."""
        return specific_force_g(self.rotation(t_s), self._walk.derivative(t_s, 2))


def body_rate(rotvec_rad: FloatArray, derivative_rad_s: FloatArray) -> FloatArray:
    """Body rate of Exp(phi(t)): J_r(phi) phi', (N, 3); Sola 2017, equation 183."""
    angle = np.linalg.norm(rotvec_rad, axis=1, keepdims=True)
    safe = np.maximum(angle, 1e-4)  # below, the first terms of the series differ by 1e-9
    cross = np.cross(rotvec_rad, derivative_rad_s)
    twice = np.cross(rotvec_rad, cross)
    first = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2  # (1 - cos) / angle^2 without cancellation
    second = (safe - np.sin(safe)) / safe**3
    return np.asarray(derivative_rad_s - first * cross + second * twice)


def _hand_waves(rng: np.random.Generator, rms: float, tremor_share: float) -> _Waves:
    """Waves whose first derivative has this root mean square (length of the vector)."""
    waves_per_part = 24
    edges_hz = np.geomspace(0.1, 3.0, waves_per_part + 1)
    drift_hz = rng.uniform(edges_hz[:-1], edges_hz[1:], (3, waves_per_part))
    tremor_hz = rng.uniform(4.0, 12.0, (3, waves_per_part))
    # Log-spaced waves: a rate amplitude of 1/sqrt(f) is a rate density of 1/f, angle of 1/f^2.
    drift_rate = drift_hz**-0.5
    tremor_rate = np.exp(-0.5 * ((tremor_hz - 8.0) / 2.0) ** 2)
    drift_rate *= np.sqrt((1 - tremor_share) / (0.5 * (drift_rate**2).sum()))
    tremor_rate *= np.sqrt(tremor_share / (0.5 * (tremor_rate**2).sum()))
    omega = 2 * np.pi * np.concatenate([drift_hz, tremor_hz], axis=1)
    rate = rms * np.concatenate([drift_rate, tremor_rate], axis=1)
    return _Waves(rate / omega, omega, rng.uniform(0, 2 * np.pi, omega.shape))


@dataclass(frozen=True)
class Playback:
    """A recording without end: forth and back between its start and `duration_s`.

    Going back is the same motion with time reversed, so rates change sign and forces stay; the
    pose has no jump at either end, which a loop would have.

    origin_s : the time at which the recording starts first.
    """

    source: MotionSource
    duration_s: float
    origin_s: float = 0.0

    def _place(self, t_s: FloatArray) -> tuple[FloatArray, FloatArray]:
        phase = np.mod(t_s - self.origin_s, 2 * self.duration_s)
        back = phase > self.duration_s
        return np.where(back, 2 * self.duration_s - phase, phase), np.where(back, -1.0, 1.0)

    def rotation(self, t_s: FloatArray) -> FloatArray:
        """R_wi (N, 3, 3)."""
        return self.source.rotation(self._place(t_s)[0])

    def position_m(self, t_s: FloatArray) -> FloatArray:
        """Position (N, 3)."""
        return self.source.position_m(self._place(t_s)[0])

    def gyro_rad_s(self, t_s: FloatArray) -> FloatArray:
        """Body rate (N, 3)."""
        place_s, sign = self._place(t_s)
        return sign[:, None] * self.source.gyro_rad_s(place_s)

    def specific_force_g(self, t_s: FloatArray) -> FloatArray:
        """Accelerometer reading (N, 3), g."""
        return self.source.specific_force_g(self._place(t_s)[0])
