"""When something happened, on a machine without a clock battery.

After a start the date is wrong until the time is synchronised, and then it jumps. So a moment is
kept on two clocks: the date as it stood, and CLOCK_BOOTTIME, which never jumps and runs on while
the machine sleeps. Once the date is known, it is known for every moment of the same start:

    date of a moment = its boottime + (date now - boottime now)

The kernel tells: whatever keeps its clock right (systemd-timesyncd, chrony with rtcsync, ntpd) says
so to it.

Failure policy: nothing here fails. A machine whose kernel may not be asked keeps its dates, marked
as doubtful.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

_TIMEX_BYTES = 256
"""Room for the kernel's struct timex; all zero, it asks and sets nothing."""
_TIME_ERROR = 5
"""What adjtimex(2) returns while the clock is not synchronised (STA_UNSYNC)."""
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


def kernel_is_synchronised() -> bool:
    """Whether something keeps the kernel's clock right now."""
    answer: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return 0 <= answer < _TIME_ERROR


class OnceKnown:
    """Whether the time has been known since the start of the machine.

    The kernel takes its word back after some hours without a network; the date is right all the
    same. ask : whether it is known now.
    """

    def __init__(self, ask: Callable[[], bool] = kernel_is_synchronised) -> None:
        self._ask, self._known = ask, False

    def __call__(self) -> bool:
        """True from the first time on that it is known."""
        self._known = self._known or self._ask()
        return self._known


@dataclass(frozen=True)
class Clock:
    """The machine's clocks; each can be replaced."""

    wall_ns: Callable[[], int] = time.time_ns
    boot_ns: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    boot_id: Callable[[], str] = lambda: _BOOT_ID.read_text(encoding="ascii").strip()
    synchronised: Callable[[], bool] = field(default_factory=OnceKnown)

    def now(self) -> Moment:
        """The present moment."""
        return Moment(self.wall_ns(), self.boot_ns(), self.boot_id(), self.synchronised())


def boot_s() -> float:
    """Seconds of CLOCK_BOOTTIME: the clock of everything that is due or waits."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def iso_date(wall_ns: int) -> str:
    """A date for people: local time with its offset, to the millisecond."""
    return datetime.fromtimestamp(wall_ns * 1e-9).astimezone().isoformat(timespec="milliseconds")
