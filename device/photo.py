"""One photograph: a frame, the motion around it, and the bundle on the disk.

Failure policy
- No frame, no photograph: the camera's CameraError goes to the caller, nothing is written.
- With a frame the photograph is kept, whatever the motion sensor does: a missing sensor, a gap,
  a stale frame, a doubtful clock become notices, kept as "warnings" in capture.json. Restoring
  decides later what can be done with it.
- The bundle is written whole or not at all (`device.bundle`); a full disk is an OSError.
- Nothing here restores or delivers: the original is on the disk before anything else happens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from PIL import ExifTags, Image

from device.bundle import write_bundle
from device.capture.camera import Camera, Frame
from device.capture.timing import FrameTiming
from device.coverage import imu_coverage
from device.motion.frame_motion import DEAD_BAND_SAMPLES, LARGEST_GAP_NS
from device.notices import Notice
from device.version import software_name
from firmware_bridge.reader_stats import ReaderStats
from firmware_bridge.samples import ImuSamples

BEFORE_NS = 2_000_000_000
"""Log kept before the exposure: there the bias shows in a still moment."""
AFTER_NS = 200_000_000
"""Log kept after it: a search over time shift and the translation's drift need both sides."""
PATIENCE_NS = 300_000_000
"""How much longer than that the samples may take to arrive."""
WORST_CLOCK_S = 2e-3
SLOWEST_RATE_HZ = 90.0  # 105 Hz costs 0.5 dB, 52 Hz 2.5 dB
_CLOCK_READING_NS = 1_000_000


class MotionLog(Protocol):
    """What the motion sensor's reader gives a photograph."""

    def samples_between(
        self, start_ns: int, end_ns: int, *, wait_until_ns: int | None = None
    ) -> ImuSamples:
        """The samples of a span, waiting for its end until a moment of CLOCK_MONOTONIC."""
        ...


@runtime_checkable
class TellsHealth(Protocol):
    """A motion log that comes from a live sensor."""

    def stats(self) -> ReaderStats:
        """How the sensor and the line to it are doing."""
        ...


@runtime_checkable
class TellsNotices(Protocol):
    """A camera that knows what is less sure about its frames."""

    @property
    def notices(self) -> tuple[Notice, ...]:
        """About every frame since it was opened."""
        ...


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph on the disk: its bundle and what was noticed when it was taken."""

    bundle: Path
    notices: tuple[Notice, ...]


def take_photo(
    camera: Camera,
    log: MotionLog | None,
    folder: Path,
    *,
    live: bool = True,
    frame_format: Literal["jpg", "png"] = "jpg",
    monotonic_ns: Callable[[], int] = time.monotonic_ns,
    wall_s: Callable[[], float] = time.time,
) -> Photo:
    """Take one photograph now and write it as the bundle `folder` (NAME.capture).

    log : the motion sensor's reader; None when there is no sensor.
    live : False for a camera that replays old photographs, whose times are not judged.
    monotonic_ns, wall_s : the clock of the frames, and the one that dates them.

    Raises CameraError when no frame arrives, InputError when `folder` exists, OSError when it
    cannot be written.
    """
    asked_ns = monotonic_ns()
    frame = camera.capture()
    arrived_ns, arrived_s = monotonic_ns(), wall_s()
    calibration = camera.calibration
    shift_ns = round(calibration.timeshift_s * 1e9)
    samples = ImuSamples.empty()
    if log is not None:
        samples = _in_order(_samples_around(log, frame.timing, shift_ns, arrived_ns))
    notices: list[Notice] = list(camera.notices) if isinstance(camera, TellsNotices) else []
    if live:
        notices += judge_times(frame.timing, asked_ns, arrived_ns)
    stats = log.stats() if isinstance(log, TellsHealth) else None
    notices += judge_log(samples, frame.timing, calibration.timeshift_s, stats, log is not None)
    age_s = (arrived_ns - frame.timing.start_ns) * 1e-9
    path = write_bundle(
        folder,
        frame,
        samples,
        calibration,
        frame_format=frame_format,
        exif=dated_exif(frame, arrived_s - age_s) if live else None,
        warnings=notices,
    )
    return Photo(path, tuple(notices))


def _samples_around(log: MotionLog, timing: FrameTiming, shift_ns: int, now_ns: int) -> ImuSamples:
    """The log of the frame's whole span with its margins; frame times are shifted to the log's."""
    end_ns = timing.end_ns + shift_ns + AFTER_NS
    return log.samples_between(
        timing.start_ns + shift_ns - BEFORE_NS,
        end_ns,
        wait_until_ns=max(now_ns, min(end_ns, now_ns + 2 * AFTER_NS)) + PATIENCE_NS,
    )


def _in_order(samples: ImuSamples) -> ImuSamples:
    """The samples without those that a clock which began anew put before earlier ones."""
    if len(samples) == 0:
        return samples
    latest_ns = np.maximum.accumulate(samples.t_ns)
    keep = np.concatenate([[True], samples.t_ns[1:] > latest_ns[:-1]])
    if keep.all():
        return samples
    return ImuSamples(samples.t_ns[keep], samples.gyro_rad_s[keep], samples.acc_g[keep])


def judge_times(timing: FrameTiming, asked_ns: int, arrived_ns: int) -> Iterator[Notice]:
    """Whether the frame was exposed between being asked for and arriving."""
    if timing.start_ns < asked_ns:
        early_s = (asked_ns - timing.start_ns) * 1e-9
        yield Notice("stale-frame", f"the exposure began {early_s:.3f} s before the shutter")
    if timing.end_ns > arrived_ns + _CLOCK_READING_NS:
        late_s = (timing.end_ns - arrived_ns) * 1e-9
        yield Notice("frame-clock", f"the frame says it ends {late_s:.3f} s after it arrived")


def judge_log(
    samples: ImuSamples,
    timing: FrameTiming,
    timeshift_s: float,
    stats: ReaderStats | None,
    has_sensor: bool,
) -> Iterator[Notice]:
    """What is wrong with the motion log of an exposure.

    stats : of a live sensor, None of a recorded log.
    """
    if not has_sensor:
        yield Notice("no-imu", "no motion sensor is configured")
        return
    if len(samples) == 0:
        why = f": {stats.last_error}" if stats is not None and stats.last_error else ""
        yield Notice("no-imu", f"the motion sensor gave no samples{why}")
        return
    coverage = imu_coverage(samples, timing, timeshift_s)
    if not coverage.covers:
        yield Notice("imu-short", f"the motion log does not cover the exposure: {coverage.found()}")
    if coverage.largest_gap_s > LARGEST_GAP_NS * 1e-9 or (coverage.covers and coverage.has_gap):
        gap_ms, usual_ms = coverage.largest_gap_s * 1e3, coverage.interval_s * 1e3
        detail = f"samples {gap_ms:.1f} ms apart in the exposure, usually {usual_ms:.1f} ms"
        yield Notice("imu-gap", detail)
    if coverage.interval_s > 1 / SLOWEST_RATE_HZ:
        rate_hz = 1 / coverage.interval_s
        yield Notice(
            "imu-slow", f"{rate_hz:.0f} samples a second, {SLOWEST_RATE_HZ:.0f} are needed"
        )
    run = _longest_zero_run(samples, timing, round(timeshift_s * 1e9))
    if run >= DEAD_BAND_SAMPLES:
        yield Notice("gyro-dead-band", f"{run} exact zeros in a row in the exposure")
    if stats is not None and not stats.clock_uncertainty_s <= WORST_CLOCK_S:
        uncertain_ms = stats.clock_uncertainty_s * 1e3
        detail = (
            f"sample times are known to {uncertain_ms:.1f} ms, {WORST_CLOCK_S * 1e3:g} expected"
        )
        yield Notice("clock-uncertain", detail)


def _longest_zero_run(samples: ImuSamples, timing: FrameTiming, shift_ns: int) -> int:
    """Samples of the longest run of exact zeros that reaches into the exposure."""
    zero = np.concatenate([[False], ~samples.gyro_rad_s.any(axis=1), [False]])
    edges = np.flatnonzero(zero[1:] != zero[:-1])
    starts, ends = edges[::2], edges[1::2]
    t_ns = samples.t_ns
    inside = (t_ns[starts] <= timing.end_ns + shift_ns) & (
        t_ns[ends - 1] >= timing.start_ns + shift_ns
    )
    return int((ends - starts)[inside].max(initial=0))


def dated_exif(frame: Frame, taken_s: float) -> bytes:
    """The EXIF of a frame as taken: when its exposure began, how long, how it is to be turned.

    taken_s : seconds since 1970; the local time is written with its offset.
    """
    taken = datetime.fromtimestamp(taken_s).astimezone()
    date, offset = taken.strftime("%Y:%m:%d %H:%M:%S"), taken.strftime("%z")
    exif = Image.Exif()
    tag = ExifTags.Base
    exif[tag.Software] = software_name()
    exif[tag.Model] = frame.sensor_model
    exif[tag.Orientation] = frame.orientation
    exif[tag.DateTime] = date
    exif[int(ExifTags.IFD.Exif)] = {
        int(tag.DateTimeOriginal): date,
        int(tag.DateTimeDigitized): date,
        int(tag.SubsecTimeOriginal): f"{taken.microsecond // 1000:03d}",
        int(tag.OffsetTime): f"{offset[:3]}:{offset[3:]}",
        int(tag.OffsetTimeOriginal): f"{offset[:3]}:{offset[3:]}",
        int(tag.ExposureTime): frame.timing.exposure_ns * 1e-9,
    }
    return exif.tobytes()


def next_bundle(folder: Path) -> Path:
    """The next free name IMG_0001.capture in a folder.

    Counted, not dated: a Pi has no clock battery, and its dates lie until it is online.
    """
    numbers = [
        int(path.name[4:].partition(".")[0])
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.name.startswith("IMG_") and path.name[4:].partition(".")[0].isdecimal()
    ]
    return folder / f"IMG_{max(numbers, default=0) + 1:04d}.capture"
