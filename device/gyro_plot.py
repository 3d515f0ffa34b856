"""A plot of the gyroscope around one exposure, as the numbers an inline SVG needs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.calibration import CameraCalibration
from device.capture.timing import FrameTiming
from firmware_bridge.samples import ImuSamples

WIDTH, HEIGHT = 900, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 28, 34
_MARGIN_OF_SPAN = 0.6  # shown before and after, in lengths of the whole exposure
_MOST_POINTS = 1200


@dataclass(frozen=True)
class Curve:
    """One axis: the points of an SVG polyline."""

    name: str
    points: str


@dataclass(frozen=True)
class Tick:
    """A place on an axis in SVG units and its text."""

    place: float
    text: str


@dataclass(frozen=True)
class Span:
    """A marked stretch of time in SVG units."""

    name: str
    left: float
    width: float


@dataclass(frozen=True)
class GyroPlot:
    """Everything the template draws; lengths in SVG units, the plot area given by its corners."""

    curves: list[Curve]
    dots: list[tuple[float, float]]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    spans: list[Span]
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM
    width: int = WIDTH
    height: int = HEIGHT


def gyro_plot(
    samples: ImuSamples, calibration: CameraCalibration, timing: FrameTiming
) -> GyroPlot | None:
    """The angular rate in deg/s against ms since the first row's exposure began; None if empty.

    The log's times are taken back to the camera's with the calibrated shift.
    """
    shift_ns = round(calibration.timeshift_s * 1e9)
    whole_ns = max(timing.end_ns - timing.start_ns, 1)
    margin_ns = max(round(_MARGIN_OF_SPAN * whole_ns), 20_000_000)
    shown = samples.between(
        timing.start_ns + shift_ns - margin_ns, timing.end_ns + shift_ns + margin_ns
    )
    if len(shown) == 0:
        return None
    t_ms = np.asarray((shown.t_ns - shift_ns - timing.start_ns) / 1e6, np.float64)
    rate_deg_s = np.degrees(shown.gyro_rad_s)
    x = _Axis(-margin_ns / 1e6, (whole_ns + margin_ns) / 1e6, _LEFT, WIDTH - _RIGHT)
    peak = max(float(np.abs(rate_deg_s).max()), 0.5) * 1.08
    y = _Axis(-peak, peak, HEIGHT - _BOTTOM, _TOP)
    thin = max(1, len(t_ms) // _MOST_POINTS)
    places = x.places(t_ms[::thin])
    curves = [
        Curve(name, _points(places, y.places(rate_deg_s[::thin, axis])))
        for axis, name in enumerate("xyz")
    ]
    dots: list[tuple[float, float]] = []
    if len(t_ms) <= 120:  # single samples matter when there are few
        for axis in range(3):
            dots += zip(places.tolist(), y.places(rate_deg_s[:, axis]).tolist(), strict=True)
    return GyroPlot(curves, dots, x.ticks(" ms"), y.ticks(""), _spans(timing, x))


def _spans(timing: FrameTiming, x: _Axis) -> list[Span]:
    """When the row read first and the row read last saw light; one span for a global shutter."""
    exposure_ms = timing.exposure_ns / 1e6
    last_start_ms = (timing.end_ns - timing.start_ns) / 1e6 - exposure_ms
    width = float(x.places(np.array([exposure_ms]))[0] - x.places(np.array([0.0]))[0])
    first = Span("first row", float(x.places(np.array([0.0]))[0]), width)
    if last_start_ms < 1e-3:
        return [Span("exposure", first.left, width)]
    return [first, Span("last row", float(x.places(np.array([last_start_ms]))[0]), width)]


def _points(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


@dataclass(frozen=True)
class _Axis:
    """A linear map from values to places."""

    low: float
    high: float
    low_place: float
    high_place: float

    def places(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        share = (values - self.low) / (self.high - self.low)
        return np.asarray(self.low_place + share * (self.high_place - self.low_place), np.float64)

    def ticks(self, unit: str, about: int = 6) -> list[Tick]:
        """Round values inside the range, at steps of 1, 2 or 5 times a power of ten."""
        rough = (self.high - self.low) / about
        decade = 10.0 ** math.floor(math.log10(rough))
        step = next(decade * k for k in (1, 2, 5, 10) if decade * k >= rough)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        values = np.asarray(step * np.arange(first, last + 1), np.float64)
        texts = [f"{value + 0.0:g}{unit}" for value in values]  # + 0.0: never "-0"
        return [Tick(p, text) for p, text in zip(self.places(values).tolist(), texts, strict=True)]
