"""What goes wrong in a stream of samples: gaps in chip time, and a gyroscope stuck at zero."""

from __future__ import annotations

DEAD_BAND_SAMPLES = 20
"""So many readings of exactly 0/0/0 in a row are no coincidence: noise moves a real one."""

_NEW_STEP_AFTER = 10


class GapCounter:
    """Counts samples that are missing between their neighbours.

    losses : samples missing. step_ns : usual chip time between samples, 0 when unknown yet.
    """

    def __init__(self) -> None:
        self.losses = 0
        self.step_ns = 0
        self._last_ns: int | None = None
        self._other_ns = 0
        self._other_count = 0

    def restart(self) -> None:
        """The chip's clock jumped: the next step means nothing."""
        self._last_ns = None

    def add(self, chip_ns: int) -> None:
        """Take the chip time of the next sample."""
        last_ns, self._last_ns = self._last_ns, chip_ns
        if last_ns is None:
            return
        step_ns = chip_ns - last_ns
        if not self.step_ns:
            self.step_ns = step_ns
        if step_ns == self.step_ns:
            self._other_count = 0
            return
        self.losses += max(round(step_ns / self.step_ns) - 1, 0)
        self._follow(step_ns)

    def _follow(self, step_ns: int) -> None:
        """A step that comes again and again is the new usual one: the rate was changed."""
        self._other_count = self._other_count + 1 if step_ns == self._other_ns else 1
        self._other_ns = step_ns
        if self._other_count >= _NEW_STEP_AFTER and step_ns > 0:
            missed = max(round(step_ns / self.step_ns) - 1, 0)
            self.losses -= self._other_count * missed
            self.step_ns, self._other_count = step_ns, 0


class ZeroRuns:
    """Watches for the dead-band trap: a gyroscope that says exactly 0/0/0 while it lies still.

    runs : how often it began. longest : samples of the longest run.
    """

    def __init__(self) -> None:
        self.runs = 0
        self.longest = 0
        self._length = 0

    @property
    def inside(self) -> bool:
        """Whether the last samples are such a run."""
        return self._length >= DEAD_BAND_SAMPLES

    def add(self, gyro: tuple[int, int, int]) -> None:
        """Take the raw rate of the next sample."""
        if gyro != (0, 0, 0):
            self._length = 0
            return
        self._length += 1
        if self._length == DEAD_BAND_SAMPLES:
            self.runs += 1
        if self.inside:
            self.longest = max(self.longest, self._length)
