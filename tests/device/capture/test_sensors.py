from __future__ import annotations

import pytest

from device.capture.sensors import SENSORS, find_sensor

# facts: skew in ms and focal length in full-size pixels, from the same drivers and data sheets
SKEWS_MS = {
    ("ov5647", 2592): 63.2,
    ("ov5647", 1296): 22,
    ("imx219", 3280): 46.6,
    ("imx219", 1640): 23.3,
    ("imx708", 4608): 68.1,
    ("imx708", 2304): 17.3,
    ("imx708", 1536): 8.0,
    ("imx477", 4056): 86.9,
    ("imx477", 2028): 23.1,
    ("imx477", 1332): 7.9,
}
FOCAL_PX = {"ov5647": 2571, "imx219": 2714, "imx708": 3386, "imx708_wide": 1964}


@pytest.mark.parametrize(("model", "width"), SKEWS_MS)
def test_line_times_give_the_known_skews(model: str, width: int) -> None:
    (mode,) = (mode for mode in SENSORS[model].modes if mode.width == width)
    skew_ms = mode.height * mode.line_time_ns * 1e-6
    assert skew_ms == pytest.approx(SKEWS_MS[model, width], rel=0.02)


@pytest.mark.parametrize("model", FOCAL_PX)
def test_focal_lengths(model: str) -> None:
    assert SENSORS[model].focal_px() == pytest.approx(FOCAL_PX[model], abs=0.5)


def test_a_lens_of_ones_own() -> None:
    assert SENSORS["imx477"].focal_px() is None
    assert SENSORS["imx477"].focal_px(6.0) == pytest.approx(3871, abs=0.5)


def test_variants_are_found() -> None:
    assert find_sensor("imx708_wide_noir") is SENSORS["imx708_wide"]
    assert find_sensor("imx219_noir") is SENSORS["imx219"]
    assert find_sensor("ov64a40") is None


@pytest.mark.parametrize("lines", [1, 100, 2333])
@pytest.mark.parametrize("model", ["imx477", "imx296", "imx708"])
def test_the_exposure_behind_whole_microseconds(model: str, lines: int) -> None:
    sensor = SENSORS[model]
    line_ns = sensor.modes[0].line_time_ns
    true_ns = lines * line_ns + sensor.exposure_offset_ns
    assert sensor.exposure_ns(int(true_ns / 1000), line_ns) == pytest.approx(true_ns, abs=1)


def test_an_exposure_that_is_no_whole_number_of_lines_is_believed() -> None:
    assert SENSORS["imx477"].exposure_ns(1_010, 28_571.0) == 1_010_000
    assert SENSORS["imx477"].exposure_ns(1_000, 0.0) == 1_000_000


def test_frames_are_longer_than_exposures() -> None:
    assert SENSORS["imx477"].shortest_frame_us(66_667, 28_571) == 66_667 + 629
    assert SENSORS["imx708"].shortest_frame_us(66_667, 26_290) == 66_667 + 1262
