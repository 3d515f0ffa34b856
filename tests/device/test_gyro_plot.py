"""The gyroscope plot: samples, exposure and ticks where they belong."""

from __future__ import annotations

import numpy as np
import pytest

from device.calibration import CameraCalibration
from device.capture.timing import FrameTiming
from device.gyro_plot import GyroPlot, Tick, gyro_plot
from firmware_bridge.samples import ImuSamples

TIMING = FrameTiming(1_000_000_000, 50_000_000, 100_000, "top_down", 501)


def calibration(timeshift_s: float = 0.0) -> CameraCalibration:
    return CameraCalibration(500, 500, 250, 250, 500, 501, "none", (), np.eye(4), timeshift_s)


def samples(peak_ns: int, rate_hz: int = 200) -> ImuSamples:
    """Still but for one sample of 10 deg/s about y at peak_ns."""
    t_ns = np.arange(peak_ns - 10**9, peak_ns + 10**9, 10**9 // rate_hz)
    gyro = np.zeros((len(t_ns), 3))
    gyro[t_ns == peak_ns, 1] = np.deg2rad(10.0)
    return ImuSamples(t_ns, gyro, np.full_like(gyro, np.nan))


def peak_place(plot: GyroPlot, axis: int) -> tuple[float, float]:
    points = [tuple(map(float, p.split(","))) for p in plot.curves[axis].points.split()]
    x, y = min(points, key=lambda point: point[1])
    return x, y


def tick_place(ticks: list[Tick], text: str) -> float:
    return next(tick.place for tick in ticks if tick.text == text)


@pytest.mark.parametrize("timeshift_s", [0.0, 0.02, -0.035])
def test_a_sample_lies_at_its_camera_time_and_rate(timeshift_s: float) -> None:
    peak_ns = TIMING.start_ns + 50_000_000 + round(timeshift_s * 1e9)
    plot = gyro_plot(samples(peak_ns), calibration(timeshift_s), TIMING)
    assert plot is not None
    x, y = peak_place(plot, axis=1)
    assert x == pytest.approx(tick_place(plot.x_ticks, "50 ms"), abs=0.11)
    assert y == pytest.approx(tick_place(plot.y_ticks, "10"), abs=0.11)


def test_first_and_last_row_are_marked() -> None:
    plot = gyro_plot(samples(TIMING.start_ns), calibration(), TIMING)
    assert plot is not None
    first, last = plot.spans
    assert (first.name, last.name) == ("first row", "last row")
    assert first.left == pytest.approx(tick_place(plot.x_ticks, "0 ms"))
    assert first.left + first.width == pytest.approx(last.left)
    assert last.left + last.width == pytest.approx(tick_place(plot.x_ticks, "100 ms"))


def test_a_global_shutter_has_one_span() -> None:
    timing = FrameTiming(1_000_000_000, 50_000_000, 0, "top_down", 501)
    plot = gyro_plot(samples(timing.start_ns), calibration(), timing)
    assert plot is not None
    assert [span.name for span in plot.spans] == ["exposure"]


def test_a_long_log_is_thinned_and_an_empty_one_has_no_plot() -> None:
    plot = gyro_plot(samples(TIMING.start_ns, rate_hz=200_000), calibration(), TIMING)
    assert plot is not None
    assert len(plot.curves[0].points.split()) < 3000
    assert plot.dots == []
    assert gyro_plot(ImuSamples.empty(), calibration(), TIMING) is None
