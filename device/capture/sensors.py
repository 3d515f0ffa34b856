"""What is known of the Raspberry Pi's cameras: size, pitch, lens, line times per mode.

The line times are those of the kernel drivers' mode tables, line_length_pix / pixel_rate. They
are the fallback where the running kernel cannot be asked (`device.capture.linetime`). Focal
lengths are the lens's nominal ones over the pixel pitch, good to a few per cent: a calibration
replaces them. deploy/profiles/ names the source of every number; a test holds the two equal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SensorMode:
    """One read-out mode.

    line_time_ns : from one row's read-out to the next.
    by_kernel : the driver's table changed between kernel versions, so this value may not be the
        running one's.
    """

    width: int
    height: int
    line_time_ns: float
    by_kernel: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.width, self.height


@dataclass(frozen=True, slots=True)
class Sensor:
    """One image sensor, with the lens it is sold with.

    modes : the full size first.
    lens_focal_mm : None where the lens is the user's choice.
    integration_lines : how many lines the exposure must stay below the frame's length.
    global_shutter : every row is exposed at once; the modes' line time is then only the unit in
        which the exposure is counted.
    exposure_offset_ns : exposure = lines * line time + this.
    """

    model: str
    pitch_um: float
    modes: tuple[SensorMode, ...]
    lens_focal_mm: float | None
    integration_lines: int
    global_shutter: bool = False
    exposure_offset_ns: int = 0

    @property
    def full_size(self) -> tuple[int, int]:
        """(width, height) of the pixel array that is read out."""
        return self.modes[0].size

    def mode(self, size: tuple[int, int]) -> SensorMode | None:
        """The read-out mode of this size, None when the table does not have it."""
        return next((mode for mode in self.modes if mode.size == size), None)

    def focal_px(self, lens_focal_mm: float | None = None) -> float | None:
        """Focal length in pixels of the full array, None when the lens is not known."""
        focal_mm = lens_focal_mm or self.lens_focal_mm
        return None if focal_mm is None else focal_mm * 1000 / self.pitch_um

    def exposure_ns(self, exposure_us: int, line_time_ns: float) -> int:
        """The exposure behind the whole microseconds that libcamera reports.

        The sensor counts whole lines: the nearest count is the true value when it lies within
        the microsecond that rounding can have taken, otherwise the report is believed.
        """
        reported_ns = exposure_us * 1000
        if line_time_ns <= 0:
            return reported_ns
        lines = round((reported_ns - self.exposure_offset_ns) / line_time_ns)
        counted_ns = round(lines * line_time_ns) + self.exposure_offset_ns
        return counted_ns if lines > 0 and abs(counted_ns - reported_ns) <= 1000 else reported_ns

    def shortest_frame_us(self, exposure_us: int, line_time_ns: float) -> int:
        """The shortest frame duration that leaves room for this exposure."""
        return exposure_us + math.ceil(self.integration_lines * line_time_ns / 1000)


def _imx708(model: str, lens_focal_mm: float) -> Sensor:
    modes = (
        SensorMode(4608, 2592, 26_290),
        SensorMode(2304, 1296, 13_361),
        SensorMode(1536, 864, 9_209),
    )
    return Sensor(model, 1.40, modes, lens_focal_mm, integration_lines=48)


_OV5647 = Sensor(  # camera module 1
    "ov5647",
    1.40,
    (SensorMode(2592, 1944, 32_503), SensorMode(1296, 972, 22_445, by_kernel=True)),
    lens_focal_mm=3.60,
    integration_lines=4,
)
_IMX219 = Sensor(  # camera module 2
    "imx219",
    1.12,
    (SensorMode(3280, 2464, 18_904), SensorMode(1640, 1232, 18_904, by_kernel=True)),
    lens_focal_mm=3.04,
    integration_lines=4,
)
_IMX477 = Sensor(  # HQ camera
    "imx477",
    1.55,
    (
        SensorMode(4056, 3040, 28_571),
        SensorMode(2028, 1520, 15_167),
        SensorMode(1332, 990, 7_933),
    ),
    lens_focal_mm=None,
    integration_lines=22,
)
_IMX296 = Sensor(  # global shutter camera: exposure = lines * 14.8148 us + 14.26 us (the driver)
    "imx296",
    3.45,
    (SensorMode(1456, 1088, 14_814.8),),
    lens_focal_mm=None,
    integration_lines=4,
    global_shutter=True,
    exposure_offset_ns=14_260,
)

SENSORS: dict[str, Sensor] = {
    sensor.model: sensor
    for sensor in (
        _OV5647,
        _IMX219,
        _IMX477,
        _IMX296,
        _imx708("imx708", 4.74),  # camera module 3
        _imx708("imx708_wide", 2.75),
    )
}


def find_sensor(model: str) -> Sensor | None:
    """The sensor behind libcamera's Model property; None for one that is not in the table.

    The variants without an infrared filter (`imx708_wide_noir`) differ in colour only.

    >>> find_sensor("imx708_wide_noir").model
    'imx708_wide'
    """
    return SENSORS.get(model.removesuffix("_noir").removesuffix("_mono"))
