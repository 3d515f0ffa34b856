"""The last samples in the sensor's own terms, and their times whenever they are asked for."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.clock import ClockMap
from firmware_bridge.cycles import RawSample
from firmware_bridge.frames import ACC_SCALE_G, GYRO_SCALE_RAD_S
from firmware_bridge.samples import ImuSamples

Rows: TypeAlias = NDArray[np.void]

_ROW: Any = np.dtype(
    [
        ("chip_ns", np.int64),
        ("arrival_ns", np.int64),
        ("segment", np.int32),
        ("gyro", np.int16, 3),
        ("acc", np.int16, 3),
        ("has_acc", np.bool_),
    ]
)
_NO_ACC = (0, 0, 0)


class SampleRing:
    """Keeps the newest `capacity` samples. Not thread-safe."""

    def __init__(self, capacity: int) -> None:
        self._rows: Rows = np.zeros(capacity, dtype=_ROW)
        self.count = 0

    def append(self, sample: RawSample, chip_ns: int, segment: int) -> None:
        """Keep a sample with its chip time and the clock segment it belongs to."""
        acc = sample.acc if sample.acc is not None else _NO_ACC
        row = (chip_ns, sample.arrival_ns, segment, sample.gyro, acc, sample.acc is not None)
        self._rows[self.count % len(self._rows)] = row
        self.count += 1

    def newest(self, limit: int | None = None) -> Rows:
        """A copy of the newest samples, oldest first."""
        kept = min(self.count, len(self._rows))
        wanted = kept if limit is None else min(limit, kept)
        index = np.arange(self.count - wanted, self.count) % len(self._rows)
        return self._rows[index]


def host_times_ns(rows: Rows, clock: ClockMap) -> tuple[Rows, NDArray[np.int64]]:
    """Map samples to the host's clock with what the clock map knows now.

    Returns the samples that have a time, and the times: (N,) int64, CLOCK_MONOTONIC, strictly
    increasing. Samples of a clock segment that was never confirmed, and those that a jump of the
    clock would set before their predecessors, are left out.
    """
    t_ns = np.full(len(rows), -1, dtype=np.int64)
    for segment in np.unique(rows["segment"]).tolist():
        if clock.knows(segment):
            of = rows["segment"] == segment
            t_ns[of] = clock.to_host_ns(rows["chip_ns"][of], segment)
    newest_before = np.maximum.accumulate(np.concatenate([[-1], t_ns[:-1]]))
    good = t_ns > newest_before
    return rows[good], t_ns[good]


def to_samples(rows: Rows, t_ns: NDArray[np.int64]) -> ImuSamples:
    """The sensor's integers in physical units."""
    acc_g = rows["acc"] * ACC_SCALE_G
    acc_g[~rows["has_acc"]] = np.nan
    return ImuSamples(t_ns, rows["gyro"] * GYRO_SCALE_RAD_S, acc_g)
