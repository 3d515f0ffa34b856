"""When each sample of a recording was taken: from the chip's clock or from arrival times.

The chip's clock counts samples, so its steps are exact; what has to be repaired is stamps that
were lost or damaged on the way, and the jump when someone sets the clock.
Arrivals are late by a varying amount and never early, and come in bursts; the samples behind
them are evenly spaced. So the sample clock is the lower envelope of (sample number, arrival),
with a step where samples were lost on the way: there the envelope rises and stays up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_RATES_HZ: Final = np.array([1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0])
_SNAP: Final = 0.08
"""How far a measured rate may lie from one the sensor can be set to and still be taken for it."""

_DAYS_1970_TO_2000: Final = 10957
_CLOCK_SET_MS: Final = 3_600_000
"""A longer step is somebody setting the clock, or a damaged stamp at an end; no recording pauses
so long."""

_LEAST_PERIOD_S: Final = 1e-3
_MOST_PERIOD_S: Final = 100.0
_ENVELOPE_S: Final = 0.5
_LEAST_LOSS_S: Final = 0.03
_REFINE_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class SampleTimes:
    """Times of the samples of one recording.

    t_ns : (N,) int64, strictly increasing, the first is 0.
    kept : (M,) bool, which of the samples found have a time; False for repeated ones.
    rate_hz : samples a second, from the usual step.
    lost : samples that must have been there and are not.
    filled : times that had to be interpolated.
    clock_jumps : how often the chip's clock was set, which is bridged by one usual step.
    """

    t_ns: NDArray[np.int64]
    kept: NDArray[np.bool_]
    rate_hz: float
    lost: int
    filled: int = 0
    clock_jumps: int = 0


def chip_milliseconds(clock: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Milliseconds since 2000-01-01 of (K, 8) uint8 YY MM DD hh mm ss ms_low ms_high."""
    fields = clock.astype(np.int64)
    months = (30 + fields[:, 0]) * 12 + fields[:, 1] - 1
    first = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    days = first - _DAYS_1970_TO_2000 + fields[:, 2] - 1
    seconds = ((days * 24 + fields[:, 3]) * 60 + fields[:, 4]) * 60 + fields[:, 5]
    return np.asarray(seconds * 1000 + fields[:, 6] + 256 * fields[:, 7])


def times_from_chip(chip_ms: NDArray[np.int64], known: NDArray[np.bool_]) -> SampleTimes | None:
    """Times from the chip's clock; None when it stands still or hardly any stamp arrived.

    chip_ms : (M,) int64, one stamp a sample, meaningless where `known` is False.
    """
    index = np.flatnonzero(known)
    stamps = chip_ms[index]
    sound = ~_lone_outliers(stamps)
    index, stamps = index[sound], stamps[sound]
    steps = np.diff(stamps)
    forward = steps[steps > 0]
    if 2 * len(forward) < len(known) - 1 or len(forward) == 0:
        return None
    # The usual step between neighbours; where a stamp is missing the step spans more samples.
    usual_ms = float(np.median(forward / np.diff(index)[steps > 0]))
    jumps = (steps < 0) | (steps > _CLOCK_SET_MS)
    stamps = stamps + np.concatenate([[0], np.cumsum(np.where(jumps, usual_ms - steps, 0))])
    fresh = np.concatenate([[True], np.diff(stamps) > 0])
    kept = np.ones(len(known), np.bool_)
    kept[index[~fresh]] = False
    index, stamps = index[fresh], stamps[fresh]
    t_ms = _interpolate(np.arange(len(known)), index, stamps, usual_ms)[kept]
    gaps = np.rint(np.diff(t_ms) / usual_ms) - 1
    return SampleTimes(
        t_ns=np.rint((t_ms - t_ms[0]) * 1e6).astype(np.int64),
        kept=kept,
        rate_hz=1000 / usual_ms,
        lost=int(gaps[gaps > 0].sum()),
        filled=int(kept.sum()) - len(index),
        clock_jumps=int(jumps.sum()),
    )


def _lone_outliers(stamps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Stamps that break an order their neighbours keep: one in 256 damaged frames gets through."""
    lone = np.zeros(len(stamps), np.bool_)
    before, at, after = stamps[:-2], stamps[1:-1], stamps[2:]
    lone[1:-1] = (after >= before) & ((at < before) | (at > after))
    return lone


def _interpolate(
    wanted: NDArray[np.int64],
    index: NDArray[np.int64],
    values: NDArray[np.float64],
    step: float,
) -> NDArray[np.float64]:
    """Values at every index: linear between the known ones, by even steps outside them."""
    inside = np.interp(wanted, index, values)
    before = np.minimum(wanted - index[0], 0) * step
    behind = np.maximum(wanted - index[-1], 0) * step
    return np.asarray(inside + before + behind, np.float64)


def times_from_arrivals(arrival_s: NDArray[np.float64]) -> SampleTimes | None:
    """Times on an even clock from arrivals; None when those are too few to tell the rate.

    arrival_s : (M,) float64, one a sample, not decreasing; samples of a burst share theirs.
    """
    period_s = _period_s(arrival_s)
    if period_s is None:
        return None
    late_s = arrival_s - period_s * np.arange(len(arrival_s))
    lost = _losses(arrival_s, late_s, period_s)
    number = np.arange(len(arrival_s)) + lost
    period_s = _refined_period_s(arrival_s, number, period_s)
    return SampleTimes(
        t_ns=np.rint(number * (period_s * 1e9)).astype(np.int64),
        kept=np.ones(len(arrival_s), np.bool_),
        rate_hz=1 / period_s,
        lost=int(lost[-1]),
    )


def _period_s(arrival_s: NDArray[np.float64]) -> float | None:
    """Sample period: a median over long stretches, which shrugs off bursts and losses."""
    reach = min(64, len(arrival_s) // 2)
    if reach < 1:
        return None
    period_s = float(np.median(arrival_s[reach:] - arrival_s[:-reach])) / reach
    if not _LEAST_PERIOD_S < period_s < _MOST_PERIOD_S:
        return None
    nearest = float(_RATES_HZ[np.argmin(np.abs(np.log(_RATES_HZ * period_s)))])
    return 1 / nearest if abs(nearest * period_s - 1) < _SNAP else period_s


def _losses(
    arrival_s: NDArray[np.float64], late_s: NDArray[np.float64], period_s: float
) -> NDArray[np.int64]:
    """(M,) samples lost before each: steps by which the least lateness rises and stays up."""
    window = max(4, round(_ENVELOPE_S / period_s))
    least = max(3.0, _LEAST_LOSS_S / period_s)
    lost = np.zeros(len(late_s), np.int64)
    late_s = late_s.copy()
    for at in (np.flatnonzero(np.diff(arrival_s) > 0) + 1).tolist():
        behind = late_s[at : at + window]
        if len(behind) < window // 2:
            break
        rise = float(behind.min() - late_s[max(0, at - window) : at].min()) / period_s
        if rise >= least:
            count = round(rise)
            lost[at:] += count
            late_s[at:] -= count * period_s
    return lost


def _refined_period_s(
    arrival_s: NDArray[np.float64], number: NDArray[np.int64], period_s: float
) -> float:
    """Follow the sensor's own clock, a per cent off at most, once a recording is long enough."""
    late_s = arrival_s - period_s * number
    seconds = np.floor(number * period_s).astype(np.int64)
    if seconds[-1] < _REFINE_S:
        return period_s
    firsts = np.flatnonzero(np.diff(seconds, prepend=-1))
    envelope_s = np.minimum.reduceat(late_s, firsts)
    slope = float(np.polyfit(seconds[firsts].astype(np.float64), envelope_s, 1)[0])
    return period_s * (1 + slope) if math.isfinite(slope) and abs(slope) < 0.5 else period_s


def even_times(count: int, rate_hz: float) -> SampleTimes:
    """Times at a rate that is only assumed, for captures that say nothing."""
    t_ns = np.rint(np.arange(count) * (1e9 / rate_hz)).astype(np.int64)
    return SampleTimes(t_ns, np.ones(count, np.bool_), rate_hz, lost=0)
