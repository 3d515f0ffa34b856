"""Phone video with its gyroscope: one bundle for every frame that lies beside the log.

SRC holds frames/RE_frame-N.jpg and gyro_dump.txt with lines
    SOF  <microseconds>,  frameNum :N exp time <seconds>
    frameid:N gyro:k x <rad/s> y .. z .. ts <microseconds>
From github lhaippp/gyro-video-stabilization (MIT, Copyright (c) 2023 Li Haipeng). Every SOF line
is printed twice, and samples at frame borders are; both must agree with their twin. A gap in the
log is left as it is: only the frames within it suffer.

Time. Corners tracked through frames 99 to 118 (10,600 tracks in the upper 380 rows) and the
integrated gyroscope agree best when row 0 is in mid-exposure 3.2 ms before SOF (+-0.3 ms) and the
rows follow at 54.5 us: SOF is the read-out of the first row, the end of its 5.3 ms exposure. With
that held, a line takes 52.6 us, 31.5 ms for the frame. The tracks' mean row, 240, is so in
mid-exposure 10 ms after SOF, which is the offset that a single time a frame finds: 10.1 +- 0.6 ms
(tests/device/test_time_alignment.py; spread by leaving out one pair of frames at a time).
Focal length 579 px (slope of the vertical motion on the integral of gyroscope y over frames 99 to
201); the axes are those of an Android rear camera: rate y moves the picture up, rate x right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

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

LINE_TIME_NS = 52_600
FOCAL_PX_AT_800 = 579.0
MARGIN_NS = 1_500_000_000

_SOF = re.compile(r"SOF\s+(\S+),\s+frameNum\s*:(\S+)\s+exp time\s+(\S+)\s*$")
_GYRO = re.compile(r"frameid:\S+ gyro:\S+ x (\S+) y (\S+) z (\S+) ts (\S+)\s*$")
_FRAME = re.compile(r"RE_frame-(\d+)$")


@dataclass(frozen=True)
class _Shot:
    sof_ns: int
    exposure_ns: int


def import_phone_video(src: Path, dst: Path) -> list[Path]:
    """Make a bundle DST/frame-NNNN.capture of every frame; returns them in order.

    Raises InputError for anything missing or impossible.
    """
    log_path = src / "gyro_dump.txt"
    pictures = _pictures(src / "frames")
    shots, samples = _read_dump(log_path)
    missing = sorted(set(pictures) - set(shots))
    if missing:
        raise InputError(log_path, f"frameNum :{missing[0]}", "nothing", "its SOF line")
    return [
        _write(dst / f"frame-{number:04d}.capture", number, path, shots[number], samples)
        for number, path in sorted(pictures.items())
    ]


def _pictures(folder: Path) -> dict[int, Path]:
    pictures = {}
    for path in folder.glob("*.jpg"):
        name = _FRAME.match(path.stem)
        if name:
            pictures[int(name[1])] = path
    if not pictures:
        raise InputError(folder, "pictures", "none", "RE_frame-N.jpg files")
    return pictures


def _read_dump(path: Path) -> tuple[dict[int, _Shot], ImuSamples]:
    shots: dict[int, _Shot] = {}
    t_ns, rates = [], []
    for number, line in numbered_lines(path, "a gyroscope log"):
        place = f"line {number}"
        if sof := _SOF.match(line):
            frame = whole_number(path, place, sof[2], "a frame number")
            shot = _shot(path, place, sof[1], sof[3])
            if shots.setdefault(frame, shot) != shot:
                raise InputError(path, place, f"another SOF of frame {frame}", "the same twice")
        elif sample := _GYRO.match(line):
            microseconds = whole_number(path, place, sample[4], "a time in microseconds")
            t_ns.append(microseconds * 1000)
            rates.append(finite_numbers(path, place, sample.groups()[:3], "finite rates"))
        else:
            raise InputError(path, place, shown(line), "a SOF line or a gyroscope sample")
    return shots, sorted_samples(path, t_ns, rates)


def _shot(path: Path, place: str, sof_us: str, exposure: str) -> _Shot:
    (exposure_s,) = finite_numbers(path, place, [exposure], "an exposure in seconds")
    if not 0 < exposure_s < 10:
        raise InputError(path, place, exposure, "an exposure above 0 s")
    sof_ns = whole_number(path, place, sof_us, "a time in microseconds") * 1000
    return _Shot(sof_ns, round(exposure_s * 1e9))


def _write(target: Path, number: int, path: Path, shot: _Shot, samples: ImuSamples) -> Path:
    pixels = read_picture(path)
    timing = FrameTiming(
        first_row_end_ns=shot.sof_ns,
        exposure_ns=shot.exposure_ns,
        line_time_ns=LINE_TIME_NS,
        row_order="top_down",
        height=pixels.shape[0],
    )
    frame = Frame(
        pixels=pixels,
        timing=timing,
        sensor_model="phone, rear camera, video",
        metadata={
            "SensorTimestamp": shot.sof_ns,
            "ExposureTime": round(shot.exposure_ns / 1000),
            "FrameNumber": number,
            "Recording": "lhaippp/gyro-video-stabilization, MIT, (c) 2023 Li Haipeng",
        },
    )
    near = samples.between(timing.start_ns - MARGIN_NS, timing.end_ns + MARGIN_NS)
    calibration = _calibration(frame.width, frame.height)
    return write_bundle(target, frame, near, calibration, gscale=1.0, picture=path)


def _calibration(width: int, height: int) -> CameraCalibration:
    focal_px = FOCAL_PX_AT_800 * width / 800
    return CameraCalibration.centred(
        focal_px,
        width,
        height,
        T_cam_imu=android_rear_T_cam_imu(),
        gyro_bias_rad_s=ANDROID_GYRO_BIAS_RAD_S,
    )
