from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from device.bundle import write_bundle
from device.calibration import write_calibration
from device.capture import open as opening
from device.capture.camera import Frame
from device.capture.open import motion_source, open_camera, open_rig
from device.capture.replay import ReplayCamera, ReplayImu
from device.capture.scene import simulated_calibration
from device.capture.timing import FrameTiming
from device.capture.twin import TwinCamera
from device.config import Config, MotionConfig, load_config
from device.errors import CameraError, InputError
from device.photo import take_photo
from firmware_bridge.reader import ImuReader
from firmware_bridge.samples import ImuSamples

SMALL_TWIN: dict[str, Any] = {"kind": "twin", "size": [96, 64], "exposure_s": 0.01}


def configured(tmp_path: Path, **sections: Any) -> Config:
    path = tmp_path / "stillpi.yaml"
    path.write_text(yaml.safe_dump({"imu": {"kind": "none"}, **sections}))
    return load_config(path)


def test_the_simulated_pair_takes_a_photograph(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(opening, "READY_SAMPLES", 100)
    config = configured(tmp_path, camera=SMALL_TWIN, imu={"kind": "emulator"})
    with open_rig(config) as rig:
        assert isinstance(rig.camera, TwinCamera)
        assert isinstance(rig.log, ImuReader)
        assert rig.live
        stats = rig.log.stats()
        photo = take_photo(rig.camera, rig.log, tmp_path / "a.capture")
    assert stats.samples >= 100
    assert {notice.name for notice in photo.notices} <= {"clock-uncertain"}
    assert not rig.log.stats().alive
    with pytest.raises(CameraError):
        rig.camera.capture()


def test_a_sensor_that_is_not_there_does_not_stop_the_camera(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(opening, "READY_TIMEOUT_S", 0.05)
    imu = {"kind": "serial", "port": str(tmp_path / "imu"), "baud": 115200}
    with open_rig(configured(tmp_path, camera=SMALL_TWIN, imu=imu)) as rig:
        photo = take_photo(rig.camera, rig.log, tmp_path / "a.capture")
    assert "no-imu" in {notice.name for notice in photo.notices}
    assert "cannot open the serial port" in photo.notices[-1].detail


def test_old_photographs_are_replayed_with_their_logs(tmp_path: Path) -> None:
    timing = FrameTiming(10**9, 10**7, 1000, "top_down", 16)
    log = ImuSamples(
        np.arange(0, 2 * 10**9, 5 * 10**6), np.full((400, 3), 0.01), np.full((400, 3), np.nan)
    )
    frame = Frame(np.zeros((16, 16, 3), np.uint8), timing)
    write_bundle(tmp_path / "old" / "a.capture", frame, log, simulated_calibration(16, 16))
    config = configured(tmp_path, camera={"kind": "replay", "folder": "old"})
    with open_rig(config) as rig:
        assert isinstance(rig.camera, ReplayCamera)
        assert isinstance(rig.log, ReplayImu)
        photo = take_photo(rig.camera, rig.log, tmp_path / "b.capture", live=rig.live)
    assert photo.notices == ()


def test_the_twin_looks_through_the_configured_calibration(tmp_path: Path) -> None:
    write_calibration(tmp_path / "camera.yaml", simulated_calibration(96, 64, view_deg=30))
    config = configured(tmp_path, camera=SMALL_TWIN, calibration="camera.yaml")
    camera = open_camera(config)
    assert camera.calibration.fx == pytest.approx(simulated_calibration(96, 64, view_deg=30).fx)
    camera.close()
    wrong = configured(tmp_path, camera={**SMALL_TWIN, "size": [64, 64]}, calibration="camera.yaml")
    with pytest.raises(InputError, match=r"camera.yaml: cam0.resolution: found 96x64, .*64x64"):
        open_camera(wrong)


def test_axes_of_the_sensor(tmp_path: Path) -> None:
    camera = open_camera(configured(tmp_path, camera=SMALL_TWIN, imu_axes="yXZ"))
    np.testing.assert_array_equal(camera.calibration.R_ci @ [1.0, 2.0, 3.0], [-2.0, 1.0, 3.0])
    camera.close()


def test_a_scene_of_ones_own(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.jpg: photograph"):
        open_camera(configured(tmp_path, camera={**SMALL_TWIN, "scene": "none.jpg"}))


@pytest.mark.parametrize("kind", ["still", "hand_shake", "recording"])
def test_motions(tmp_path: Path, kind: str) -> None:
    file = None
    if kind == "recording":
        file = tmp_path / "rates.txt"
        t_ns = np.arange(0, 2 * 10**9, 5 * 10**6)
        table = np.column_stack([t_ns, *(0.1 * np.sin(t_ns * 1e-9 + k) for k in range(3))])
        np.savetxt(file, table, fmt="%.9f")
    source = motion_source(
        MotionConfig(kind=kind, file=file, rate_deg_s=5.0, seed=1),
        monotonic_ns=lambda: 100 * 10**9,
    )
    rates = source.gyro_rad_s(np.array([100.5, 101.0]))
    if kind == "still":
        assert not rates.any()
    if kind == "recording":
        np.testing.assert_allclose(rates[:, 0], 0.1 * np.sin([0.5, 1.0]), atol=1e-3)
    if kind == "hand_shake":
        assert rates.all()


def test_a_motion_log_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.txt"):
        motion_source(
            MotionConfig(kind="recording", file=tmp_path / "none.txt", rate_deg_s=5.0, seed=0)
        )
