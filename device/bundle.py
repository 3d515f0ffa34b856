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
from firmware_bridge.gcsv import read_gcsv
from numpy.typing import NDArray

from device import frame_file
from device.bundle_write import write_bundle
from device.calibration import CameraCalibration, read_calibration
from device.capture.camera import Frame, NoiseModel, Tone
from device.capture.timing import FrameTiming
from device.capture_json import read_capture
from device.errors import InputError
from firmware_bridge.errors import LogFormatError
from firmware_bridge.samples import ImuSamples

__all__ = ["Bundle", "ImuCoverage", "check_bundle", "imu_coverage", "read_bundle", "write_bundle"]

# A log is uneven when it has a hole of this many usual intervals within the exposure.
UNEVEN = 2.5


@dataclass(frozen=True, slots=True)
class ImuCoverage:
    """How a log lies over an exposure, time shift included.

    starts_before_s : from the first sample to the start of the exposure; negative: too late.
    ends_after_s : from the end of the exposure to the last sample; negative: too early.
    largest_gap_s : between neighbouring samples, of those that reach into the exposure.
    interval_s : the usual interval between samples, the median.
    An empty log has starts_before_s = ends_after_s = -inf and infinite gaps.
    """

    starts_before_s: float
    ends_after_s: float
    largest_gap_s: float
    interval_s: float

    @property
    def covers(self) -> bool:
        """Whether there are samples on both sides of the exposure."""
        return self.starts_before_s >= 0 and self.ends_after_s >= 0

    @property
    def has_gap(self) -> bool:
        """Whether samples are missing within the exposure."""
        return self.largest_gap_s > UNEVEN * self.interval_s

    def found(self) -> str:
        """What is wrong with the coverage in a few words; empty when nothing is."""
        if self.starts_before_s == -np.inf:
            return "no samples"
        problems = []
        if self.starts_before_s < 0:
            problems.append(f"a log that starts {-self.starts_before_s * 1e3:.1f} ms too late")
        if self.ends_after_s < 0:
            problems.append(f"a log that ends {-self.ends_after_s * 1e3:.1f} ms too early")
        return " and ".join(problems)


def imu_coverage(samples: ImuSamples, timing: FrameTiming, timeshift_s: float) -> ImuCoverage:
    """How the log lies over the exposure of a frame; timeshift_s: t_imu = t_cam + timeshift_s."""
    if len(samples) == 0:
        return ImuCoverage(-np.inf, -np.inf, np.inf, np.inf)
    shift_ns = round(timeshift_s * 1e9)
    start, end = timing.start_ns + shift_ns, timing.end_ns + shift_ns
    t = samples.t_ns
    inner = t[max(0, np.searchsorted(t, start, "right") - 1) : np.searchsorted(t, end, "left") + 1]
    gaps = np.diff(inner)
    return ImuCoverage(
        starts_before_s=(start - int(t[0])) * 1e-9,
        ends_after_s=(int(t[-1]) - end) * 1e-9,
        largest_gap_s=float(gaps.max()) * 1e-9 if len(gaps) else np.inf,
        interval_s=float(np.median(np.diff(t))) * 1e-9 if len(t) > 1 else np.inf,
    )


@dataclass(frozen=True)
class Bundle:
    """One photograph as it was recorded.

    path : the folder; frame_file : the picture in it.
    width, height, timing, tone, orientation, noise, depth_m : as in `Frame`.
    samples : the whole log, IMU frame.
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
    warnings = []
    if coverage.has_gap:
        warnings.append(
            f"the log has a gap of {coverage.largest_gap_s * 1e3:.1f} ms within the exposure,"
            f" usual are {coverage.interval_s * 1e3:.1f} ms"
        )
    if coverage.starts_before_s < 0.1:
        warnings.append("the log starts less than 0.1 s before the exposure: no still moment")
    return warnings
