"""The Galaxy Nexus chart: a hand-held phone photograph of a printed chart with its gyroscope.

SRC holds giro_data_image.jpg and giro_data.txt: the number of samples, the capture time stamp,
then "time_ns wx wy wz" in rad/s, and a trailer of the same numbers in words. From github
vladiant/ImageDeblurring, GiroDemo (MIT, Copyright (c) 2021 Vladislav Antonov).

The white dots in the chart's black squares show the true blur, so what the recording leaves
unsaid was fitted to them (tests/device/test_nexus_psf.py repeats the measurement):

axes        those of an Android rear camera. Of all 24 right-angled rotations it explains the
            dots' second moments best (with the identity, which no rear camera can have, next).
line time   32.83 ms over all rows, the phone's published read-out (GiroDemo, main.cpp). The dots
            agree: free, it becomes 36 ms without explaining them better.
time shift  the stamp is taken as the end of the read-out, as GiroDemo does; the dots then want
            the log 20.2 ms earlier still. +-4 ms away the unexplained energy is 5 to 20 % larger.
            (GiroDemo's sample calibration says 5.7 ms; that leaves twice as much unexplained.)
focal       3.43 mm (EXIF) on a sensor 3.63 mm wide (2592 pixels of 1.4 um): 1935 px at 2048.
            Free, the dots give 1917. GiroDemo's sample calibration would be 2090.
bias        none: over the whole second the hand sways about as much as the mean rate.

With these the dots' elongation (xx - yy moment) follows the prediction from +4 px^2 at the top
to -1.5 px^2 at the bottom with correlation 0.97.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from device.bundle import write_bundle
from device.calibration import CameraCalibration
from device.capture.camera import Frame
from device.capture.timing import FrameTiming
from device.errors import InputError
from device.importers.source import (
    ANDROID_GYRO_BIAS_RAD_S,
    android_rear_T_cam_imu,
    finite_numbers,
    numbered_lines,
    read_picture,
    sorted_samples,
    whole_number,
)
from device.validation import shown
from firmware_bridge.samples import ImuSamples

READOUT_S = 0.03283
TIMESHIFT_S = -0.0202
SENSOR_WIDTH_MM = 2592 * 1.4e-3


@dataclass(frozen=True)
class _Recording:
    samples: ImuSamples
    capture_ns: int
    press_ns: int | None


def import_nexus(src: Path, dst: Path) -> list[Path]:
    """Make the bundle DST/chart.capture, or DST itself when it is named *.capture; returns it.

    Raises InputError for anything missing or impossible.
    """
    recording = _read_log(src / "giro_data.txt")
    path = src / "giro_data_image.jpg"
    pixels = read_picture(path)
    exposure_s = _exif_number(path, ExifTags.Base.ExposureTime)
    focal_mm = _exif_number(path, ExifTags.Base.FocalLength)
    frame = _frame(pixels, recording, exposure_s)
    target = dst if dst.suffix == ".capture" else dst / "chart.capture"
    calibration = _calibration(frame.width, frame.height, focal_mm)
    samples = recording.samples
    return [write_bundle(target, frame, samples, calibration, gscale=1.0, picture=path)]


def _read_log(path: Path) -> _Recording:
    lines = numbered_lines(path, "a gyroscope log")
    head = [_head(path, lines, what) for what in ("the number of samples", "the capture time")]
    t_ns, rates = [], []
    press_ns = None
    for number, line in lines:
        fields, place = line.split(), f"line {number}"
        if fields[0].lstrip("-").isdigit():
            if len(fields) != 4:
                raise InputError(path, place, f"{len(fields)} fields", "time_ns wx wy wz")
            t_ns.append(whole_number(path, place, fields[0], "a time in ns"))
            rates.append(finite_numbers(path, place, fields[1:], "three finite rates"))
        elif line.startswith("user press"):
            press_ns = _signed(path, place, fields[-1])
    if len(t_ns) != head[0]:
        raise InputError(path, "samples", len(t_ns), f"{head[0]}, as line 1 says")
    return _Recording(sorted_samples(path, t_ns, rates), head[1], press_ns)


def _head(path: Path, lines: Iterator[tuple[int, str]], what: str) -> int:
    number, line = next(lines, (0, ""))
    return whole_number(path, f"line {number}", line.strip(), what)


def _signed(path: Path, place: str, text: str) -> int:
    """The stamp of the key press: a negative number that was printed as unsigned 64-bit."""
    value = int(text) if text.isdigit() else -1
    if not 0 <= value < 2**64:
        raise InputError(path, place, text, "an unsigned 64-bit number")
    return value - 2**64 if value >= 2**63 else value


def _exif_number(path: Path, tag: ExifTags.Base) -> float:
    with Image.open(path, formats=("JPEG",)) as picture:
        value = picture.getexif().get_ifd(ExifTags.IFD.Exif).get(tag)
    number = 0.0 if value is None else float(value)
    if not 0 < number < 1e6:
        raise InputError(path, f"EXIF {tag.name}", shown(value), "a number above 0")
    return number


def _frame(pixels: NDArray[np.uint8], recording: _Recording, exposure_s: float) -> Frame:
    height = pixels.shape[0]
    line_time_ns = round(READOUT_S * 1e9 / height)
    return Frame(
        pixels=pixels,
        timing=FrameTiming(
            first_row_end_ns=recording.capture_ns - line_time_ns * (height - 1),
            exposure_ns=round(exposure_s * 1e9),
            line_time_ns=line_time_ns,
            row_order="top_down",
            height=height,
        ),
        sensor_model="Galaxy Nexus, rear camera",
        metadata={
            "CaptureTimestamp": recording.capture_ns,
            "UserPressTimestamp": recording.press_ns,
            "ExposureTime": round(exposure_s * 1e6),
            "Recording": "vladiant/ImageDeblurring GiroDemo, MIT, (c) 2021 Vladislav Antonov",
        },
    )


def _calibration(width: int, height: int, focal_mm: float) -> CameraCalibration:
    focal_px = focal_mm * width / SENSOR_WIDTH_MM
    return CameraCalibration.centred(
        focal_px,
        width,
        height,
        T_cam_imu=android_rear_T_cam_imu(),
        timeshift_s=TIMESHIFT_S,
        gyro_bias_rad_s=ANDROID_GYRO_BIAS_RAD_S,
    )
