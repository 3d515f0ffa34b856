"""What a WT901's inertial sensor makes of a motion: delayed, smoothed, biased, noisy, rounded.

Low-pass. The chip is of the MPU-6050/9250 class, whose data sheet lists cut-off and group delay
together. A cascade of n one-pole filters has the impulse response t^(n-1) exp(-t/tau) and the
group delay n tau at low frequencies; n is chosen so that the cut-off comes near the listed one
while the delay is met exactly. The response is sampled at a dozen instants of equal weight, so a
reading is a mean over the recent past and stays a pure function of time.

Dead-band. A WT901 that has not turned for a while outputs exactly 0/0/0 (facts from a real
capture), until it turns again. Register 0x61 is the rate it takes for stillness (0.001 deg/s,
0 switches the trap off), 0x63 how long it must last in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.frames import ACC_SCALE_G, GYRO_SCALE_DEG_S
from firmware_bridge.registers import Bandwidth

MotionFunction: TypeAlias = Callable[
    [NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]
]
"""t_s (N,) on the host's monotonic clock -> (gyro_rad_s (N, 3), acc_g (N, 3)), IMU frame."""

GROUP_DELAY_S = {
    Bandwidth.HZ_256: 0.98e-3,
    Bandwidth.HZ_188: 1.9e-3,
    Bandwidth.HZ_98: 2.8e-3,
    Bandwidth.HZ_42: 4.8e-3,
    Bandwidth.HZ_20: 8.3e-3,
    Bandwidth.HZ_10: 13.4e-3,
    Bandwidth.HZ_5: 18.6e-3,
}
"""Delay of the gyroscope's low-pass (MPU-6050 register map, DLPF_CFG)."""

_POLES = {
    Bandwidth.HZ_256: 3,
    Bandwidth.HZ_188: 7,
    Bandwidth.HZ_98: 4,
    Bandwidth.HZ_42: 2,
    Bandwidth.HZ_20: 1,
    Bandwidth.HZ_10: 1,
    Bandwidth.HZ_5: 1,
}
_TAPS = 12
_NOISE_BANDWIDTH = 1.57  # of a one-pole filter, in cut-off frequencies


@dataclass(frozen=True, slots=True)
class EmulatorErrors:
    """Everything that is wrong with an emulated sensor and its line.

    gyro_bias_deg_s, acc_bias_g : constant offsets, IMU axes.
    gyro_noise_deg_s_rthz, acc_noise_g_rthz : noise densities; 0.007 gives the 0.04 deg/s of the
        real capture at 20 Hz.
    clock_drift_ppm : how much faster than the host the chip's clock runs.
    obeys_dead_band_registers : False for a firmware on which the trap cannot be switched off.
    dropped_bytes, corrupted_bytes : probability of each, per byte on the wire.
    batch_s : the host gets bytes at multiples of this (1 ms USB frames; FTDI default 16 ms);
        0 hands over every cycle when its last byte has come in.
    jitter_s : mean of the exponential delay on top.
    """

    gyro_bias_deg_s: tuple[float, float, float] = (0.93, 0.81, -0.35)
    acc_bias_g: tuple[float, float, float] = (0.010, -0.008, 0.015)
    gyro_noise_deg_s_rthz: float = 0.007
    acc_noise_g_rthz: float = 300e-6
    clock_drift_ppm: float = 35.0
    obeys_dead_band_registers: bool = True
    dropped_bytes: float = 0.0
    corrupted_bytes: float = 0.0
    batch_s: float = 1e-3
    jitter_s: float = 1e-4

    @classmethod
    def none(cls) -> EmulatorErrors:
        """A perfect sensor on a perfect line; its low-pass, its rounding and its dead-band stay."""
        return cls((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.0, 0.0, 0.0, True, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Filters:
    """The registers that shape a reading."""

    bandwidth: Bandwidth
    still_threshold_deg_s: float
    still_after_s: float


class SensorPhysics:
    """Turns a motion into the sensor's 16-bit integers, reading after reading."""

    def __init__(
        self, motion: MotionFunction, errors: EmulatorErrors, rng: np.random.Generator
    ) -> None:
        self._motion, self._errors, self._rng = motion, errors, rng
        self._still_for_s = 0.0

    def read(
        self, t_s: NDArray[np.float64], period_s: float, filters: Filters
    ) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """Take the readings of consecutive instants.

        t_s : (N,) float64, host monotonic seconds, period_s apart.
        Returns gyro and acc, each (N, 3) int16 in the sensor's own scale.
        """
        taps_s = low_pass_taps_s(filters.bandwidth)
        gyro_rad_s, acc_g = self._motion((t_s[:, None] - taps_s).ravel())
        gyro_deg_s = np.degrees(gyro_rad_s).reshape(len(t_s), len(taps_s), 3).mean(axis=1)
        acc_g = acc_g.reshape(len(t_s), len(taps_s), 3).mean(axis=1)
        still = np.linalg.norm(gyro_deg_s, axis=1) < filters.still_threshold_deg_s
        zeroed = self._still_long_enough(still, period_s, filters.still_after_s)

        errors = self._errors
        root_hz = np.sqrt(_NOISE_BANDWIDTH * filters.bandwidth.hz)
        noise = self._rng.standard_normal((2, len(t_s), 3)) * root_hz
        gyro_deg_s += noise[0] * errors.gyro_noise_deg_s_rthz + errors.gyro_bias_deg_s
        acc_g += noise[1] * errors.acc_noise_g_rthz + errors.acc_bias_g
        gyro_deg_s[zeroed] = 0.0
        return to_counts(gyro_deg_s / GYRO_SCALE_DEG_S), to_counts(acc_g / ACC_SCALE_G)

    def _still_long_enough(
        self, still: NDArray[np.bool_], period_s: float, after_s: float
    ) -> NDArray[np.bool_]:
        zeroed = np.zeros(len(still), dtype=np.bool_)
        for k, is_still in enumerate(still.tolist()):
            self._still_for_s = self._still_for_s + period_s if is_still else 0.0
            zeroed[k] = self._still_for_s > after_s
        return zeroed


def to_counts(value: NDArray[np.float64]) -> NDArray[np.int16]:
    """Round to the sensor's integers; what lies outside its range sticks at the end of it."""
    return np.clip(np.rint(value), -32768, 32767).astype(np.int16)


@lru_cache
def low_pass_taps_s(bandwidth: Bandwidth) -> NDArray[np.float64]:
    """How long before a reading the motion counts, in equal parts: (12,) float64, mean = delay."""
    poles, delay_s = _POLES[bandwidth], GROUP_DELAY_S[bandwidth]
    lag = np.linspace(0.0, poles + 12.0 * poles**0.5, 20_001)  # in time constants
    response = lag ** (poles - 1) * np.exp(-lag)
    part = np.minimum(_TAPS * np.cumsum(response) / response.sum(), _TAPS - 1e-9).astype(int)
    weight = np.bincount(part, response, _TAPS)
    taps: NDArray[np.float64] = np.bincount(part, response * lag, _TAPS) / weight
    taps *= delay_s / taps.mean()
    taps.flags.writeable = False
    return taps
