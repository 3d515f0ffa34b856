"""Integration of angular rate: coning motion, irregular samples, orders of convergence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from device.motion.integrate import integrate_rates
from device.motion.rotations import FloatArray, rotation_log

START_NS = 10**15  # an uptime of eleven days


def even_times(rate_hz: float, duration_s: float) -> NDArray[np.int64]:
    steps = np.arange(round(rate_hz * duration_s) + 1) / rate_hz
    return START_NS + np.rint(steps * 1e9).astype(np.int64)


def seconds(t_ns: NDArray[np.int64]) -> FloatArray:
    return np.asarray((t_ns - START_NS) * 1e-9)


def coning_rate(t_s: FloatArray) -> FloatArray:
    """Rates of two axes in quadrature at 8 Hz, a tremor: the case that defeats the trapezoid."""
    phase = 2 * np.pi * 8.0 * t_s
    return np.stack([1.5 * np.cos(phase), 1.5 * np.sin(phase), np.full(len(phase), 0.1)], axis=1)


def angle_between(A: FloatArray, B: FloatArray) -> float:
    return float(np.linalg.norm(rotation_log((A.T @ B)[None])[0]))


def product(turns: Rotation) -> Rotation:
    """The first turn times the second and so on, by products of neighbours."""
    while len(turns) > 1:
        odd = turns[len(turns) // 2 * 2 :]
        turns = turns[0 : len(turns) // 2 * 2 : 2] * turns[1::2]
        turns = Rotation.concatenate([turns, odd]) if len(odd) else turns
    return turns[0]


def fine_steps(t_ns: NDArray[np.int64], rate: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """The truth at the last time: 50,000 turns at the rate in each step's middle."""
    edges_s = np.linspace(0.0, (t_ns[-1] - START_NS) * 1e-9, 50_001)
    turns = rate(0.5 * (edges_s[1:] + edges_s[:-1])) * np.diff(edges_s)[:, None]
    return np.asarray(product(Rotation.from_rotvec(turns)).as_matrix())


def trapezoid(t_ns: NDArray[np.int64], rate_rad_s: FloatArray) -> FloatArray:
    """What the Magnus term is compared with: every interval turned by its mean rate."""
    turns = 0.5 * np.diff(t_ns)[:, None] * 1e-9 * (rate_rad_s[1:] + rate_rad_s[:-1])
    return np.asarray(product(Rotation.from_rotvec(turns)).as_matrix())


def test_coning_is_followed_where_the_trapezoid_drifts() -> None:
    """Over a second of tremor; what is left is the chord that cuts off each wave's crest."""
    t_ns = even_times(200, 1.0)
    rate = coning_rate(seconds(t_ns))
    truth = fine_steps(t_ns, coning_rate)
    ours = angle_between(truth, integrate_rates(t_ns, rate)[-1])
    plain = angle_between(truth, trapezoid(t_ns, rate))
    assert plain > 4e-4  # 1.6 px at f = 4000 px: the comparison means something
    assert ours < 0.6 * plain


def test_between_samples_the_rate_is_linear() -> None:
    """For a rate that IS linear between samples the Magnus term removes nearly all error."""
    t_ns = even_times(50, 0.4)
    knots = np.random.default_rng(2).uniform(-2.0, 2.0, (len(t_ns), 3))

    def rate(t_s: FloatArray) -> FloatArray:
        return np.stack([np.interp(t_s, seconds(t_ns), axis) for axis in knots.T], axis=1)

    truth = fine_steps(t_ns, rate)
    ours = angle_between(truth, integrate_rates(t_ns, knots)[-1])
    plain = angle_between(truth, trapezoid(t_ns, knots))
    assert plain > 1e-4
    assert ours < 0.01 * plain


def test_the_error_falls_with_the_square_of_the_interval() -> None:
    errors = []
    for rate_hz in (100, 200, 400):
        t_ns = even_times(rate_hz, 0.5)
        R = integrate_rates(t_ns, coning_rate(seconds(t_ns)))[-1]
        errors.append(angle_between(fine_steps(t_ns, coning_rate), R))
    assert errors[0] > 3.8 * errors[1]
    assert errors[1] > 3.8 * errors[2]


def test_a_constant_rate_is_exact_at_every_irregular_sample() -> None:
    rng = np.random.default_rng(0)
    t_ns = START_NS + np.cumsum(rng.integers(1_000_000, 30_000_000, 60))
    rate = np.array([0.3, -1.2, 2.0])
    R = integrate_rates(t_ns, np.tile(rate, (60, 1)))
    angle = (t_ns - t_ns[0])[:, None] * 1e-9 * rate
    expected = Rotation.from_rotvec(angle).as_matrix()
    assert np.abs(R - expected).max() < 1e-12


def test_each_interval_counts_with_its_own_length() -> None:
    """A dropped sample on a ramp of the rate: the line between its neighbours is the truth."""
    t_ns = even_times(200, 0.1)
    ramp = np.outer(seconds(t_ns), [0.0, 50.0, 0.0])
    keep = np.delete(np.arange(len(t_ns)), [5, 6, 7, 13])
    whole = integrate_rates(t_ns, ramp)[keep]
    assert np.abs(integrate_rates(t_ns[keep], ramp[keep]) - whole).max() < 1e-12


def test_rates_are_of_the_body_not_of_the_world() -> None:
    """A quarter turn about x, then one about the BODY's z, which then points along -y."""
    t_ns = np.array([0, 1_000_000_000, 1_000_000_001, 2_000_000_001], np.int64)
    quarter = np.pi / 2
    rate = np.array([[quarter, 0, 0], [quarter, 0, 0], [0, 0, quarter], [0, 0, quarter]])
    R = integrate_rates(t_ns, rate)[-1]
    expected = Rotation.from_rotvec([quarter, 0, 0]) * Rotation.from_rotvec([0, 0, quarter])
    assert pytest.approx(expected.as_matrix(), abs=1e-8) == R
    assert pytest.approx([0.0, 0.0, 1.0], abs=1e-8) == R @ [1.0, 0.0, 0.0]


def test_the_first_orientation_is_the_identity() -> None:
    t_ns = even_times(100, 0.03)
    assert np.array_equal(integrate_rates(t_ns, coning_rate(seconds(t_ns)))[0], np.eye(3))
