from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from device.calibration import CameraCalibration
from device.capture import render
from device.capture.timing import FrameTiming
from device.motion.poses import PoseTrack
from device.motion.sources import HandShake, pose_track

pytest.importorskip("torch", reason="the torch forward model needs the train extra")

from host_training import torch_forward

WIDTH, HEIGHT = 96, 80
CALIBRATION = CameraCalibration(
    fx=300.0,
    fy=305.0,
    cx=40.0,
    cy=44.0,
    width=WIDTH,
    height=HEIGHT,
    distortion_model="none",
    distortion_coeffs=(),
    T_cam_imu=np.eye(4),
)


def scene() -> NDArray[np.float32]:
    coarse = np.random.default_rng(4).uniform(0.0, 1.5, (52, 64, 3)).astype(np.float32)
    return np.maximum(cv2.resize(coarse, (WIDTH + 32, HEIGHT + 24)), 0)


def scene_K() -> NDArray[np.float64]:
    K = CALIBRATION.K.copy()
    K[:2, 2] += (16, 12)
    return K


def track_for(timing: FrameTiming) -> PoseTrack:
    t_ns = np.arange(timing.start_ns - 10**7, timing.end_ns + 10**7, 500_000)
    shake = HandShake(7, rate_rms_deg_s=25.0)
    return pose_track(shake, CALIBRATION.T_cam_imu, t_ns, reference_ns=timing.mid_ns)


@pytest.mark.parametrize("row_order", ["top_down", "bottom_up"])
@pytest.mark.parametrize("depth_m", [None, 0.8])
def test_torch_renders_what_numpy_renders(row_order: str, depth_m: float | None) -> None:
    """Up to OpenCV 4's rounding of places to 1/32 px: a hundredth of the contrast at the most."""
    timing = FrameTiming(10**12, 60_000_000, 200_000, row_order, HEIGHT)  # type: ignore[arg-type]
    arguments = scene(), scene_K(), CALIBRATION, timing, track_for(timing)
    expected = render.render_exposure(*arguments, depth_m=depth_m)
    found = torch_forward.render_exposure(*arguments, depth_m=depth_m)
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    error = found - expected
    assert np.sqrt(np.mean(error**2)) < 1e-3
    assert np.abs(error).max() < 1e-2
    # The comparison means something: the exposure is far from the sharp view.
    sharp = render.render_sharp(*arguments, depth_m=depth_m)
    assert np.sqrt(np.mean((expected - sharp) ** 2)) > 0.03


def test_a_still_camera_sees_the_scene_itself() -> None:
    timing = FrameTiming(10**12, 10_000_000, 0, "top_down", HEIGHT)
    still = PoseTrack(np.array([0, 2 * 10**12]), np.stack([np.eye(3)] * 2))
    found = torch_forward.render_exposure(scene(), scene_K(), CALIBRATION, timing, still)
    np.testing.assert_allclose(found, scene()[12 : 12 + HEIGHT, 16 : 16 + WIDTH], atol=2e-4)


def test_what_it_cannot_render_is_refused() -> None:
    timing = FrameTiming(10**12, 10_000_000, 0, "top_down", HEIGHT)
    track = track_for(timing)
    bent = replace(CALIBRATION, distortion_model="radtan", distortion_coeffs=(0.1, 0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="distortion"):
        torch_forward.render_exposure(scene(), scene_K(), bent, timing, track)
    with pytest.raises(ValueError, match="scene plane"):
        torch_forward.render_exposure(scene(), scene_K(), CALIBRATION, timing, track, depth_m=-1.0)
