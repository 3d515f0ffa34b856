"""When something happened, on a machine without a clock battery.

After a start the date is wrong until the time is synchronised, and then it jumps. So a moment is
kept on two clocks: the date as it stood, and CLOCK_BOOTTIME, which never jumps and runs on while
the machine sleeps. Once the date is known, it is known for every moment of the same start:

    date of a moment = its boottime + (date now - boottime now)

Failure policy: nothing here fails. A machine that does not tell whether its time is synchronised
(only systemd-timesyncd leaves the marker) keeps its dates, marked as doubtful.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

SYNCHRONISED_MARKER = Path("/run/systemd/timesync/synchronized")
"""Touched by systemd-timesyncd at its first synchronisation; /run is empty after a start."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Moment:
    """wall_ns : nanoseconds since 1970 as the date stood; synchronised : whether it was right.

    boot_ns : CLOCK_BOOTTIME of the start boot_id.
    """

    wall_ns: int
    boot_ns: int
    boot_id: str
    synchronised: bool

    def date_of(self, earlier: Moment) -> int | None:
        """The true date of another moment, nanoseconds since 1970, if this one tells it."""
        if not self.synchronised or earlier.boot_id != self.boot_id:
            return None
        return self.wall_ns - (self.boot_ns - earlier.boot_ns)


@dataclass(frozen=True)
class Clock:
    """The machine's clocks; each can be replaced."""

    wall_ns: Callable[[], int] = time.time_ns
    boot_ns: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    boot_id: Callable[[], str] = lambda: _BOOT_ID.read_text(encoding="ascii").strip()
    marker: Path = SYNCHRONISED_MARKER

    def now(self) -> Moment:
        """The present moment."""
        return Moment(self.wall_ns(), self.boot_ns(), self.boot_id(), self.marker.exists())


def boot_s() -> float:
    """Seconds of CLOCK_BOOTTIME: the clock of everything that is due or waits."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def iso_date(wall_ns: int) -> str:
    """A date for people: local time with its offset, to the millisecond."""
    return datetime.fromtimestamp(wall_ns * 1e-9).astimezone().isoformat(timespec="milliseconds")
