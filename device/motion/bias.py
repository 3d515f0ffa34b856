"""The gyroscope's bias, from moments of the log in which the camera stood still.

A still sensor shows its bias: 0.9 deg/s in a real WT901SDCL capture, which over a quarter of a
second is 14 px. Runs of exact zeros are no evidence of a zero bias: they are the sensor's own
dead-band, and are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from device.motion.rotations import FloatArray
from firmware_bridge.samples import ImuSamples

STILL_WINDOW_S = 0.25
"""Long enough to tell stillness from the turning point of a hand's sway."""
STILL_SPREAD_RAD_S = np.deg2rad(0.15)
"""Sensor noise is 0.04 to 0.1 deg/s; the calmest hand holds 0.5."""
LARGEST_BIAS_RAD_S = np.deg2rad(4.0)
"""A steady rate above any sensor's bias is a steady turn of the camera."""

UNCALIBRATED_SIGMA_RAD_S = np.deg2rad(1.0)
CALIBRATED_SIGMA_RAD_S = np.deg2rad(0.12)

BiasSource = Literal["still", "calibration", "none"]


@dataclass(frozen=True, slots=True)
class GyroBias:
    """rate_rad_s : (3,) float64, IMU frame; sigma_rad_s : its standard deviation, one axis."""

    rate_rad_s: FloatArray
    sigma_rad_s: float
    source: BiasSource


def estimate_bias(samples: ImuSamples, calibrated_rad_s: FloatArray | None) -> GyroBias:
    """Bias from still windows in `samples`; else the calibration's; else zero, and says so."""
    windows = _still_windows(samples)
    if len(windows):
        means = windows.mean(axis=-1)
        spread = float(windows.std(axis=-1).mean())
        # Windows overlap by half, so about half of them are independent looks.
        looks = max(1.0, 0.5 * len(windows)) * windows.shape[-1]
        sigma = max(spread / np.sqrt(looks), float(means.std(axis=0).max()))
        return GyroBias(np.median(means, axis=0), sigma, "still")
    if calibrated_rad_s is not None:
        return GyroBias(np.asarray(calibrated_rad_s, float), CALIBRATED_SIGMA_RAD_S, "calibration")
    return GyroBias(np.zeros(3), UNCALIBRATED_SIGMA_RAD_S, "none")


def _still_windows(samples: ImuSamples) -> FloatArray:
    """Rates in the windows in which the sensor stood still: (windows, 3, samples a window)."""
    none_found: FloatArray = np.empty((0, 3, 1))
    if len(samples) < 8:
        return none_found
    period_s = float(np.median(np.diff(samples.t_ns))) * 1e-9
    length = max(8, round(STILL_WINDOW_S / period_s))
    if len(samples) < length:
        return none_found
    rates = sliding_window_view(samples.gyro_rad_s, length, axis=0)[:: max(1, length // 2)]
    calm = rates.std(axis=-1).max(axis=-1) < STILL_SPREAD_RAD_S
    plausible = np.abs(rates.mean(axis=-1)).max(axis=-1) < LARGEST_BIAS_RAD_S
    dead_band = np.any(np.all(rates == 0.0, axis=-1), axis=-1)
    still: FloatArray = rates[calm & plausible & ~dead_band]
    return still
