"""DeepGyro recordings: a burst of a tablet's photographs with its inertial log.

SRC holds images/images.txt (one line a picture: time stamp and exposure, ns), images/*.jpg in the
same order, imu/imu.txt (sensor type, time ns, x, y, z; 4 gyroscope rad/s, 1 accelerometer m/s^2;
not in time order) and calibration.json. Mustaniemi et al., WACV 2019, github jannemus/DeepGyro.

Time. A stamp is the start of the exposure of the first row: the authors expose row r from
stamp + r * readout / height on (their generate.py; so does Android's SENSOR_TIMESTAMP). They set
both streams to start at zero and then ADD their offset to the gyroscope's times, so
    t_gyro = t_camera + (first gyro stamp - first image stamp) - offset,
which is -18.3 ms for the published burst. The pictures agree: between its frames the vertical
motion that the gyroscope does not explain (parallax) is steady, -3.0, -2.8, -2.2 px, with this
shift, and jumps from +1.3 to -2.9 px with the opposite sign
(tests/device/importers/test_deepgyro_motion.py repeats both measurements).

Axes. The published rotation [[0,1,0],[1,0,0],[0,0,1]] has determinant -1: it is no rotation. The
authors use it with R2 R1^T where the motion of a picture is R2^T R1, that is with the opposite
sign of the rate; rate and matrix together are its negative, which is the rotation of an Android
rear camera. Conjugating with either moves the picture alike, so it is checked against frame
motion: median residual of the horizontal motion of 220 px: 33 px (parallax, the hand's arc)
against 400 px when the pan is reversed.

The log of the published burst starts 22.8 ms after its first exposure (in gyroscope time). The
authors hold the first rate until then; so does this importer, and the bundle says so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from device.bundle import imu_coverage, write_bundle
from device.calibration import CameraCalibration
from device.capture.camera import Frame
from device.capture.timing import FrameTiming
from device.errors import InputError
from device.importers.source import (
    ANDROID_GYRO_BIAS_RAD_S,
    ANDROID_REAR_R_CI,
    android_rear_T_cam_imu,
    finite_numbers,
    numbered_lines,
    read_picture,
    sorted_samples,
    whole_number,
)
from device.notices import Notice
from device.validation import first_problem, read_text
from firmware_bridge.samples import STANDARD_GRAVITY_M_S2, ImuSamples

GYROSCOPE, ACCELEROMETER = 4, 1
CALIBRATED_SIZE = (1920, 1080)
LONGEST_HELD_S = 0.05

_Row = Annotated[list[float], Field(min_length=3, max_length=3)]
_Matrix = Annotated[list[_Row], Field(min_length=3, max_length=3)]


class _Calibration(BaseModel):
    """calibration.json; more keys may stand in it."""

    model_config = ConfigDict(allow_inf_nan=False)

    camera_matrix_at_1920x1080: _Matrix
    rotation_imu_to_camera: _Matrix
    readout_time_s: Annotated[float, Field(ge=0, lt=1)]
    imu_camera_offset_s_after_rezeroing_both_streams: float


@dataclass(frozen=True)
class _Picture:
    path: Path
    stamp_ns: int
    exposure_ns: int


def import_deepgyro(src: Path, dst: Path) -> list[Path]:
    """Make bundles DST/NAME.capture of a recording's pictures; returns them.

    Raises InputError for anything missing or impossible, before the first bundle is written.
    """
    published = _read_calibration(src / "calibration.json")
    pictures = _read_pictures(src / "images")
    samples = _read_imu(src / "imu" / "imu.txt")
    calibration = _calibration(published, pictures, samples)
    frames = [_frame(picture, published.readout_time_s) for picture in pictures]
    bundles = []
    for picture, frame in zip(pictures, frames, strict=True):
        log, notices = _held_to_the_start(samples, frame.timing, calibration.timeshift_s)
        bundle = write_bundle(
            dst / f"{picture.path.stem}.capture",
            frame,
            log,
            calibration,
            gscale=1.0,
            ascale=1.0,
            picture=picture.path,
            warnings=notices,
        )
        bundles.append(bundle)
    return bundles


def _read_calibration(path: Path) -> _Calibration:
    try:
        published = _Calibration.model_validate(json.loads(read_text(path, "a calibration")))
    except json.JSONDecodeError as error:
        raise InputError(path, f"line {error.lineno}", error.msg, "JSON") from None
    except ValidationError as error:
        raise first_problem(path, error) from None
    given = np.array(published.rotation_imu_to_camera)
    if not np.allclose(np.abs(given), np.abs(ANDROID_REAR_R_CI)):
        raise InputError(
            path, "rotation_imu_to_camera", given.tolist(), "the axes of an Android rear camera"
        )
    return published


def _read_pictures(folder: Path) -> list[_Picture]:
    path = folder / "images.txt"
    expected = "a time stamp and an exposure in ns"
    stamps = []
    for number, line in numbered_lines(path, "time stamps of the images"):
        fields, place = line.split(), f"line {number}"
        if len(fields) != 2:
            raise InputError(path, place, f"{len(fields)} fields", expected)
        stamps.append([whole_number(path, place, field, expected) for field in fields])
    files = sorted(folder.glob("*.jpg"))
    if not files or len(stamps) < len(files):
        found = f"{len(stamps)} lines for {len(files)} pictures"
        raise InputError(path, "lines", found, "one for every picture, and at least one picture")
    # A burst may have lost its last pictures; a line's place is its picture's place by name.
    pairs = zip(files, stamps, strict=False)
    return [_Picture(file, stamp, exposure) for file, (stamp, exposure) in pairs]


def _read_imu(path: Path) -> ImuSamples:
    sensors: dict[int, list[tuple[int, list[float]]]] = {GYROSCOPE: [], ACCELEROMETER: []}
    for number, line in numbered_lines(path, "an inertial log"):
        fields, place = line.split(), f"line {number}"
        if len(fields) != 5:
            raise InputError(path, place, f"{len(fields)} fields", "type time_ns x y z")
        sensor = whole_number(path, place, fields[0], "a sensor type")
        t_ns = whole_number(path, place, fields[1], "a time in ns")
        values = finite_numbers(path, place, fields[2:], "three finite numbers")
        if sensor in sensors:
            sensors[sensor].append((t_ns, values))
    gyro, acc = sensors[GYROSCOPE], sorted(sensors[ACCELEROMETER])
    times = [t for t, _ in gyro]
    acc_g = None
    if acc and gyro:
        acc_t = [t for t, _ in acc]
        values_g = np.array([value for _, value in acc]) / STANDARD_GRAVITY_M_S2
        acc_g = np.stack([np.interp(times, acc_t, axis) for axis in values_g.T], axis=-1)
    return sorted_samples(path, times, [rate for _, rate in gyro], acc_g)


def _calibration(
    published: _Calibration, pictures: list[_Picture], samples: ImuSamples
) -> CameraCalibration:
    offset_s = published.imu_camera_offset_s_after_rezeroing_both_streams
    first_image_ns = min(picture.stamp_ns for picture in pictures)
    K = published.camera_matrix_at_1920x1080
    return CameraCalibration(
        fx=K[0][0],
        fy=K[1][1],
        cx=K[0][2],
        cy=K[1][2],
        width=CALIBRATED_SIZE[0],
        height=CALIBRATED_SIZE[1],
        distortion_model="none",
        distortion_coeffs=(),
        T_cam_imu=android_rear_T_cam_imu(),
        gyro_bias_rad_s=ANDROID_GYRO_BIAS_RAD_S,
        timeshift_s=(int(samples.t_ns[0]) - first_image_ns) * 1e-9 - offset_s,
    )


def _frame(picture: _Picture, readout_s: float) -> Frame:
    pixels = read_picture(picture.path)
    size = (pixels.shape[1], pixels.shape[0])
    if size != CALIBRATED_SIZE:
        raise InputError(picture.path, "size", f"{size[0]}x{size[1]}", "1920x1080")
    timing = FrameTiming(
        first_row_end_ns=picture.stamp_ns + picture.exposure_ns,
        exposure_ns=picture.exposure_ns,
        line_time_ns=round(readout_s * 1e9 / size[1]),
        row_order="top_down",
        height=size[1],
    )
    return Frame(
        pixels=pixels,
        timing=timing,
        sensor_model="NVIDIA SHIELD Tablet, rear camera",
        metadata={
            "SensorTimestamp": picture.stamp_ns,
            "ExposureTime": picture.exposure_ns // 1000,
            "Recording": "DeepGyro, Mustaniemi et al., WACV 2019",
        },
    )


def _held_to_the_start(
    samples: ImuSamples, timing: FrameTiming, timeshift_s: float
) -> tuple[ImuSamples, list[Notice]]:
    """The log, its first rate held until just before the exposure where it starts later."""
    late_s = -imu_coverage(samples, timing, timeshift_s).starts_before_s
    if not 0 < late_s < LONGEST_HELD_S:
        return samples, []
    start_ns = timing.start_ns + round(timeshift_s * 1e9) - 1
    detail = f"the log starts {late_s * 1e3:.1f} ms after the exposure: the first rate is held"
    held = ImuSamples(
        np.concatenate([[start_ns], samples.t_ns]),
        _first_twice(samples.gyro_rad_s),
        _first_twice(samples.acc_g),
    )
    return held, [Notice("imu-held", detail)]


def _first_twice(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([values[:1], values])
