"""Samples, calibration and timing to the poses of one frame, and what is said about them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from device.calibration import CameraCalibration
from device.capture.timing import FrameTiming
from device.errors import InputError
from device.kernels.field import kernel_field
from device.motion.bias import GyroBias
from device.motion.frame_motion import LARGEST_GAP_NS, FrameMotion, frame_motion
from device.motion.poses import PoseTrack
from device.motion.rotations import FloatArray, rotation_log
from device.motion.sources import HandShake, pose_track, specific_force_g
from firmware_bridge.samples import ImuSamples

WIDTH, HEIGHT = 640, 480
START_NS = 10**15
EXPOSURE_NS, LINE_TIME_NS = 30_000_000, 60_000
TIMESHIFT_S = 0.0123
NO_BIAS = GyroBias(np.zeros(3), 0.0, "calibration")
AXES = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
"""A sensor mounted with its x forward, y left, z up."""


def camera(**changes: Any) -> CameraCalibration:
    T_cam_imu = np.eye(4)
    T_cam_imu[:3, :3] = AXES
    T_cam_imu[:3, 3] = (0.03, -0.01, 0.02)
    values: dict[str, Any] = {
        "fx": 600.0,
        "fy": 600.0,
        "cx": 319.5,
        "cy": 239.5,
        "width": WIDTH,
        "height": HEIGHT,
        "distortion_model": "none",
        "distortion_coeffs": (),
        "T_cam_imu": T_cam_imu,
        "timeshift_s": TIMESHIFT_S,
        **changes,
    }
    return CameraCalibration(**values)


def timing() -> FrameTiming:
    return FrameTiming(START_NS + EXPOSURE_NS, EXPOSURE_NS, LINE_TIME_NS, "top_down", HEIGHT)


class Hand(HandShake):
    """Turns like a hand; moves in waves of 6 Hz, which an accelerometer can follow."""

    def __init__(self) -> None:
        super().__init__(3, rate_rms_deg_s=8.0)

    def position_m(self, t_s: FloatArray) -> FloatArray:
        return 0.002 * np.sin(2 * np.pi * 6.0 * t_s[:, None] + [0.0, 2.0, 4.0])

    def specific_force_g(self, t_s: FloatArray) -> FloatArray:
        acceleration_m_s2 = -((2 * np.pi * 6.0) ** 2) * self.position_m(t_s)
        return specific_force_g(self.rotation(t_s), acceleration_m_s2)


def samples(rate_hz: float = 400.0, before_s: float = 0.6, after_s: float = 0.6) -> ImuSamples:
    """What the sensor wrote: its clock runs ahead of the camera's by the time shift."""
    end_s = (timing().end_ns - START_NS) * 1e-9 + after_s
    t_camera_s = np.arange(-before_s, end_s, 1.0 / rate_hz)
    t_ns = START_NS + np.rint((t_camera_s + TIMESHIFT_S) * 1e9).astype(np.int64)
    source = Hand()
    return ImuSamples(t_ns, source.gyro_rad_s(t_camera_s), source.specific_force_g(t_camera_s))


def names(motion: FrameMotion) -> list[str]:
    return [notice.name for notice in motion.notices]


def without_acceleration(log: ImuSamples) -> ImuSamples:
    return ImuSamples(log.t_ns, log.gyro_rad_s, np.full_like(log.acc_g, np.nan))


def with_still_start(log: ImuSamples, rate_rad_s: FloatArray) -> ImuSamples:
    """The same log with a motionless first 0.4 s that shows this bias throughout."""
    gyro = log.gyro_rad_s + rate_rad_s
    noise = np.random.default_rng(0).standard_normal((160, 3))
    gyro[:160] = rate_rad_s + np.deg2rad(0.05) * noise
    return ImuSamples(log.t_ns, gyro, log.acc_g)


def test_the_poses_are_those_of_the_true_motion() -> None:
    """Axes, time shift and lens position at once: the kernel field of the log is the true one."""
    motion = frame_motion(samples(), camera(), timing(), depth_m=0.6, bias=NO_BIAS)
    t_ns = np.arange(timing().start_ns - 10**7, timing().end_ns + 10**7, 500_000)
    true = pose_track(Hand(), camera().T_cam_imu, t_ns - START_NS)
    true = PoseTrack(t_ns, true.R_wc, true.centre_m)
    found = kernel_field(motion.track, camera(), timing(), depth_m=0.6).paths_px
    expected = kernel_field(true, camera(), timing(), depth_m=0.6).paths_px
    turned_only = kernel_field(true, camera(), timing()).paths_px
    translation_px = np.abs(expected - turned_only).max()
    assert translation_px > 1.0
    assert np.abs(found - expected).max() < 0.1 * translation_px


def test_far_scenes_need_the_rotation_only() -> None:
    motion = frame_motion(samples(), camera(), timing(), bias=NO_BIAS)
    t_ns = np.arange(timing().start_ns - 10**7, timing().end_ns + 10**7, 500_000)
    true = PoseTrack(t_ns, pose_track(Hand(), camera().T_cam_imu, t_ns - START_NS).R_wc)
    found = kernel_field(motion.track, camera(), timing())
    expected = kernel_field(true, camera(), timing())
    assert np.median(expected.length_px) > 2.0
    assert np.abs(found.paths_px - expected.paths_px).max() < 0.005


def test_without_depth_there_is_no_position() -> None:
    motion = frame_motion(samples(), camera(), timing(), bias=NO_BIAS)
    assert motion.track.centre_m is None
    assert names(motion) == []


def test_poses_are_on_the_cameras_clock_and_enclose_the_exposure() -> None:
    motion = frame_motion(samples(), camera(), timing(), bias=NO_BIAS)
    assert motion.track.covers(timing().start_ns, timing().end_ns)
    margin_ns = timing().start_ns - int(motion.track.t_ns[0])
    assert 100_000_000 <= margin_ns < 103_000_000


def test_the_time_shift_moves_the_look_up_forward() -> None:
    """t_imu = t_cam + shift: with a later shift the same samples describe earlier poses."""
    early = frame_motion(samples(), camera(timeshift_s=0.0), timing(), bias=NO_BIAS)
    late = frame_motion(samples(), camera(timeshift_s=0.01), timing(), bias=NO_BIAS)
    turned = early.track.rotation_at(START_NS + 12_000_000)
    turned_on = early.track.rotation_at(START_NS + 22_000_000)
    same = late.track.rotation_at(START_NS + 2_000_000)
    same_on = late.track.rotation_at(START_NS + 12_000_000)
    difference = (turned.T @ turned_on).T @ (same.T @ same_on)
    assert np.abs(rotation_log(difference[None])).max() < 1e-12


def test_orientations_grow_uncertain_away_from_the_middle() -> None:
    bias = GyroBias(np.zeros(3), 0.01, "calibration")
    motion = frame_motion(samples(), camera(), timing(), bias=bias)
    middle_ns = (timing().start_ns + timing().end_ns) / 2
    away_s = np.abs(motion.track.t_ns - middle_ns) * 1e-9
    np.testing.assert_allclose(motion.rotation_sigma_rad, 0.01 * away_s, atol=1e-10)


def test_the_rate_is_reported() -> None:
    motion = frame_motion(samples(rate_hz=250.0), camera(), timing(), bias=NO_BIAS)
    assert motion.gyro_rate_hz == pytest.approx(250.0)


@pytest.mark.parametrize(
    ("before_s", "after_s", "found"),
    [(-0.005, 0.6, "starts "), (0.6, -0.02, "ends 2"), (0.6, -0.2, "ends 20")],
)
def test_a_log_that_does_not_cover_the_exposure(
    before_s: float, after_s: float, found: str
) -> None:
    log = samples(before_s=before_s, after_s=after_s)
    with pytest.raises(InputError) as caught:
        frame_motion(log, camera(), timing(), source="shot.capture/imu.gcsv")
    message = str(caught.value)
    assert message.startswith("shot.capture/imu.gcsv: t: found a log that ")
    assert found in message
    assert message.endswith(", expected a log that covers the whole exposure")
    assert "\n" not in message


def test_the_time_shift_counts_for_coverage() -> None:
    log = samples(before_s=0.003)
    frame_motion(log, camera(), timing(), bias=NO_BIAS)
    with pytest.raises(InputError, match="covers the whole exposure"):
        frame_motion(log, camera(timeshift_s=0.0), timing(), bias=NO_BIAS)


@pytest.mark.parametrize(("count", "found"), [(0, "t: found no samples"), (1, "found 1, expected")])
def test_a_log_without_samples(count: int, found: str) -> None:
    log = samples()
    few = ImuSamples(log.t_ns[:count], log.gyro_rad_s[:count], log.acc_g[:count])
    with pytest.raises(InputError, match=found):
        frame_motion(few, camera(), timing())


def lost_near(instant_ns: float, within_ns: float = 20_000_000) -> ImuSamples:
    """A log that lost its samples around one instant of camera time."""
    log = samples()
    camera_ns = log.t_ns - round(TIMESHIFT_S * 1e9)
    keep = np.abs(camera_ns - instant_ns) > within_ns
    return ImuSamples(log.t_ns[keep], log.gyro_rad_s[keep], log.acc_g[keep])


def test_a_gap_is_named_and_its_rows_are_invalid() -> None:
    """Around the start of the exposure: the rows that were exposed after it stay valid."""
    instant_ns = timing().start_ns + 5_000_000
    motion = frame_motion(lost_near(instant_ns), camera(), timing(), bias=NO_BIAS)
    assert names(motion) == ["imu-gap"]
    assert "1 gap(s)" in motion.notices[0].detail
    ((start_ns, end_ns),) = motion.gaps_ns
    assert start_ns < instant_ns < end_ns
    assert 40_000_000 <= end_ns - start_ns <= 45_000_000
    field = kernel_field(motion.track, camera(), timing(), gaps_ns=motion.gaps_ns)
    begins_ns = timing().row_mid_ns(field.node_v) - EXPOSURE_NS // 2
    after = begins_ns > end_ns
    assert 0 < after.sum() < len(after)
    assert np.array_equal(field.valid, np.repeat(after[:, None], len(field.node_u), axis=1))


def test_a_gap_outside_the_exposure_does_no_harm() -> None:
    log = samples()
    keep = np.ones(len(log), bool)
    keep[20:60] = False  # in the first quarter second, long before the exposure
    lost = ImuSamples(log.t_ns[keep], log.gyro_rad_s[keep], log.acc_g[keep])
    assert names(frame_motion(lost, camera(), timing(), bias=NO_BIAS)) == []


def test_a_slow_but_even_log_is_no_gap() -> None:
    rate_hz = 1.05e9 / LARGEST_GAP_NS
    motion = frame_motion(samples(rate_hz=rate_hz), camera(), timing(), bias=NO_BIAS)
    assert motion.gaps_ns == ()


def test_runs_of_exact_zeros_in_the_exposure_are_the_dead_band() -> None:
    log = samples()
    inside = int(np.searchsorted(log.t_ns, START_NS + TIMESHIFT_S * 1e9)) + 3
    log.gyro_rad_s[inside : inside + 5] = 0.0
    assert names(frame_motion(log, camera(), timing(), bias=NO_BIAS)) == ["gyro-dead-band"]
    log.gyro_rad_s[inside + 2] = 1e-3
    assert names(frame_motion(log, camera(), timing(), bias=NO_BIAS)) == []


def test_zeros_before_the_exposure_say_nothing_about_it() -> None:
    log = samples()
    log.gyro_rad_s[:100] = 0.0
    assert names(frame_motion(log, camera(), timing(), bias=NO_BIAS)) == []


def test_a_bias_nobody_knows_is_named() -> None:
    motion = frame_motion(samples(), camera(), timing())
    assert motion.bias.source == "none"
    assert names(motion) == ["bias-unknown"]


def test_the_calibrations_bias_is_taken_off() -> None:
    rate = np.deg2rad([0.9, -0.8, 0.5])
    log = samples()
    shifted = ImuSamples(log.t_ns, log.gyro_rad_s + rate, log.acc_g)
    known = camera(gyro_bias_rad_s=(float(rate[0]), float(rate[1]), float(rate[2])))
    motion = frame_motion(shifted, known, timing())
    assert motion.bias.source == "calibration"
    assert names(motion) == []
    expected = frame_motion(log, camera(), timing(), bias=NO_BIAS).track.R_wc
    assert np.abs(motion.track.R_wc - expected).max() < 1e-9


def test_a_still_start_gives_the_bias() -> None:
    rate = np.deg2rad([0.9, -0.8, 0.5])
    motion = frame_motion(with_still_start(samples(), rate), camera(), timing())
    assert motion.bias.source == "still"
    assert np.abs(motion.bias.rate_rad_s - rate).max() < np.deg2rad(0.03)
    assert names(motion) == []


def test_depth_without_an_accelerometer_uses_the_lens_turning_about_the_sensor() -> None:
    log = without_acceleration(samples())
    motion = frame_motion(log, camera(), timing(), depth_m=0.6, bias=NO_BIAS)
    assert names(motion) == ["no-accelerometer"]
    centre = motion.track.centre_m
    assert centre is not None
    # The sensor stands still at the origin; the lens is where the sensor's origin is not.
    sensor = centre + motion.track.R_wc @ camera().T_cam_imu[:3, 3]
    assert np.abs(sensor).max() < 1e-12
    assert np.ptp(centre, axis=0).max() > 1e-4
