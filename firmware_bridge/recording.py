"""Recording a live sensor for as long as one likes.

The reader's ring is emptied every few seconds, so that every sample is mapped with the clock as
it was known then: over hours a chip's clock does not run evenly enough for one line.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from firmware_bridge.errors import LinkError
from firmware_bridge.reader import ImuReader
from firmware_bridge.samples import ImuSamples

FIRST_SAMPLE_S = 10.0
COLLECT_EVERY_S = 5.0
SETTLED_S = 1.0  # samples younger than this are left for the next time
LAST_SAMPLES_S = 0.5


def wait_for_sensor(reader: ImuReader, timeout_s: float | None = None) -> None:
    """Wait for the first sample. Raises LinkError with the reason when none comes."""
    timeout_s = FIRST_SAMPLE_S if timeout_s is None else timeout_s
    if not reader.wait_for_samples(1, timeout_s):
        reason = reader.stats().last_error
        raise LinkError(reason or f"the sensor sent no samples within {timeout_s:g} s")


class Recorder:
    """Collects the samples of a running reader.

    stop : set it to end the recording early; what was taken is kept.
    """

    def __init__(self, reader: ImuReader, stop: threading.Event | None = None) -> None:
        self.stop = threading.Event() if stop is None else stop
        self._reader = reader
        self._parts: list[ImuSamples] = []
        self._from_ns = time.monotonic_ns()

    def run(
        self, duration_s: float | None, progress: Callable[[float], None] = lambda elapsed_s: None
    ) -> ImuSamples:
        """Record until the duration is over, or until stopped when it is None."""
        start_ns = self._from_ns = time.monotonic_ns()
        collected_s = 0.0
        while not self.stop.is_set():
            elapsed_s = (time.monotonic_ns() - start_ns) / 1e9
            progress(elapsed_s)
            if duration_s is not None and elapsed_s >= duration_s:
                break
            if elapsed_s - collected_s >= COLLECT_EVERY_S:
                collected_s = elapsed_s
                self._collect(time.monotonic_ns() - round(SETTLED_S * 1e9))
            left_s = 0.2 if duration_s is None else min(duration_s - elapsed_s, 0.2)
            self.stop.wait(left_s)
        end_ns = time.monotonic_ns()
        if duration_s is not None:
            end_ns = min(end_ns, start_ns + round(duration_s * 1e9))
        self._collect(end_ns, wait_s=LAST_SAMPLES_S)
        return joined(self._parts)

    def _collect(self, until_ns: int, wait_s: float = 0.0) -> None:
        """Take the samples up to a time that were not taken yet."""
        wait_until_ns = until_ns + round(wait_s * 1e9)
        part = self._reader.samples_between(self._from_ns, until_ns, wait_until_ns=wait_until_ns)
        if len(part) < 2:
            return
        self._parts.append(part)
        # The line may move a little: half a period keeps a sample from being taken twice.
        half_period_ns = int(np.median(np.diff(part.t_ns))) // 2
        self._from_ns = int(part.t_ns[-1]) + half_period_ns


def joined(parts: list[ImuSamples]) -> ImuSamples:
    """Samples one after another."""
    if not parts:
        return ImuSamples.empty()
    return ImuSamples(
        np.concatenate([part.t_ns for part in parts]),
        np.concatenate([part.gyro_rad_s for part in parts]),
        np.concatenate([part.acc_g for part in parts]),
    )
