"""Kalibr's lens models on normalised coordinates: distort, and its inverse by Newton's method.

radtan:       x' = x (1 + k1 r^2 + k2 r^4) + 2 p1 x y + p2 (r^2 + 2 x^2), y' likewise
equidistant:  r' = theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8), theta = atan r
              (Kannala and Brandt, PAMI 2006, equation 6)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
NEWTON_STEPS = 25
CONVERGED = 1e-10


def distort(model: str, coeffs: Sequence[float], xy: Points) -> Points:
    """Where the lens puts the ideal points xy (..., 2)."""
    if model == "radtan":
        return _radtan(coeffs, xy)
    if model == "equidistant":
        r = np.hypot(xy[..., 0], xy[..., 1])[..., None]
        theta = np.arctan(r)
        polynomial, _ = _theta_polynomial(coeffs, theta)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(r > 0, xy * (polynomial / r), xy)
    return xy


def undistort(model: str, coeffs: Sequence[float], xy: Points) -> Points:
    """The ideal points that the lens puts at xy (..., 2); NaN where there are none."""
    if model == "radtan":
        return _undistort_radtan(coeffs, xy)
    if model == "equidistant":
        return _undistort_equidistant(coeffs, xy)
    return xy


def _radtan(coeffs: Sequence[float], xy: Points) -> Points:
    k1, k2, p1, p2 = coeffs
    x, y = xy[..., 0], xy[..., 1]
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * k2)
    return np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + 2 * p2 * x * y + p1 * (r2 + 2 * y * y),
        ],
        axis=-1,
    )


def _undistort_radtan(coeffs: Sequence[float], target: Points) -> Points:
    k1, k2, p1, p2 = coeffs
    xy = target.copy()
    with np.errstate(all="ignore"):
        for _ in range(NEWTON_STEPS):
            x, y = xy[..., 0], xy[..., 1]
            r2 = x * x + y * y
            radial, slope = 1 + r2 * (k1 + r2 * k2), 2 * (k1 + 2 * k2 * r2)
            a = radial + slope * x * x + 2 * p1 * y + 6 * p2 * x
            d = radial + slope * y * y + 6 * p1 * y + 2 * p2 * x
            b = slope * x * y + 2 * p1 * x + 2 * p2 * y
            error = _radtan(coeffs, xy) - target
            det = a * d - b * b
            # Past the fold of the polynomial the step leads to a second, false solution.
            det = np.where((det > 0) & (a > 0), det, np.nan)
            step_x = (d * error[..., 0] - b * error[..., 1]) / det
            step_y = (a * error[..., 1] - b * error[..., 0]) / det
            xy = xy - np.stack([step_x, step_y], axis=-1)
            if not np.nanmax(np.abs(error), initial=0.0) > CONVERGED / 10:
                break
        wrong = np.abs(_radtan(coeffs, xy) - target).max(axis=-1, keepdims=True)
    return np.where(wrong < CONVERGED * (1 + np.abs(target)), xy, np.nan)


def _theta_polynomial(coeffs: Sequence[float], theta: Points) -> tuple[Points, Points]:
    """The distorted radius of theta and its derivative."""
    t2 = theta * theta
    value, slope = np.ones_like(theta), np.ones_like(theta)
    power = np.ones_like(theta)
    for order, k in enumerate(coeffs, start=1):
        power = power * t2
        value = value + k * power
        slope = slope + (2 * order + 1) * k * power
    return theta * value, slope


def _undistort_equidistant(coeffs: Sequence[float], target: Points) -> Points:
    radius = np.hypot(target[..., 0], target[..., 1])[..., None]
    theta = np.minimum(radius, np.pi / 2)
    with np.errstate(all="ignore"):
        for _ in range(NEWTON_STEPS):
            value, slope = _theta_polynomial(coeffs, theta)
            theta = theta - (value - radius) / np.where(slope > 0, slope, np.nan)
            if not np.nanmax(np.abs(value - radius), initial=0.0) > CONVERGED / 10:
                break
        value, _ = _theta_polynomial(coeffs, theta)
        good = (np.abs(value - radius) < CONVERGED * (1 + radius)) & (theta >= 0)
        good &= theta < np.pi / 2
        r = np.tan(theta)
        return np.where(radius == 0, target, np.where(good, target * (r / radius), np.nan))
