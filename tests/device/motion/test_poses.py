"""Poses between samples: the geodesic, the clock's full precision, times beyond the ends."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from device.motion.poses import PoseTrack
from device.motion.rotations import rotation_exp

START_NS = 2 * 10**15


@pytest.fixture
def track() -> PoseTrack:
    """Twelve random orientations at uneven times, positions on a crooked line."""
    rng = np.random.default_rng(4)
    t_ns = START_NS + np.cumsum(rng.integers(1_000_000, 9_000_000, 12))
    R_wc = Rotation.from_rotvec(rng.uniform(-1.0, 1.0, (12, 3))).as_matrix()
    return PoseTrack(t_ns, R_wc, rng.standard_normal((12, 3)))


def times_inside(track: PoseTrack, count: int = 200) -> np.ndarray:
    return np.random.default_rng(5).integers(track.t_ns[0], track.t_ns[-1], count)


def test_rotation_between_samples_is_scipys_slerp(track: PoseTrack) -> None:
    t_ns = times_inside(track)
    # SciPy's times are float64: from the start they are exact.
    slerp = Slerp((track.t_ns - START_NS).astype(float), Rotation.from_matrix(track.R_wc))
    expected = slerp((t_ns - START_NS).astype(float)).as_matrix()
    assert np.abs(track.rotation_at(t_ns) - expected).max() < 1e-12


def test_poses_at_the_samples_are_the_samples(track: PoseTrack) -> None:
    assert np.abs(track.rotation_at(track.t_ns) - track.R_wc).max() < 1e-13
    centre = track.centre_at(track.t_ns)
    assert centre is not None
    assert np.abs(centre - track.centre_m).max() < 1e-13


def test_centre_is_linear_between_samples(track: PoseTrack) -> None:
    t_ns = times_inside(track)
    centre = track.centre_at(t_ns)
    assert centre is not None
    assert track.centre_m is not None
    for axis in range(3):
        known = track.centre_m[:, axis]
        expected = np.interp(t_ns - START_NS, track.t_ns - START_NS, known)
        assert np.abs(centre[:, axis] - expected).max() < 1e-12


def test_times_may_have_any_shape(track: PoseTrack) -> None:
    t_ns = times_inside(track, 12).reshape(3, 4)
    R = track.rotation_at(t_ns)
    assert R.shape == (3, 4, 3, 3)
    assert np.array_equal(R[2, 1], track.rotation_at(t_ns[2, 1]))
    centre = track.centre_at(t_ns)
    assert centre is not None
    assert centre.shape == (3, 4, 3)


def test_beyond_the_ends_the_last_rate_goes_on() -> None:
    t_ns = START_NS + np.array([0, 10, 20], np.int64) * 1_000_000
    rate = np.array([0.0, 3.0, 0.0])
    seconds = (t_ns - START_NS)[:, None] * 1e-9
    track = PoseTrack(t_ns, rotation_exp(seconds * rate), seconds * [[1.0, 2.0, 3.0]])
    for away_ns in (-7_000_000, 33_000_000):
        expected = rotation_exp(away_ns * 1e-9 * rate[None])[0]
        assert track.rotation_at(START_NS + away_ns) == pytest.approx(expected, abs=1e-12)
        centre = track.centre_at(START_NS + away_ns)
        assert centre == pytest.approx(away_ns * 1e-9 * np.array([1.0, 2.0, 3.0]), abs=1e-12)


def test_a_track_without_positions_has_none(track: PoseTrack) -> None:
    assert PoseTrack(track.t_ns, track.R_wc).centre_at(track.t_ns) is None


def test_coverage_counts_both_ends(track: PoseTrack) -> None:
    first, last = int(track.t_ns[0]), int(track.t_ns[-1])
    assert track.covers(first, last)
    assert not track.covers(first - 1, last)
    assert not track.covers(first, last + 1)
