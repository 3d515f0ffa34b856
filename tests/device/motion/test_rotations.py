"""SO(3) against SciPy's independent implementation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from device.motion.rotations import (
    FloatArray,
    cumulative_product,
    matrix_from_quaternion,
    quaternion_from_rotvec,
    quaternion_product,
    rotation_exp,
    rotation_log,
)

ROUNDING = 1e-14


def rotvecs(count: int, largest_rad: float, seed: int = 0) -> FloatArray:
    """Random axes, angles up to `largest_rad` in length."""
    rng = np.random.default_rng(seed)
    axes = rng.standard_normal((count, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return np.asarray(axes * rng.uniform(0.0, largest_rad, (count, 1)))


def scalar_first(rotation: Rotation) -> FloatArray:
    return np.roll(rotation.as_quat(), 1, axis=-1)


@pytest.mark.parametrize("largest_rad", [1e-12, 1e-5, 2e-4, 0.01, 3.1])
def test_exponential_is_scipys(largest_rad: float) -> None:
    vectors = rotvecs(200, largest_rad)
    expected = Rotation.from_rotvec(vectors).as_matrix()
    assert np.abs(rotation_exp(vectors) - expected).max() < ROUNDING


def test_exponential_of_nothing_is_the_identity() -> None:
    assert np.array_equal(rotation_exp(np.zeros((2, 3))), np.stack([np.eye(3)] * 2))


def test_a_right_hand_turn_about_z_takes_x_to_y() -> None:
    R = rotation_exp(np.array([[0.0, 0.0, np.pi / 2]]))[0]
    assert pytest.approx([0.0, 1.0, 0.0], abs=ROUNDING) == R @ [1.0, 0.0, 0.0]


@pytest.mark.parametrize("largest_rad", [1e-12, 9e-5, 1.1e-4, 0.01, 3.1])
def test_logarithm_undoes_the_exponential(largest_rad: float) -> None:
    """Both sides of the switch to the series, relative to the angle."""
    vectors = rotvecs(200, largest_rad)
    error = np.abs(rotation_log(rotation_exp(vectors)) - vectors).max()
    assert error < 2e-16 + 1e-11 * largest_rad


def test_logarithm_is_scipys_for_any_leading_shape() -> None:
    rotations = Rotation.random(12, random_state=3)
    angles = rotation_log(rotations.as_matrix().reshape(3, 4, 3, 3))
    assert np.abs(angles.reshape(12, 3) - rotations.as_rotvec()).max() < 1e-12


def test_quaternions_are_scalar_first_and_of_unit_length() -> None:
    vectors = rotvecs(50, 3.0)
    quaternions = quaternion_from_rotvec(vectors)
    assert np.abs(quaternions - scalar_first(Rotation.from_rotvec(vectors))).max() < ROUNDING
    assert np.abs(np.linalg.norm(quaternions, axis=1) - 1).max() < ROUNDING


def test_product_applies_the_right_factor_first() -> None:
    left, right = Rotation.random(20, random_state=1), Rotation.random(20, random_state=2)
    product = quaternion_product(scalar_first(left), scalar_first(right))
    expected = (left * right).as_matrix()
    assert np.abs(matrix_from_quaternion(product) - expected).max() < ROUNDING


@pytest.mark.parametrize("count", [0, 1, 2, 3, 8, 13, 257])
def test_running_products_keep_the_order_of_time(count: int) -> None:
    steps = rotvecs(count, 0.7)
    running = matrix_from_quaternion(cumulative_product(quaternion_from_rotvec(steps)))
    expected = np.eye(3)
    for step, R in zip(Rotation.from_rotvec(steps).as_matrix(), running, strict=True):
        expected = expected @ step
        assert np.abs(R - expected).max() < 1e-13


def test_running_products_leave_their_input_alone_and_stay_rotations() -> None:
    steps = quaternion_from_rotvec(rotvecs(5000, 0.02))
    before = steps.copy()
    last = matrix_from_quaternion(cumulative_product(steps))[-1]
    assert np.array_equal(steps, before)
    assert np.abs(last @ last.T - np.eye(3)).max() < ROUNDING
