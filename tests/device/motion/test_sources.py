from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from device.errors import InputError
from device.motion.recordings import (
    read_phone_gyro,
    read_recordings,
    read_tum_poses,
    recorded_gyro,
    recorded_poses,
)
from device.motion.rotations import FloatArray, rotation_exp, rotation_log
from device.motion.sources import (
    UPRIGHT_R_WI,
    ConstantRate,
    HandShake,
    MotionSource,
    Playback,
    Still,
    pose_track,
)
from firmware_bridge.samples import STANDARD_GRAVITY_M_S2, ImuSamples

T_S = np.linspace(0.5, 2.5, 400)
RATE_TOLERANCE_RAD_S = 1e-6
STEP_S = 1e-5


def wobble(n: int = 600) -> FloatArray:
    """A TUM table (N, 8) of a hand that waves, 120 Hz."""
    t_s = np.arange(n) / 120
    rotvec = 0.2 * np.stack([np.sin(5 * t_s), np.cos(3 * t_s), np.sin(2 * t_s + 1)], axis=1)
    angle = np.linalg.norm(rotvec, axis=1, keepdims=True)
    xyz = rotvec / angle * np.sin(angle / 2)
    # Signs of quaternions in logs are arbitrary: every second row is the other one.
    quaternion = np.concatenate([xyz, np.cos(angle / 2)], axis=1) * (-1.0) ** np.arange(n)[:, None]
    place = np.stack([np.sin(t_s), t_s**2 * 0.1, np.cos(2 * t_s)], axis=1)
    return np.concatenate([t_s[:, None] + 1e9, place, quaternion], axis=1)


def gyro_log(n: int = 700) -> ImuSamples:
    t_ns = 10**15 + np.arange(n, dtype=np.int64) * 4_760_000
    t_s = np.arange(n) * 4.76e-3
    gyro = np.stack([np.sin(9 * t_s), np.cos(30 * t_s), 0.3 * np.sin(50 * t_s)], axis=1)
    return ImuSamples(t_ns, gyro, np.full((n, 3), np.nan))


SOURCES: dict[str, MotionSource] = {
    "still": Still(),
    "constant": ConstantRate((0.3, -0.2, 0.9), (0.1, 0.0, -0.2)),
    "hand": HandShake(3, rate_rms_deg_s=10.0, speed_rms_m_s=0.1),
    "poses": recorded_poses(wobble()),
    "gyro": recorded_gyro(gyro_log()),
    "playback": Playback(HandShake(5), duration_s=7.0, origin_s=-5.2),
}


@pytest.mark.parametrize("name", SOURCES)
def test_rate_is_the_derivative_of_the_rotation(name: str) -> None:
    source = SOURCES[name]
    before, after = source.rotation(T_S - STEP_S), source.rotation(T_S + STEP_S)
    slope = rotation_log(np.swapaxes(before, 1, 2) @ after) / (2 * STEP_S)
    np.testing.assert_allclose(source.gyro_rad_s(T_S), slope, atol=RATE_TOLERANCE_RAD_S)


@pytest.mark.parametrize("name", SOURCES)
def test_force_holds_gravity_and_the_second_derivative_of_the_position(name: str) -> None:
    source = SOURCES[name]
    h = 1e-3
    p0, p1, p2 = (source.position_m(T_S + d) for d in (-h, 0.0, h))
    acceleration = (p0 - 2 * p1 + p2) / h**2
    world_g = np.einsum("nij,nj->ni", source.rotation(T_S), source.specific_force_g(T_S))
    expected = acceleration / STANDARD_GRAVITY_M_S2 + [0, 0, 1]
    np.testing.assert_allclose(world_g, expected, atol=2e-3)


def test_a_still_level_camera_reads_one_g_against_its_down_axis() -> None:
    np.testing.assert_allclose(Still().specific_force_g(np.zeros(1)), [[0, -1, 0]], atol=1e-12)


@pytest.mark.parametrize("rate", [2.0, 10.0])
def test_the_hand_has_the_rate_asked_for_and_is_band_limited(rate: float) -> None:
    t_s = np.arange(0, 120, 0.005)
    gyro = np.degrees(HandShake(11, rate_rms_deg_s=rate).gyro_rad_s(t_s))
    rms = np.sqrt((gyro**2).sum(1).mean())
    assert rms == pytest.approx(rate, rel=0.1)
    power = (np.abs(np.fft.rfft(gyro * np.hanning(len(t_s))[:, None], axis=0)) ** 2).sum(1)
    frequency_hz = np.fft.rfftfreq(len(t_s), 0.005)
    assert power[frequency_hz > 14].sum() < 1e-3 * power.sum()
    tremor = power[(frequency_hz > 4) & (frequency_hz < 12)].sum() / power.sum()
    assert 0.25 < tremor < 0.55


def test_the_hand_is_the_same_for_the_same_seed_only() -> None:
    first, again, other = (HandShake(seed).gyro_rad_s(T_S) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_playback_turns_round_without_a_jump() -> None:
    source = Playback(HandShake(5), duration_s=7.0, origin_s=3.0)
    ends_s = np.array([10.0, 17.0])
    step = np.swapaxes(source.rotation(ends_s - 1e-6), 1, 2) @ source.rotation(ends_s + 1e-6)
    assert np.abs(rotation_log(step)).max() < 1e-6
    np.testing.assert_allclose(
        source.gyro_rad_s(np.array([12.0])), -source.gyro_rad_s(np.array([8.0])), atol=1e-12
    )


def test_recorded_poses_follow_the_table() -> None:
    table = wobble()
    t_s = table[60:-60, 0] - table[0, 0]
    source = recorded_poses(table)
    w, xyz = table[60:-60, 7], table[60:-60, 4:7]
    truth = rotation_exp(2 * np.arccos(np.abs(w))[:, None] * _unit(xyz * np.sign(w)[:, None]))
    error = rotation_log(np.swapaxes(source.rotation(t_s), 1, 2) @ truth)
    assert np.abs(error).max() < 1e-3  # what smoothing takes from a 5 rad/s wave of 0.2 rad
    assert np.abs(source.position_m(t_s) - table[60:-60, 1:4]).max() < 1e-3


def test_recorded_gyro_gives_the_log_back() -> None:
    samples = gyro_log()
    t_s = (samples.t_ns - samples.t_ns[0]) * 1e-9
    error = recorded_gyro(samples).gyro_rad_s(t_s) - samples.gyro_rad_s
    assert np.abs(error[5:-5]).max() < 0.02  # of rates up to 1.4 rad/s, a 50 rad/s wave among them


def test_pose_track_is_the_identity_at_the_reference_and_carries_the_lever() -> None:
    R_ci = rotation_exp(np.array([[0.3, -1.2, 0.4]]))[0]
    T_cam_imu = np.eye(4)
    T_cam_imu[:3, :3], T_cam_imu[:3, 3] = R_ci, [0.02, 0.03, -0.01]
    source = ConstantRate((0.0, 0.0, 0.5), orientation=UPRIGHT_R_WI)
    t_ns = np.arange(0, 1_000_000_001, 1_000_000)
    track = pose_track(source, T_cam_imu, t_ns, reference_ns=500_000_000)
    np.testing.assert_allclose(track.R_wc[500], np.eye(3), atol=1e-12)
    # The sensor turns about itself; the camera, off its axis, walks a circle around it.
    lever_m = -R_ci.T @ [0.02, 0.03, -0.01]
    radius_m = np.hypot(lever_m[0], lever_m[1])
    assert track.centre_m is not None
    step_m = np.linalg.norm(np.diff(track.centre_m, axis=0), axis=1)
    np.testing.assert_allclose(step_m, 0.5e-3 * radius_m, rtol=1e-5)
    axis = rotation_log(track.R_wc[500:501].swapaxes(1, 2) @ track.R_wc[600:601])[0]
    np.testing.assert_allclose(axis, R_ci @ [0, 0, 0.05], atol=1e-9)


def test_recordings_are_cut_at_their_gaps(tmp_path: Path) -> None:
    table = np.delete(wobble(), slice(200, 230), axis=0)
    np.savetxt(tmp_path / "poses.txt", table, fmt="%.9f", header="timestamp tx ty tz qx qy qz qw")
    pieces = read_tum_poses(tmp_path / "poses.txt")
    assert [len(piece) for piece in pieces] == [370, 200]


@pytest.mark.parametrize(
    ("text", "word"),
    [("1 2 3\n" * 5, "columns"), ("a b c d\n", "motion log"), ("1 0 0 0\n" * 5, "time")],
)
def test_a_bad_log_is_one_clear_error(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "log.txt").write_text(text)
    with pytest.raises(InputError, match=word):
        read_phone_gyro(tmp_path / "log.txt")


def test_the_shared_recordings_can_be_played(shared_data: Path) -> None:
    pieces = read_tum_poses(shared_data / "imu_logs/tum_vi_handheld_poses/room1.txt")
    hand = recorded_poses(pieces[0][:1200])
    t_s = np.linspace(1, hand.duration_s - 1, 500)
    rate = np.degrees(np.linalg.norm(hand.gyro_rad_s(t_s), axis=1))
    assert 5 < np.median(rate) < 200
    assert np.median(np.linalg.norm(hand.specific_force_g(t_s), axis=1)) == pytest.approx(
        1, abs=0.2
    )
    gyro = read_phone_gyro(shared_data / "imu_logs/phone_gyro_210hz/gyro_train.txt")
    assert recorded_gyro(gyro[0]).duration_s > 100


def _unit(vectors: FloatArray) -> FloatArray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_a_log_is_read_by_its_columns(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "poses.txt", wobble(), fmt="%.9f")
    log = gyro_log()
    np.savetxt(tmp_path / "gyro.txt", np.column_stack([log.t_ns, log.gyro_rad_s]), fmt="%.9f")
    (tmp_path / "notes.txt").write_text("no numbers here\n")
    assert read_recordings(tmp_path / "poses.txt")[0].duration_s == pytest.approx(599 / 120)
    assert read_recordings(tmp_path / "gyro.txt")[0].duration_s == pytest.approx(699 * 4.76e-3)
    for name in ("notes.txt", "nothing.txt"):
        with pytest.raises(InputError, match="motion log"):
            read_recordings(tmp_path / name)
