"""The capture bundle: one photograph with everything needed to deblur it.

A folder NAME.capture/ with the photograph, imu.gcsv, camera.yaml and capture.json. Reading
checks all of it except the pixels, which are decoded when asked for; `check_bundle` checks those
too. A log that does not cover the exposure is not an error of reading: `imu_coverage` tells.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device import frame_file
from device.bundle_write import write_bundle
from device.calibration import CameraCalibration, read_calibration
from device.capture.camera import Frame, NoiseModel, Tone
from device.capture.timing import FrameTiming
from device.capture_json import read_capture
from device.coverage import ImuCoverage, imu_coverage
from device.errors import InputError
from device.notices import Notice
from firmware_bridge.errors import LogFormatError
from firmware_bridge.gcsv import read_gcsv
from firmware_bridge.samples import ImuSamples

__all__ = ["Bundle", "ImuCoverage", "check_bundle", "imu_coverage", "read_bundle", "write_bundle"]


@dataclass(frozen=True)
class Bundle:
    """One photograph as it was recorded.

    path : the folder; frame_file : the picture in it.
    width, height, timing, tone, orientation, noise, depth_m : as in `Frame`.
    samples : the whole log, IMU frame. warnings : what the camera or importer noticed.
    extra : keys of capture.json this program does not know, nested as they stood.
    """

    path: Path
    frame_file: Path
    width: int
    height: int
    timing: FrameTiming
    tone: Tone
    orientation: int
    sensor_model: str
    analogue_gain: float | None
    noise: NoiseModel | None
    depth_m: float | None
    calibration: CameraCalibration
    samples: ImuSamples
    metadata: dict[str, Any]
    warnings: tuple[Notice, ...]
    extra: dict[str, Any]

    def read_pixels(self) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """The pixels (H, W, 3), R G B, as the camera gave them: orientation is not applied.

        Decoded anew each time and held once. Raises InputError.
        """
        return frame_file.decode(self.frame_file, self.width, self.height)

    def read_frame(self) -> Frame:
        """The frame with its pixels, as the camera gave it."""
        return Frame(
            pixels=self.read_pixels(),
            timing=self.timing,
            tone=self.tone,
            orientation=self.orientation,
            sensor_model=self.sensor_model,
            analogue_gain=self.analogue_gain,
            noise=self.noise,
            metadata=self.metadata,
            depth_m=self.depth_m,
        )

    def imu_coverage(self) -> ImuCoverage:
        """How the log lies over the exposure, the calibrated time shift included."""
        return imu_coverage(self.samples, self.timing, self.calibration.timeshift_s)


def read_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Read a bundle and check all of it but the pixels.

    Raises InputError naming the file, the field, what was found and what was expected.
    """
    path = Path(path)
    if not path.is_dir():
        found = "a file" if path.exists() else "nothing"
        raise InputError(path, "bundle", found, "a folder NAME.capture")
    capture = read_capture(path / "capture.json")
    frame_path = path / capture.file
    frame_file.require_whole(frame_path, capture.width, capture.height)
    if frame_path.suffix.lower() == ".dng" and capture.tone != "linear":
        raise InputError(path / "capture.json", "frame.tone", capture.tone, "linear for a DNG")
    calibration = read_calibration(path / "camera.yaml")
    if (calibration.width, calibration.height) != (capture.width, capture.height):
        raise InputError(
            path / "camera.yaml",
            "cam0.resolution",
            f"{calibration.width}x{calibration.height}",
            f"{capture.width}x{capture.height}, the size of the frame",
        )
    return Bundle(
        path=path,
        frame_file=frame_path,
        width=capture.width,
        height=capture.height,
        timing=capture.timing,
        tone=capture.tone,
        orientation=capture.orientation,
        sensor_model=capture.sensor_model,
        analogue_gain=capture.analogue_gain,
        noise=capture.noise,
        depth_m=capture.depth_m,
        calibration=calibration,
        samples=_read_log(path / "imu.gcsv"),
        metadata=capture.metadata,
        warnings=capture.warnings,
        extra=capture.extra,
    )


def _read_log(path: Path) -> ImuSamples:
    try:
        return read_gcsv(path)
    except LogFormatError as error:
        raise InputError(error.file, error.field, error.found, error.expected) from None
    except FileNotFoundError:
        raise InputError(path, "file", "nothing", "the log of the motion sensor") from None
    except OSError as error:
        raise InputError(path, "file", error.strerror or error, "a readable log") from None


def check_bundle(path: str | os.PathLike[str]) -> list[str]:
    """Check everything, the pixels too, and return warnings about what is usable but not good.

    Raises InputError for bad input; a log that does not cover the exposure is one.
    """
    bundle = read_bundle(path)
    bundle.read_pixels()
    coverage = bundle.imu_coverage()
    if not coverage.covers:
        raise InputError(
            bundle.path / "imu.gcsv", "t", coverage.found(), "samples around the whole exposure"
        )
    warnings = [f"{warning.name}: {warning.detail}" for warning in bundle.warnings]
    if coverage.has_gap:
        warnings.append(
            f"the log has a gap of {coverage.largest_gap_s * 1e3:.1f} ms within the exposure,"
            f" usual are {coverage.interval_s * 1e3:.1f} ms"
        )
    if coverage.starts_before_s < 0.1:
        warnings.append("the log starts less than 0.1 s before the exposure: no still moment")
    return warnings
