from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.capture.picamera2_camera import Clocks, PicameraCamera
from device.config import PicameraConfig
from device.errors import CameraError, InputError

SMALL = {"sensor_mode": (2028, 1520), "size": (64, 48)}


@pytest.fixture
def open_camera(world: Any, line_clock: Any):
    """Open the camera with a configuration; closed, with nothing held, at the end."""
    opened: list[PicameraCamera] = []

    def open_it(calibration_file: Path | None = None, **keys: Any) -> PicameraCamera:
        fixed = {"exposure_s": 0.04, "analogue_gain": 8.0, "colour_gains": (2.0, 1.5)}
        config = PicameraConfig.model_validate(
            {"kind": "picamera2", "lens_focal_mm": 6.0, **SMALL, **fixed, **keys}
        )
        camera = PicameraCamera(
            config,
            calibration_file=calibration_file,
            line_clock=line_clock,
            clocks=Clocks(world.monotonic_ns, world.boottime_ns),
        )
        opened.append(camera)
        return camera

    yield open_it
    for camera in opened:
        camera.close()
        camera.close()
    assert all(camera.closed and camera.held == 0 for camera in world.cameras)


def notice_names(camera: PicameraCamera) -> set[str]:
    return {notice.name for notice in camera.notices}


def test_locks_everything_before_the_first_photograph(open_camera, world) -> None:
    world.lens_position = 1.0
    open_camera(lens_position=0.5)
    locked = world.camera.history[-1]
    assert locked == {
        "Sharpness": 0.0,
        "Contrast": 1.0,
        "Brightness": 0.0,
        "Saturation": 1.0,
        "NoiseReductionMode": 0,
        "HdrMode": 0,
        "AeEnable": False,
        "AwbEnable": False,
        "ExposureTime": 40_000,
        "AnalogueGain": 8.0,
        "ColourGains": (2.0, 1.5),
        "AfMode": 0,
        "LensPosition": 0.5,
        "FrameDurationLimits": (100_000, 100_000),
    }


def test_leaves_room_for_the_integration_lines(open_camera, world, line_clock) -> None:
    open_camera(exposure_s=0.2, max_exposure_s=1.0)
    line_clock_us = line_clock.value_ns / 1000
    room = int(np.ceil(22 * line_clock_us))
    assert world.camera.history[-1]["FrameDurationLimits"] == (200_000 + room,) * 2


def test_one_configuration_for_the_life_of_the_camera(open_camera, world) -> None:
    camera = open_camera()
    for _ in range(3):
        camera.capture()
    config = world.camera.config
    assert world.camera.mode_readings == 1
    assert config["main"] == {"size": (64, 48), "format": "BGR888"}
    assert config["sensor"] == {"output_size": (2028, 1520), "bit_depth": 12}
    assert config["queue"] is False


def test_the_tuning_loses_its_contrast_stretch_and_gives_the_curve(open_camera, world) -> None:
    frame = open_camera().capture()
    contrast = world.camera.tuning["algorithms"][1]["rpi.contrast"]
    assert contrast["ce_enable"] == 0
    assert frame.tone.points[1] == (1024 / 65535, 5040 / 65535)
    assert world.tuning["algorithms"][1]["rpi.contrast"]["ce_enable"] == 1


def test_red_is_red_whatever_the_format_is_called(open_camera, world) -> None:
    for name in (None, "BGR888", "RGB888"):
        world.given_format = name
        pixels = open_camera().capture().pixels
        assert pixels[0, 0].tolist() == [200, 100, 50]
        assert pixels.flags.c_contiguous


def test_a_frame_is_exposed_after_it_was_asked_for(open_camera, world) -> None:
    camera = open_camera()
    asked_ns = world.now_ns
    frame = camera.capture()
    # The mode's first row: SensorTimestamp is the END of its exposure.
    timestamp_ns = frame.metadata["SensorTimestamp"]
    assert timestamp_ns - 40_000_000 >= asked_ns
    assert frame.timing.exposure_ns == pytest.approx(40_000_000, abs=1000)
    assert frame.timing.start_ns >= asked_ns
    assert frame.timing.row_order == "top_down"


def test_metadata_is_kept_verbatim(open_camera, world) -> None:
    frame = open_camera().capture()
    assert frame.metadata["FrameDuration"] == 100_000
    assert frame.metadata["ColourGains"] == (2.0, 1.5)
    assert frame.analogue_gain == 8.0
    assert frame.sensor_model == "imx477"


def test_line_time_is_asked_for_every_photograph(open_camera, line_clock) -> None:
    camera = open_camera()
    line_clock.value_ns = 20_000.0
    line_clock.asked.clear()
    frame = camera.capture()
    assert line_clock.asked == [2028]  # the mode's width, not the picture's
    assert frame.timing.line_time_ns == pytest.approx(20_000 * 1520 / 48)
    # Row 0 of the picture lies over the middle of 1520/48 sensor rows.
    first_row = 1520 / 48 / 2 - 0.5
    expected_ns = frame.metadata["SensorTimestamp"] + round(first_row * 20_000)
    assert frame.timing.first_row_end_ns == expected_ns


def test_a_cropping_mode_and_a_scaler_crop_shift_the_rows(open_camera, world, line_clock) -> None:
    world.scaler_crop = (0, 440 + 200, 4056, 1080)
    camera = open_camera(sensor_mode=(2028, 1080), size=(2028, 540))
    frame = camera.capture()
    assert frame.timing.line_time_ns == pytest.approx(line_clock.value_ns)
    offset_ns = frame.timing.first_row_end_ns - frame.metadata["SensorTimestamp"]
    assert offset_ns == round(100 * line_clock.value_ns)  # 200 array rows, binned by two
    assert camera.calibration.cy == pytest.approx((1520 - 640) / 2 - 0.5)


def test_the_table_is_the_fallback_and_says_so(open_camera, line_clock) -> None:
    line_clock.value_ns = None
    camera = open_camera()
    assert camera.capture().timing.line_time_ns == pytest.approx(15_167 * 1520 / 48)
    assert "line-time-from-table" in notice_names(camera)


def test_the_configuration_comes_before_the_table(open_camera, line_clock) -> None:
    line_clock.value_ns = None
    camera = open_camera(line_time_us=16.0)
    assert camera.capture().timing.line_time_ns == pytest.approx(16_000 * 1520 / 48)
    assert "line-time-from-table" not in notice_names(camera)


def test_an_unknown_sensor_without_a_line_time_is_refused(open_camera, world, line_clock) -> None:
    world.model, line_clock.value_ns = "ov9999", None
    with pytest.raises(CameraError, match=r"ov9999 2028x1520.*line_time_us"):
        open_camera()


def test_a_global_shutter_has_no_line_time(open_camera, world, line_clock) -> None:
    world.model, world.array = "imx296", (1456, 1088)
    world.modes = [(1456, 1088, 10, (0, 0, 1456, 1088))]
    line_clock.value_ns = 14_814.8
    lines = 2699
    frame = open_camera(
        sensor_mode=None, size=None, exposure_s=(lines * 14.8148 + 14.26) * 1e-6
    ).capture()
    assert frame.timing.line_time_ns == 0
    assert frame.timing.exposure_ns == round(lines * 14_814.8) + 14_260
    assert frame.timing.first_row_end_ns == frame.metadata["SensorTimestamp"]


@pytest.mark.parametrize("hdr", [False, True])
def test_merged_exposures_are_refused(open_camera, world, line_clock, hdr: bool) -> None:
    world.model, world.array, line_clock.hdr = "imx708_wide", (4608, 2592), hdr
    world.modes = [(2304, 1296, 10, (0, 0, 4608, 2592))]
    keys = {"sensor_mode": None, "size": (64, 36), "lens_focal_mm": None}
    if not hdr:
        camera = open_camera(**keys)
        assert camera.calibration.fx == pytest.approx(2.75 / 1.4e-3 * 64 / 4608)
        return
    with pytest.raises(CameraError, match="merges three exposures"):
        open_camera(**keys)


def test_automatic_exposure_settles_and_is_held(open_camera, world) -> None:
    camera = open_camera(
        exposure_s="auto", analogue_gain="auto", colour_gains="auto", max_exposure_s=0.05
    )
    frame = camera.capture()
    held = world.camera.history[-1]
    assert held["ExposureTime"] == 50_000  # it wanted 0.12 s
    assert held["AnalogueGain"] == pytest.approx(world.light / 0.05)
    assert held["AeEnable"] is False
    assert held["AwbEnable"] is False
    assert frame.metadata["ExposureTime"] == 50_000
    assert not {"not-settled", "not-locked"} & notice_names(camera)


def test_gain_has_a_limit(open_camera, world) -> None:
    open_camera(exposure_s="auto", analogue_gain="auto", max_exposure_s=0.01, max_analogue_gain=6.0)
    assert world.camera.history[-1]["AnalogueGain"] == 6.0


def test_exposure_without_rest_is_held_anyway(open_camera, world) -> None:
    world.never_settles = True
    camera = open_camera(exposure_s="auto", analogue_gain="auto")
    assert "not-settled" in notice_names(camera)
    assert world.camera.history[-1]["AeEnable"] is False


def test_metering_again_follows_the_light(open_camera, world) -> None:
    camera = open_camera(exposure_s="auto", analogue_gain="auto", max_exposure_s=0.05)
    before = dict(world.camera.history[-1])
    world.light /= 4
    assert camera.capture().analogue_gain == pytest.approx(before["AnalogueGain"])
    camera.meter()
    held = world.camera.history[-1]
    assert held["AeEnable"] is False
    assert held["ExposureTime"] * held["AnalogueGain"] == pytest.approx(
        before["ExposureTime"] * before["AnalogueGain"] / 4, rel=0.02
    )
    assert camera.capture().timing.exposure_ns == pytest.approx(
        1000 * held["ExposureTime"], rel=0.01
    )


def test_metering_changes_nothing_where_all_is_fixed(open_camera, world) -> None:
    camera = open_camera()
    sets = len(world.camera.history)
    camera.meter()
    assert len(world.camera.history) == sets


def test_a_bracket_by_time_then_by_gain(open_camera, world) -> None:
    camera = open_camera(exposure_s=0.04, analogue_gain=4.0, max_exposure_s=0.05)
    for stops, exposure_us, gain in ((-1, 20_000, 4.0), (0, 40_000, 4.0), (1, 50_000, 6.4)):
        camera.set_stops(stops)
        frame = camera.capture()
        assert frame.metadata["ExposureTime"] == pytest.approx(exposure_us, rel=0.01)
        assert frame.analogue_gain == pytest.approx(gain)


def test_controls_this_libcamera_does_not_have_are_left_out(open_camera, world) -> None:
    world.unknown_controls = {"HdrMode", "NoiseReductionMode"}
    open_camera().capture()
    assert "HdrMode" not in world.camera.history[-1]


def test_a_camera_that_cannot_be_locked_says_so(open_camera, world) -> None:
    world.unknown_controls = {"FrameDurationLimits"}
    camera = open_camera()
    assert "not-locked" in notice_names(camera)


@pytest.mark.parametrize("broken", [False, True])
def test_frames_from_before_the_request_are_dropped(open_camera, world, broken: bool) -> None:
    camera = open_camera()
    world.stale_frames, world.flush_is_broken = 2, broken
    asked_ns = world.now_ns
    assert camera.capture().timing.start_ns >= asked_ns


def test_a_camera_that_only_gives_old_frames_is_believed_by_its_timestamps(
    open_camera, world
) -> None:
    camera = open_camera()
    world.stale_frames, world.flush_is_broken = 1000, True
    asked_ns = world.now_ns
    assert camera.capture().timing.start_ns < asked_ns  # photo.py names it stale


def test_no_frame_is_an_error_and_leaves_no_job_behind(open_camera, world) -> None:
    camera = open_camera()
    world.starve = True
    with pytest.raises(CameraError, match="no frame arrived"):
        camera.capture()
    world.starve = False
    camera.capture()


@pytest.mark.parametrize("key", ["SensorTimestamp", "ExposureTime"])
def test_a_frame_that_cannot_be_timed_is_refused_and_released(open_camera, world, key) -> None:
    camera = open_camera()
    world.drop_metadata = {key}
    with pytest.raises(CameraError, match=key):
        camera.capture()
    assert world.camera.held == 0


def test_depth_from_the_lens(open_camera, world) -> None:
    world.lens_position = 1.0
    assert open_camera(lens_position=2.0).capture().depth_m == 0.5
    assert open_camera(lens_position=0.0).capture().depth_m is None


def test_the_calibration_file_is_used(open_camera, calibration_file) -> None:
    camera = open_camera(calibration_file, sensor_mode=None, size=None)
    assert camera.calibration.fx == 3900.0
    assert camera.calibration.timeshift_s == 0.004
    assert "nominal-calibration" not in notice_names(camera)


def test_a_calibration_of_another_size_is_refused(open_camera, calibration_file, world) -> None:
    with pytest.raises(InputError, match=r"camera.yaml: cam0.resolution: found 4056x3040, .*64x48"):
        open_camera(calibration_file)
    assert world.camera.closed


def test_nominal_calibration_follows_lens_pitch_and_size(open_camera) -> None:
    camera = open_camera()
    assert camera.calibration.fx == pytest.approx(6.0 / 1.55e-3 * 64 / 4056)
    assert camera.calibration.cx == pytest.approx(31.5)
    assert "nominal-calibration" in notice_names(camera)


def test_a_lens_of_unknown_focal_length_needs_a_calibration(open_camera) -> None:
    with pytest.raises(CameraError, match="lens_focal_mm"):
        open_camera(lens_focal_mm=None)


def test_turning_the_picture_is_done_in_the_sensor(open_camera, world) -> None:
    frame = open_camera(rotate_180=True).capture()
    transform = world.camera.config["transform"]
    assert (transform.hflip, transform.vflip) == (1, 1)
    assert frame.timing.row_order == "top_down"  # the first row of the picture is read first


def test_a_transform_that_was_not_granted_is_refused(open_camera, world) -> None:
    world.ignore_transform = True
    with pytest.raises(CameraError, match="transform"):
        open_camera(rotate_180=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"given_size": (60, 48)}, "60x48 instead of 64x48"),
        ({"given_format": "YUV420"}, "YUV420 instead of BGR888"),
        ({"tuning": {"version": 2.0, "algorithms": []}}, "no rpi.contrast"),
        ({"modes": []}, "no raw read-out modes"),
    ],
)
def test_a_configuration_that_cannot_be_had(open_camera, world, change, message) -> None:
    for key, value in change.items():
        setattr(world, key, value)
    with pytest.raises(CameraError, match=message):
        open_camera()


def test_a_mode_the_sensor_does_not_have(open_camera) -> None:
    with pytest.raises(CameraError, match="no read-out mode 640x480: the sensor has 2028x1080, "):
        open_camera(sensor_mode=(640, 480))


def test_a_camera_that_is_not_there(open_camera) -> None:
    with pytest.raises(CameraError, match="no camera number 3: libcamera finds imx477"):
        open_camera(number=3)


def test_without_the_pi_packages_the_message_says_what_to_install(open_camera, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(CameraError, match="python3-picamera2"):
        open_camera()


def test_clocks_that_differ_after_a_suspend_are_noticed(open_camera, world) -> None:
    world.boottime_ahead_ns = 5_000_000_000
    assert "clocks-differ" in notice_names(open_camera())


def test_a_closed_camera_says_so(open_camera) -> None:
    camera = open_camera()
    camera.close()
    with pytest.raises(CameraError, match="closed"):
        camera.capture()
