"""Translation from the accelerometer, against motions whose position is a formula."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from device.motion.gravity import integrate_specific_force
from device.motion.rotations import FloatArray

GRAVITY_M_S2 = 9.80665
UP = np.array([0.2, -0.9, 0.387])
"""Of a world that began with the sensor's axes as they happened to be held."""
UP /= np.linalg.norm(UP)


def times(duration_s: float, rate_hz: float = 200.0) -> NDArray[np.int64]:
    steps = np.arange(round(duration_s * rate_hz) + 1) / rate_hz
    return 10**15 + np.rint(steps * 1e9).astype(np.int64)


def seconds(t_ns: NDArray[np.int64]) -> FloatArray:
    return np.asarray((t_ns - t_ns[0])[:, None] * 1e-9)


def turning(t_ns: NDArray[np.int64]) -> FloatArray:
    """R_wi of a sensor that sways by 5 degrees: gravity wanders through its axes."""
    angle = np.deg2rad(5.0) * np.sin(2 * np.pi * 1.3 * seconds(t_ns) + [0.0, 1.0, 2.0])
    return np.asarray(Rotation.from_rotvec(angle).as_matrix())


def felt(R_wi: FloatArray, acceleration_m_s2: FloatArray) -> FloatArray:
    """What the accelerometer reads, in g."""
    return np.einsum("nji,nj->ni", R_wi, acceleration_m_s2 / GRAVITY_M_S2 + UP)


def sway(
    t_ns: NDArray[np.int64], frequency_hz: float, amplitude_m: float = 0.002
) -> tuple[FloatArray, FloatArray]:
    """Position and acceleration of a swaying hand, three axes out of step."""
    omega = 2 * np.pi * frequency_hz
    position = amplitude_m * np.sin(omega * seconds(t_ns) + np.array([0.0, 2.0, 4.0]))
    return position, -(omega**2) * position


@pytest.mark.parametrize("frequency_hz", [2.5, 5.0, 7.5])
def test_a_swaying_hand_is_followed_to_two_percent(frequency_hz: float) -> None:
    """Whole waves: the assumptions (no mean acceleration, no mean velocity) hold exactly."""
    t_ns = times(duration_s=2 / 2.5)
    position, acceleration = sway(t_ns, frequency_hz)
    R_wi = turning(t_ns)
    found = integrate_specific_force(t_ns, R_wi, felt(R_wi, acceleration))
    assert np.abs(found - position).max() < 0.02 * 0.002


@pytest.mark.parametrize("frequency_hz", [3.1, 4.4, 6.7, 9.3])
def test_broken_waves_cost_little_over_an_exposure(frequency_hz: float) -> None:
    """What counts is the displacement over the 40 ms in the middle, for any part of a wave."""
    t_ns = times(duration_s=0.84)
    position, acceleration = sway(t_ns, frequency_hz)
    R_wi = turning(t_ns)
    found = integrate_specific_force(t_ns, R_wi, felt(R_wi, acceleration))
    first, last = len(t_ns) // 2 - 4, len(t_ns) // 2 + 4
    moved, true = found[last] - found[first], position[last] - position[first]
    assert np.abs(moved - true).max() < 0.15 * np.abs(true).max()


def test_gravity_alone_moves_nothing() -> None:
    t_ns = times(duration_s=1.0)
    R_wi = turning(t_ns)
    found = integrate_specific_force(t_ns, R_wi, felt(R_wi, np.zeros((len(t_ns), 3))))
    assert np.abs(found).max() < 1e-12


def test_the_sign_is_that_of_the_motion() -> None:
    """Pushed towards +x for the first half, held back for the second: it went to +x."""
    t_ns = times(duration_s=0.5)
    push = np.where(seconds(t_ns) < 0.25, 1.0, -1.0) * np.array([1.0, 0.0, 0.0])
    upright = np.tile(np.eye(3), (len(t_ns), 1, 1))
    found = integrate_specific_force(t_ns, upright, felt(upright, push))
    middle = len(t_ns) // 2
    # With the mean velocity at zero it swings back first and last, fastest forward in the middle.
    assert found[middle + 5, 0] > found[middle - 5, 0] + 0.001
    assert np.abs(found[:, 1:]).max() < 1e-9


def test_drift_of_a_wrong_scale_stays_bounded() -> None:
    """2 percent too much of gravity would be 98 mm in a second, integrated bluntly."""
    t_ns = times(duration_s=1.0)
    R_wi = turning(t_ns)
    found = integrate_specific_force(t_ns, R_wi, 1.02 * felt(R_wi, np.zeros((len(t_ns), 3))))
    assert np.abs(found).max() < 1e-9


def test_uneven_samples_weigh_by_their_time() -> None:
    t_ns = times(duration_s=0.8, rate_hz=1000.0)
    rng = np.random.default_rng(1)
    keep = np.sort(rng.choice(np.arange(1, len(t_ns) - 1), 300, replace=False))
    t_ns = t_ns[np.concatenate([[0], keep, [len(t_ns) - 1]])]
    position, acceleration = sway(t_ns, 5.0)
    R_wi = turning(t_ns)
    found = integrate_specific_force(t_ns, R_wi, felt(R_wi, acceleration))
    assert np.abs(found - position).max() < 0.05 * 0.002
