"""Whether the sensor's log covers an exposure: one answer for the check and the restoration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from device.capture.timing import FrameTiming
from firmware_bridge.samples import ImuSamples

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
