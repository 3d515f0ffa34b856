"""The motion of the camera while one frame was exposed: samples, calibration, timing to poses.

A pure function, cheap enough to be called hundreds of times by a search over time shift or bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from device.calibration import CameraCalibration
from device.capture.timing import FrameTiming
from device.coverage import imu_coverage
from device.errors import InputError
from device.motion.bias import GyroBias, estimate_bias
from device.motion.gravity import integrate_specific_force
from device.motion.integrate import integrate_rates
from device.motion.poses import PoseTrack
from device.motion.rotations import FloatArray
from device.notices import Notice
from firmware_bridge.samples import ImuSamples

MARGIN_NS = 100_000_000
"""Poses reach this far beyond the exposure: a search over time shift stays inside."""
TRANSLATION_SPAN_NS = 400_000_000
"""Half the span over which the accelerometer's drift is bounded (gravity.py)."""
LARGEST_GAP_NS = 25_000_000
"""A longer gap between samples hides a whole sway; 105 Hz costs 0.5 dB, 52 Hz 2.5 dB."""
DEAD_BAND_SAMPLES = 5
"""So many exact zeros in a row are the sensor's dead-band, not a still hand."""


@dataclass(frozen=True, slots=True)
class FrameMotion:
    """Poses over a frame's exposure, with what is known of their quality.

    rotation_sigma_rad : (N,) float64, standard deviation of each of the track's orientations
        against the one in the middle of the frame, about one axis: what the bias leaves unknown.
    gaps_ns : spans of camera time inside the exposure without samples.
    """

    track: PoseTrack
    rotation_sigma_rad: FloatArray
    bias: GyroBias
    gyro_rate_hz: float
    gaps_ns: tuple[tuple[int, int], ...]
    notices: tuple[Notice, ...]


def frame_motion(
    samples: ImuSamples,
    calibration: CameraCalibration,
    timing: FrameTiming,
    *,
    depth_m: float | None = None,
    bias: GyroBias | None = None,
    source: object = "imu.gcsv",
) -> FrameMotion:
    """Camera poses over the exposure of every row.

    Raises InputError when the samples do not cover the exposure; `source` names them in it.
    """
    shift_ns = round(calibration.timeshift_s * 1e9)
    start_ns, end_ns = timing.start_ns + shift_ns, timing.end_ns + shift_ns
    _require_coverage(samples, timing, calibration.timeshift_s, source)
    if bias is None:
        bias = estimate_bias(samples, _calibrated_bias(calibration))
    span_ns = TRANSLATION_SPAN_NS if depth_m is not None and samples.has_acc else MARGIN_NS
    near = _with_neighbours(samples, start_ns - span_ns, end_ns + span_ns)
    track = _pose_track(near, bias.rate_rad_s, calibration, shift_ns, depth_m)
    inside = _with_neighbours(samples, start_ns, end_ns)
    gaps = _gaps(inside, shift_ns)
    middle_ns = (timing.start_ns + timing.end_ns) // 2
    return FrameMotion(
        track=track,
        rotation_sigma_rad=bias.sigma_rad_s * np.abs(track.t_ns - middle_ns) * 1e-9,
        bias=bias,
        gyro_rate_hz=1e9 / float(np.median(np.diff(near.t_ns))),
        gaps_ns=gaps,
        notices=tuple(_notices(inside, bias, gaps, depth_m)),
    )


def _require_coverage(
    samples: ImuSamples, timing: FrameTiming, timeshift_s: float, source: object
) -> None:
    if len(samples) == 1:
        raise InputError(source, "samples", 1, "at least 2 around the exposure")
    coverage = imu_coverage(samples, timing, timeshift_s)
    if not coverage.covers:
        raise InputError(source, "t", coverage.found(), "a log that covers the whole exposure")


def _with_neighbours(samples: ImuSamples, start_ns: int, end_ns: int) -> ImuSamples:
    """The samples of a span and one more on either side, so that the span is enclosed."""
    first = max(int(np.searchsorted(samples.t_ns, start_ns, "right")) - 1, 0)
    last = min(int(np.searchsorted(samples.t_ns, end_ns, "left")), len(samples) - 1)
    return samples.between(int(samples.t_ns[first]), int(samples.t_ns[last]))


def _calibrated_bias(calibration: CameraCalibration) -> FloatArray | None:
    if calibration.gyro_bias_rad_s is None:
        return None
    return np.asarray(calibration.gyro_bias_rad_s, np.float64)


def _pose_track(
    samples: ImuSamples,
    bias_rad_s: FloatArray,
    calibration: CameraCalibration,
    shift_ns: int,
    depth_m: float | None,
) -> PoseTrack:
    R_wi = integrate_rates(samples.t_ns, samples.gyro_rad_s - bias_rad_s)
    R_ci = calibration.R_ci
    centre_m = None
    if depth_m is not None:
        # The lens turns about the sensor: x_c = R_ci x_i + t_ci puts the lens at -R_ci^T t_ci.
        lever_i = -R_ci.T @ calibration.T_cam_imu[:3, 3]
        centre_m = R_wi @ lever_i
        if samples.has_acc:
            centre_m = centre_m + integrate_specific_force(samples.t_ns, R_wi, samples.acc_g)
    return PoseTrack(samples.t_ns - shift_ns, R_wi @ R_ci.T, centre_m)


def _gaps(samples: ImuSamples, shift_ns: int) -> tuple[tuple[int, int], ...]:
    long = np.flatnonzero(np.diff(samples.t_ns) > LARGEST_GAP_NS)
    camera_ns = samples.t_ns - shift_ns
    return tuple((int(camera_ns[i]), int(camera_ns[i + 1])) for i in long)


def _notices(
    samples: ImuSamples,
    bias: GyroBias,
    gaps: tuple[tuple[int, int], ...],
    depth_m: float | None,
) -> list[Notice]:
    notices = []
    if gaps:
        longest_s = max(end - start for start, end in gaps) * 1e-9
        notices.append(
            Notice("imu-gap", f"{len(gaps)} gap(s) in the exposure, the longest {longest_s:.3f} s")
        )
    zeros = np.all(samples.gyro_rad_s == 0.0, axis=1)
    if _longest_run(zeros) >= DEAD_BAND_SAMPLES:
        notices.append(
            Notice("gyro-dead-band", "the gyroscope reports runs of exact zeros in the exposure")
        )
    if bias.source == "none":
        notices.append(Notice("bias-unknown", "no still moment in the log and no calibrated bias"))
    if depth_m is not None and not samples.has_acc:
        notices.append(
            Notice("no-accelerometer", "depth is known, but the log has no acceleration")
        )
    return notices


def _longest_run(flags: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))
