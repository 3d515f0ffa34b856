"""A recorded byte stream to samples: what `stillpi imu decode` does with a file.

A sample is one angular rate. In a standard stream the acceleration and the time that belong to
it are those since the rate before; where one was lost on the way it is interpolated, and counted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.bulk import FrameIndex, index_frames
from firmware_bridge.errors import LogFormatError
from firmware_bridge.frames import ACC_SCALE_G, GYRO_SCALE_RAD_S
from firmware_bridge.packets import AccPacket, CombinedPacket, GyroPacket, TimePacket
from firmware_bridge.parser import Variant, detect_variant
from firmware_bridge.raw_capture import CaptureKind, RawCapture, read_raw_capture
from firmware_bridge.sample_times import (
    SampleTimes,
    chip_milliseconds,
    even_times,
    times_from_arrivals,
    times_from_chip,
)
from firmware_bridge.samples import ImuSamples

ClockSource: TypeAlias = Literal["chip", "arrival", "nominal"]

NOMINAL_HZ: Final[Mapping[Variant, float]] = {
    "standard": 200.0,
    "combined20": 100.0,
    "combined28": 100.0,
}
"""The rate taken for granted when neither clock nor arrival times tell: what we provision a
serial sensor to, and what a BLE sensor sends at most."""


@dataclass(frozen=True, slots=True)
class DecodedCapture:
    """Samples of a recording, and how sound the recording is.

    samples : t_ns starts at 0; no accelerometer gives NaN.
    frames : frames found, by type byte.
    unconfirmed : headers of frames without a checksum that nothing confirmed.
    skipped_bytes : bytes in no frame, a cut last frame among them.
    clock : where times come from: the chip's clock, arrival times, or the nominal rate.
    duration_s : from the first sample to the last.
    lost_samples : samples missing in between, as far as the clock tells.
    filled_times, filled_acc : samples whose time or acceleration had to be interpolated.
    repeated : samples left out because the chip's clock had not moved.
    chip_start : the chip's calendar time of the first stamp, None when it has none.
    """

    path: str
    kind: CaptureKind
    variant: Variant
    samples: ImuSamples
    frames: Mapping[int, int]
    bad_checksums: int
    unconfirmed: int
    skipped_bytes: int
    total_bytes: int
    clock: ClockSource
    duration_s: float
    rate_hz: float
    lost_samples: int
    filled_times: int
    filled_acc: int
    repeated: int
    clock_jumps: int
    chip_start: datetime | None

    def summary(self) -> dict[str, object]:
        """The numbers as one JSON object; frame types are named as in the protocol, 0x52."""
        return {
            "file": self.path,
            "kind": self.kind,
            "variant": self.variant,
            "bytes": self.total_bytes,
            "frames": {f"0x{kind:02X}": self.frames[kind] for kind in sorted(self.frames)},
            "bad_checksums": self.bad_checksums,
            "unconfirmed_headers": self.unconfirmed,
            "skipped_bytes": self.skipped_bytes,
            "samples": len(self.samples),
            "duration_s": round(self.duration_s, 6),
            "rate_hz": round(self.rate_hz, 3),
            "clock": self.clock,
            "chip_start": self.chip_start.isoformat() if self.chip_start else None,
            "lost_samples": self.lost_samples,
            "filled_times": self.filled_times,
            "filled_acc": self.filled_acc,
            "repeated_samples": self.repeated,
            "clock_jumps": self.clock_jumps,
        }


@dataclass(frozen=True, slots=True)
class _Rows:
    """One row a sample, as found in the stream.

    ends : (M,) byte behind each rate; gyro : (M, 3) int16; acc : (M, 3) float64, NaN where lost;
    chip_ms : (M,) int64, valid where `timed`.
    """

    ends: NDArray[np.int64]
    gyro: NDArray[np.int16]
    acc: NDArray[np.float64]
    chip_ms: NDArray[np.int64]
    timed: NDArray[np.bool_]


def decode_capture(
    path: str | os.PathLike[str], *, nominal_hz: float | None = None
) -> DecodedCapture:
    """Decode a file of raw sensor bytes: binary, hex text or JSON lines of any stream variant.

    nominal_hz : the rate to assume when the recording holds no time at all.
    Raises LogFormatError when the file is empty, cut, or holds no WT901 samples; OSError when
    it cannot be read.
    """
    raw = read_raw_capture(path)
    variant = detect_variant(raw.data)
    if variant is None:
        expected = "frames that start with 55 50 to 55 5F, or with 55 61"
        raise LogFormatError(path, "content", f"no WT901 frame in {len(raw.data)} bytes", expected)
    return decode_raw(path, raw, variant, nominal_hz=nominal_hz)


def decode_raw(
    path: object, raw: RawCapture, variant: Variant, *, nominal_hz: float | None = None
) -> DecodedCapture:
    """Decode bytes already read; `path` is for messages."""
    index = index_frames(raw.data, variant)
    rows = _standard_rows(index) if variant == "standard" else _combined_rows(index)
    if len(rows.ends) == 0:
        name = "0x52" if variant == "standard" else "0x61"
        raise LogFormatError(path, f"frames of type {name}", "none", "at least one angular rate")
    times, clock = _times(raw, rows, variant, nominal_hz)
    acc, filled_acc = _fill_acc(rows.acc[times.kept], times.t_ns)
    gyro = rows.gyro[times.kept].astype(np.float64) * GYRO_SCALE_RAD_S
    return DecodedCapture(
        path=str(path),
        kind=raw.kind,
        variant=variant,
        samples=ImuSamples(times.t_ns, gyro, acc * ACC_SCALE_G),
        frames=index.stats.frames,
        bad_checksums=index.stats.bad_checksums,
        unconfirmed=index.stats.unconfirmed,
        skipped_bytes=index.stats.skipped_bytes,
        total_bytes=index.stats.bytes_in,
        clock=clock,
        duration_s=float(times.t_ns[-1] - times.t_ns[0]) / 1e9,
        rate_hz=times.rate_hz,
        lost_samples=times.lost,
        filled_times=times.filled,
        filled_acc=filled_acc,
        repeated=int((~times.kept).sum()),
        clock_jumps=times.clock_jumps,
        chip_start=_chip_start(rows),
    )


def _standard_rows(index: FrameIndex) -> _Rows:
    rates = index.starts_of(GyroPacket.TYPE)
    acc_of, has_acc = _since_last(index.starts_of(AccPacket.TYPE), rates)
    time_of, timed = _since_last(index.starts_of(TimePacket.TYPE), rates)
    acc = np.full((len(rates), 3), np.nan)
    acc[has_acc] = index.words_at(acc_of[has_acc], 2, 3)
    chip_ms = np.zeros(len(rates), np.int64)
    chip_ms[timed] = chip_milliseconds(index.bytes_at(time_of[timed], 2, 8))
    return _Rows(rates + GyroPacket.LENGTH, index.words_at(rates, 2, 3), acc, chip_ms, timed)


def _since_last(
    starts: NDArray[np.int64], rates: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For each rate, the last of `starts` before it, and whether that is behind the rate before."""
    if len(starts) == 0:
        return np.zeros(len(rates), np.int64), np.zeros(len(rates), np.bool_)
    before = np.searchsorted(starts, rates) - 1
    found: NDArray[np.int64] = starts[np.maximum(before, 0)]
    previous = np.concatenate([[-1], rates[:-1]])
    return found, (before >= 0) & (found > previous)


def _combined_rows(index: FrameIndex) -> _Rows:
    starts = index.starts_of(CombinedPacket.TYPE)
    words = index.words_at(starts, 2, 6)
    acc = words[:, :3].astype(np.float64)
    timed = np.full(len(starts), index.variant == "combined28")
    chip_ms = np.zeros(len(starts), np.int64)
    length = CombinedPacket.LENGTH
    if index.variant == "combined28":
        chip_ms = chip_milliseconds(index.bytes_at(starts, 20, 8))
        length = 28
    return _Rows(starts + length, words[:, 3:], acc, chip_ms, timed)


def _times(
    raw: RawCapture, rows: _Rows, variant: Variant, nominal_hz: float | None
) -> tuple[SampleTimes, ClockSource]:
    """The best clock there is."""
    if rows.timed.any():
        times = times_from_chip(rows.chip_ms, rows.timed)
        if times is not None:
            return times, "chip"
    if raw.arrival_s is not None and raw.arrival_ends is not None:
        packet = np.searchsorted(raw.arrival_ends, rows.ends)
        times = times_from_arrivals(raw.arrival_s[packet])
        if times is not None:
            return times, "arrival"
    return even_times(len(rows.ends), nominal_hz or NOMINAL_HZ[variant]), "nominal"


def _fill_acc(acc: NDArray[np.float64], t_ns: NDArray[np.int64]) -> tuple[NDArray[np.float64], int]:
    """Interpolate accelerations lost on the way; all NaN stays so, the sensor sends none."""
    lost = np.isnan(acc[:, 0])
    if lost.all() or not lost.any():
        return acc, 0
    filled = acc.copy()
    for axis in range(3):
        filled[lost, axis] = np.interp(t_ns[lost], t_ns[~lost], acc[~lost, axis])
    return filled, int(lost.sum())


def _chip_start(rows: _Rows) -> datetime | None:
    if not rows.timed.any():
        return None
    first_ms = int(rows.chip_ms[np.argmax(rows.timed)])
    return datetime(2000, 1, 1) + timedelta(milliseconds=first_ms)
