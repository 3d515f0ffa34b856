"""Chip time to host time, by the lower envelope of when the samples arrived.

The sensor stamps samples with a counter that steps evenly; the host sees each one late by a
varying amount (USB batches, scheduling) but never early. So the points (chip time, arrival time)
all lie on or above one slowly drifting line, and the points closest to it say where it runs: the
line under all points that is nearest to them is an edge of their lower convex hull, the one over
their mean chip time (Zhang, Liu and Xia, INFOCOM 2002; ethz-asl/cuckoo_time_translator uses the
same idea). What no envelope can see is the smallest delay itself: that constant is calibrated.

A sliding window of 60 s follows the drift. It is kept as the earliest point of every quarter
second, so memory is bounded and a sample costs a comparison; the hull is computed on demand.

The chip's clock may also jump: a reboot, a set clock, a suspended host. Each unbroken stretch is
a *segment* with its own line; samples are kept with their segment's number and mapped when they
are asked for, so they profit from everything the envelope has learned since.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

BUCKET_NS = 250_000_000
WINDOW_NS = 60_000_000_000
PRIOR_DRIFT = 300e-6  # spread of clock rates to expect before anything was measured
KNOWN_DRIFT = 30e-6  # the same when this chip was measured before a jump
ENVELOPE_FLOOR_NS = 300_000.0  # sd of a 1 ms USB frame: a beat with it can look like no delay
YOUNG_NS = 20_000_000.0  # one batch of a slow USB adapter: what a single arrival may be late by
EARLY_NS = 5_000_000  # earlier than this under the line is a jump, not a better arrival
YOUNG_EARLY_NS = 200_000_000  # added to it, divided by the number of arrivals seen so far
EARLY_RATE = 0.01  # added to it, times the time since the last sample, for unknown drift
LATE_NS = 30_000_000  # never earlier than this for LATE_SPAN_NS is a jump, not a stalled host
LATE_SPAN_NS = 2_000_000_000
CONFIRMATIONS = 3  # samples that must agree before a jump is believed
MAX_SEGMENTS = 16


class ClockSegment:
    """The line host = f(chip) of one unbroken stretch of chip time.

    number : counts the stretches of a ClockMap.
    prior_drift : host seconds per chip second minus one, expected, with its standard deviation
        prior_sigma; it decides while the window is too short to measure the rate.
    """

    def __init__(
        self, number: int, prior_drift: float = 0.0, prior_sigma: float = PRIOR_DRIFT
    ) -> None:
        self.number = number
        self.observations = 0
        self.last_chip_ns = 0
        self._prior_drift, self._prior_sigma = prior_drift, prior_sigma
        self._bucket = -1
        # [chip_ns, arrival_ns] of the least delayed sample of every bucket
        self._earliest: deque[list[int]] = deque(maxlen=WINDOW_NS // BUCKET_NS)
        self._late_since_ns: int | None = None
        self._stale = False
        self._ref_chip_ns = self._ref_host_ns = 0
        self._excess_rate, self._excess_rate_sigma = prior_drift, prior_sigma
        self._envelope_sigma_ns = YOUNG_NS
        self._middle_ns = 0.0

    def accepts(self, chip_ns: int, arrival_ns: int) -> bool:
        """Whether this sample can belong to the same unbroken chip time as the ones before."""
        if self.observations == 0:
            return True
        since_last_ns = chip_ns - self.last_chip_ns
        if since_last_ns <= 0:
            return False
        excess_ns = arrival_ns - self._predict(chip_ns)
        early_ns = EARLY_NS + YOUNG_EARLY_NS / self.observations + EARLY_RATE * since_last_ns
        if excess_ns < -early_ns:
            return False
        if excess_ns < LATE_NS:
            self._late_since_ns = None
        elif self._late_since_ns is None:
            self._late_since_ns = chip_ns
        return self._late_since_ns is None or chip_ns - self._late_since_ns < LATE_SPAN_NS

    def add(self, chip_ns: int, arrival_ns: int) -> None:
        """Take in a sample that `accepts` has passed."""
        if self.observations == 0:
            self._ref_chip_ns, self._ref_host_ns = chip_ns, arrival_ns
        self.observations += 1
        self.last_chip_ns = chip_ns
        bucket = chip_ns // BUCKET_NS
        if bucket != self._bucket:
            if bucket % 8 == 0 or len(self._earliest) < 8:  # the line changes slowly
                self._refresh()
            self._bucket = bucket
            self._earliest.append([chip_ns, arrival_ns])
            self._stale = True
            return
        earliest = self._earliest[-1]
        if arrival_ns - chip_ns < earliest[1] - earliest[0]:
            earliest[0], earliest[1] = chip_ns, arrival_ns
            self._stale = True
            excess_ns = arrival_ns - self._predict(chip_ns)
            if excess_ns < 0.0:  # keep the line under all points until the next fit
                self._ref_host_ns += int(excess_ns)

    def to_host_ns(self, chip_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Host time of chip times of this segment.

        chip_ns : (N,) int64. Returns (N,) int64, CLOCK_MONOTONIC.
        """
        self._refresh()
        since_ns = chip_ns - self._ref_chip_ns
        correction_ns = np.rint(since_ns * self._excess_rate).astype(np.int64)
        return np.asarray(self._ref_host_ns + since_ns + correction_ns, dtype=np.int64)

    @property
    def uncertainty_ns(self) -> float:
        """Standard deviation of the newest mapped time, without the constant smallest delay."""
        if self.observations == 0:
            return float("inf")
        self._refresh()
        lever_ns = abs(self.last_chip_ns - self._ref_chip_ns - self._middle_ns)
        rate_ns = self._excess_rate_sigma * lever_ns
        young_ns = YOUNG_NS / self.observations
        return float(np.sqrt(self._envelope_sigma_ns**2 + rate_ns**2 + young_ns**2))

    @property
    def excess_rate(self) -> tuple[float, float]:
        """Host seconds per chip second, minus one, and its standard deviation."""
        self._refresh()
        return self._excess_rate, self._excess_rate_sigma

    def _predict(self, chip_ns: int) -> float:
        since_ns = chip_ns - self._ref_chip_ns
        return self._ref_host_ns + since_ns + since_ns * self._excess_rate

    def _refresh(self) -> None:
        """Fit the line under the window's points again if they have changed."""
        if not self._stale:
            return
        self._stale = False
        points = np.array(self._earliest, dtype=np.int64)
        chip_ns = (points[:, 0] - self._ref_chip_ns).astype(np.float64)
        delay_ns = (points[:, 1] - points[:, 0]).astype(np.float64)
        delay_ns -= delay_ns[0]
        rate = self._rate_of(chip_ns, delay_ns)
        above_ns = delay_ns - rate * chip_ns
        lowest_ns = float(above_ns.min())
        self._envelope_sigma_ns = max(float(np.median(above_ns - lowest_ns)), ENVELOPE_FLOOR_NS)
        self._excess_rate = rate
        self._middle_ns = float(chip_ns[0] + chip_ns[-1]) / 2.0
        offset_ns = int(points[0, 1] - points[0, 0]) + round(lowest_ns)
        self._ref_host_ns = self._ref_chip_ns + offset_ns

    def _rate_of(self, chip_ns: NDArray[np.float64], delay_ns: NDArray[np.float64]) -> float:
        """The envelope's slope, weighed against the prior by how well the window shows it."""
        span_ns = float(chip_ns[-1] - chip_ns[0])
        if span_ns < 4 * BUCKET_NS:
            self._excess_rate_sigma = self._prior_sigma
            return self._prior_drift
        slope, offset_ns = lower_envelope(chip_ns, delay_ns)
        above_ns = delay_ns - offset_ns - slope * chip_ns
        sigma = 2.0 * max(float(np.median(above_ns)), ENVELOPE_FLOOR_NS) / span_ns
        weight = self._prior_sigma**2 / (self._prior_sigma**2 + sigma**2)
        self._excess_rate_sigma = sigma * weight**0.5
        return self._prior_drift + weight * (slope - self._prior_drift)


class ClockMap:
    """Maps chip time to CLOCK_MONOTONIC, across jumps of the chip's clock.

    Feed it every sample with `observe`; keep the segment number it returns with the sample, and
    map with `to_host_ns` when the time is needed. Not thread-safe: the caller locks.
    """

    def __init__(self) -> None:
        self._current = ClockSegment(0)
        self._segments = {0: self._current}
        self._next_number = 1
        self._candidate: ClockSegment | None = None

    def observe(self, chip_ns: int, arrival_ns: int) -> int:
        """Take in one sample and say which segment it belongs to.

        chip_ns : the chip's time stamp. arrival_ns : CLOCK_MONOTONIC, late by any amount.
        A sample that does not fit starts a candidate segment; it becomes the current one when
        CONFIRMATIONS samples agree with it, and is forgotten when the old clock goes on (a time
        stamp corrupted on the wire). Samples of a forgotten segment map to nothing: `knows`.
        """
        if self._current.accepts(chip_ns, arrival_ns):
            self._current.add(chip_ns, arrival_ns)
            self._drop_candidate()
            return self._current.number
        if self._candidate is None or not self._candidate.accepts(chip_ns, arrival_ns):
            self._drop_candidate()
            self._candidate = self._new_segment()
        self._candidate.add(chip_ns, arrival_ns)
        number = self._candidate.number
        if self._candidate.observations >= CONFIRMATIONS:
            self._current, self._candidate = self._candidate, None
        return number

    def restart(self) -> None:
        """Begin a new segment: the link was lost, and the chip may have restarted with it."""
        self._drop_candidate()
        if self._current.observations:
            self._current = self._new_segment()

    def knows(self, segment: int) -> bool:
        """Whether samples of this segment can be mapped: confirmed, and not too long ago."""
        known = self._segments.get(segment)
        return known is not None and known is not self._candidate and known.observations > 0

    def to_host_ns(
        self, chip_ns: NDArray[np.int64], segment: int | None = None
    ) -> NDArray[np.int64]:
        """Host time of chip times of one segment (the current one by default).

        chip_ns : (N,) int64. Returns (N,) int64, CLOCK_MONOTONIC; carries the constant smallest
        delay of the path. Raises KeyError for a segment that was never confirmed or is forgotten.
        """
        if segment is not None and not self.knows(segment):
            raise KeyError(segment)
        chosen = self._current if segment is None else self._segments[segment]
        return chosen.to_host_ns(np.asarray(chip_ns, dtype=np.int64))

    @property
    def segment(self) -> int:
        """Number of the current segment."""
        return self._current.number

    @property
    def uncertainty_ns(self) -> float:
        """Standard deviation of the newest mapped time; infinite before the first sample."""
        return self._current.uncertainty_ns

    @property
    def drift_ppm(self) -> float:
        """How much faster than the host the chip's clock runs, in parts per million."""
        return (1.0 / (1.0 + self._current.excess_rate[0]) - 1.0) * 1e6

    def _drop_candidate(self) -> None:
        if self._candidate is not None:
            del self._segments[self._candidate.number]
            self._candidate = None

    def _new_segment(self) -> ClockSegment:
        """A segment with a number never used before; the same chip keeps its measured rate."""
        rate, sigma = self._current.excess_rate
        if sigma < KNOWN_DRIFT:
            segment = ClockSegment(self._next_number, rate, KNOWN_DRIFT)
        else:
            segment = ClockSegment(self._next_number)
        self._segments[self._next_number] = segment
        self._next_number += 1
        while len(self._segments) > MAX_SEGMENTS:
            del self._segments[min(self._segments)]
        return segment


def lower_envelope(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """The line under all points with the least mean distance to them.

    x : (N,) float64, increasing, N >= 2. y : (N,) float64. Returns (slope, intercept): the edge
    of the lower convex hull over the mean of x.
    """
    hull: list[tuple[float, float]] = []
    for point in zip(x.tolist(), y.tolist(), strict=True):
        while len(hull) >= 2 and not _turns_up(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    mean_x = float(x.mean())
    for (x0, y0), (x1, y1) in pairwise(hull):
        if x1 >= mean_x:
            slope = (y1 - y0) / (x1 - x0)
            return slope, y0 - slope * x0
    raise ValueError("an envelope needs at least two points with increasing x")


def _turns_up(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) > 0.0
