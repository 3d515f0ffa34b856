"""What the machine tells of itself: temperature, and whether the firmware slows it down.

Failure policy: what a machine does not tell is None.
"""

from __future__ import annotations

import os
from pathlib import Path

_TEMPERATURE = "sys/class/thermal/thermal_zone0/temp"
_THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
_BITS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "too warm"}
_SINCE_START = 16
"""The same bits again, this much higher: it has happened since the start."""


def temperature_c(root: Path = Path("/")) -> float | None:
    """Of the processor."""
    try:
        return int((root / _TEMPERATURE).read_text(encoding="ascii")) / 1000
    except (OSError, ValueError):
        return None


def throttling(root: Path = Path("/")) -> list[str] | None:
    """What the Raspberry Pi's firmware complains of; None on another machine."""
    try:
        bits = int((root / _THROTTLED).read_text(encoding="ascii"), 16)
    except (OSError, ValueError):
        return None
    now = [name for bit, name in _BITS.items() if bits >> bit & 1]
    before = [
        f"{name} (before)"
        for bit, name in _BITS.items()
        if bits >> (bit + _SINCE_START) & 1 and name not in now
    ]
    return now + before


def free_mb(folder: Path) -> float | None:
    """Free room for this user on the folder's disk, in MB of 10^6 bytes."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize / 1e6
