"""Camera and gyroscope on one clock: image motion between frames against the integrated rate.

The recording's README finds, on frames 99 to 201, that the vertical motion follows the gyroscope
best when 10 ms is added to the start of frame. Frames 99 to 118 are here: 19 pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from device.bundle import Bundle, read_bundle
from device.importers.phone_video import import_phone_video
from device.motion.integrate import integrate_rates
from device.motion.poses import PoseTrack
from device.motion.rotations import rotation_log
from firmware_bridge.samples import ImuSamples

Floats = NDArray[np.floating[Any]]
README_OFFSET_S = 0.010
TOLERANCE_S = 0.001
SKY_AND_STREET_ROWS = 380  # the dashboard below moves with the camera


@dataclass(frozen=True)
class Pair:
    """Corners at p (N, 2) in the first frame and q (N, 2) in the second."""

    first: Bundle
    second: Bundle
    p: Floats
    q: Floats


@pytest.fixture(scope="module")
def pairs(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    source = shared_data / "gyro_blur" / "phone_video_20200109"
    paths = import_phone_video(source, tmp_path_factory.mktemp("video"))
    bundles = [read_bundle(path) for path in paths]
    assert [bundle.metadata["FrameNumber"] for bundle in bundles] == list(range(99, 119))
    return [_track(a, b) for a, b in pairwise(bundles)]


def _grey(bundle: Bundle) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(bundle.read_pixels(), cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _track(first: Bundle, second: Bundle) -> Pair:
    """Corners followed forth and back; those that do not return within 0.2 px are dropped."""
    a, b = _grey(first), _grey(second)
    mask = np.zeros_like(a)
    mask[:SKY_AND_STREET_ROWS] = 255
    p = cv2.goodFeaturesToTrack(a, 600, 0.005, 6, mask=mask)
    how = {"winSize": (21, 21), "maxLevel": 4, "criteria": (3, 50, 1e-4)}
    q, there, _ = cv2.calcOpticalFlowPyrLK(a, b, p, None, **how)  # type: ignore[call-overload]
    back, home, _ = cv2.calcOpticalFlowPyrLK(b, a, q, None, **how)  # type: ignore[call-overload]
    good = (there[:, 0] == 1) & (home[:, 0] == 1) & (np.abs(back - p).max(axis=(1, 2)) < 0.2)
    return Pair(first, second, p[good, 0].astype(float), q[good, 0].astype(float))


def _pose_track(pairs: list[Pair]) -> PoseTrack:
    """The camera's poses over all frames, from the logs of the first and the last bundle."""
    logs = [pairs[0].first.samples, pairs[-1].second.samples]
    t_ns, first = np.unique(np.concatenate([log.t_ns for log in logs]), return_index=True)
    rates = np.concatenate([log.gyro_rad_s for log in logs])[first]
    samples = ImuSamples(t_ns, rates, np.full_like(rates, np.nan))
    R_ci = pairs[0].first.calibration.R_ci
    return PoseTrack(samples.t_ns, integrate_rates(samples.t_ns, samples.gyro_rad_s) @ R_ci.T)


def _best(offsets_s: Floats, score: Floats) -> float:
    """Where the score peaks, between the steps of the search: a parabola through the top three."""
    top = int(np.argmax(score))
    assert 0 < top < len(score) - 1, "the peak lies at the end of the search"
    before, here, after = score[top - 1 : top + 2]
    step = offsets_s[1] - offsets_s[0]
    return float(offsets_s[top] + 0.5 * step * (before - after) / (before - 2 * here + after))


def _one_time_per_frame(pairs: list[Pair], track: PoseTrack, offset_s: float) -> tuple[Floats, ...]:
    """Pitch between the frames' SOF + offset, and the median vertical motion of the corners."""
    sof = np.array([[pair.first.timing.first_row_end_ns, pair.second.timing.first_row_end_ns]
                    for pair in pairs])  # fmt: skip
    R = track.rotation_at(sof + round(offset_s * 1e9))
    turned = rotation_log(np.swapaxes(R[:, 0], -1, -2) @ R[:, 1])
    moved = np.array([np.median(pair.q[:, 1] - pair.p[:, 1]) for pair in pairs])
    return turned[:, 0], moved


def test_one_time_a_frame_recovers_the_readmes_offset(pairs: list[Pair]) -> None:
    track = _pose_track(pairs)
    offsets_s = np.arange(-10, 31) * 1e-3
    scores, slopes = [], []
    for offset_s in offsets_s:
        pitch, moved = _one_time_per_frame(pairs, track, float(offset_s))
        scores.append(np.corrcoef(pitch, moved)[0, 1])
        slopes.append(np.polyfit(pitch, moved, 1)[0])
    best_s = _best(offsets_s, np.array(scores))
    print(f"offset {best_s * 1e3:.2f} ms, correlation {max(scores):.4f}")
    assert abs(best_s - README_OFFSET_S) < TOLERANCE_S
    assert max(scores) > 0.995
    # Pitch up (the camera's x) moves the picture down: + focal length, 579 px in the README.
    assert slopes[int(np.argmax(scores))] == pytest.approx(579, rel=0.03)


def _predicted(pair: Pair, track: PoseTrack, shift_s: float) -> Floats:
    """Where the corners should be in the second frame, every row at its own time: (N, 2)."""
    shift_ns = round(shift_s * 1e9)
    calibration = pair.first.calibration
    before = track.rotation_at(pair.first.timing.row_mid_ns(pair.p[:, 1]) + shift_ns)
    after = track.rotation_at(pair.second.timing.row_mid_ns(pair.q[:, 1]) + shift_ns)
    rays = np.swapaxes(after, -1, -2) @ before @ calibration.pixels_to_rays(pair.p)[..., None]
    return calibration.rays_to_pixels(rays[..., 0])


def _median_error_px(pairs: list[Pair], track: PoseTrack, shift_s: float) -> float:
    """Median over all corners of the vertical distance between prediction and picture.

    The car drives, so the mean motion of a pair is partly not rotation: it is left in.
    """
    errors = [_predicted(pair, track, shift_s)[:, 1] - pair.q[:, 1] for pair in pairs]
    return float(np.median(np.abs(np.concatenate(errors))))


def test_bundles_need_no_further_shift(pairs: list[Pair]) -> None:
    track = _pose_track(pairs)
    shifts_s = np.arange(-15, 16) * 1e-3
    errors = np.array([_median_error_px(pairs, track, float(s)) for s in shifts_s])
    best_s = _best(shifts_s, -errors)
    print(f"remaining shift {best_s * 1e3:+.2f} ms, median error {errors.min():.2f} px")
    assert abs(best_s) < TOLERANCE_S
    assert errors.min() < 0.5
    assert errors[0] > 4 * errors.min()


def test_every_row_has_its_own_time(pairs: list[Pair]) -> None:
    """The rolling shutter: rows higher up match at an earlier shift when it is ignored."""
    track = _pose_track(pairs)
    offsets_s = np.arange(-10, 31) * 1e-3
    best = []
    for low, high in ((100, 240), (240, 380)):
        part = []
        for pair in pairs:
            rows = (pair.p[:, 1] >= low) & (pair.p[:, 1] < high)
            part.append(Pair(pair.first, pair.second, pair.p[rows], pair.q[rows]))
        scores = []
        for offset_s in offsets_s:
            pitch, moved = _one_time_per_frame(part, track, float(offset_s))
            scores.append(np.corrcoef(pitch, moved)[0, 1])
        mean_row = np.mean(np.concatenate([pair.p[:, 1] for pair in part]))
        best.append((mean_row, _best(offsets_s, np.array(scores))))
    (row_a, at_a), (row_b, at_b) = best
    line_us = (at_b - at_a) / (row_b - row_a) * 1e6
    print(f"line time {line_us:.1f} us")
    assert line_us == pytest.approx(52.6, rel=0.35)


def test_the_mirrored_axes_fail(pairs: list[Pair]) -> None:
    """The sign matters: with the roll and yaw of a front camera the prediction is far off."""
    track = _pose_track(pairs)
    mirrored = PoseTrack(track.t_ns, np.swapaxes(track.R_wc, -1, -2))
    assert _median_error_px(pairs, mirrored, 0.0) > 5 * _median_error_px(pairs, track, 0.0)
