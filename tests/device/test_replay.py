"""Bundles replayed through the interfaces of the camera and of the sensor's reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.capture.camera import Camera
from device.capture.replay import ReplayCamera, ReplayImu
from device.errors import CameraError, InputError

Make = Callable[..., Any]


def test_frames_come_in_order_with_their_own_log(
    make_bundle: Make, make_frame: Make, make_samples: Make
) -> None:
    first = make_bundle(make_frame(1), frame_format="png")
    second = make_bundle(make_frame(2), make_samples(4.5, 5.5), frame_format="png")
    with ReplayCamera([first, second]) as replay:
        camera: Camera = replay
        imu = ReplayImu(replay)
        assert camera.calibration.width == 64
        np.testing.assert_array_equal(camera.capture().pixels, make_frame(1).pixels)
        assert len(imu.samples_between(0, 10**10)) == len(make_samples())
        np.testing.assert_array_equal(camera.capture().pixels, make_frame(2).pixels)
        near = imu.samples_between(4_600_000_000, 4_700_000_000, wait_until_ns=0)
        assert (near.t_ns[0], near.t_ns[-1]) == (4_600_000_000, 4_700_000_000)
        with pytest.raises(CameraError, match="all 2 bundles"):
            camera.capture()


def test_repeat_starts_again(make_bundle: Make) -> None:
    camera = ReplayCamera([make_bundle()], repeat=True)
    shots = [camera.capture() for _ in range(3)]
    assert len({shot.timing for shot in shots}) == 1


def test_a_folder_of_bundles_is_replayed_by_name(
    tmp_path: Path, make_bundle: Make, make_frame: Make
) -> None:
    for name, seed in (("b", 2), ("a", 1)):
        make_bundle(make_frame(seed), frame_format="png").rename(tmp_path / f"{name}.capture")
    camera = ReplayCamera([tmp_path])
    np.testing.assert_array_equal(camera.capture().pixels, make_frame(1).pixels)


def test_a_bad_bundle_fails_its_shot_only(make_bundle: Make) -> None:
    bundles = [make_bundle(), make_bundle(), make_bundle()]
    (bundles[1] / "frame.jpg").unlink()
    camera = ReplayCamera(bundles)
    camera.capture()
    with pytest.raises(InputError):
        camera.capture()
    camera.capture()


def test_no_bundles_and_a_closed_replay(tmp_path: Path, make_bundle: Make) -> None:
    with pytest.raises(CameraError, match="no bundles"):
        ReplayCamera([tmp_path / "nothing"])
    camera = ReplayCamera([make_bundle()])
    camera.close()
    camera.close()
    with pytest.raises(CameraError, match="closed"):
        camera.capture()
