"""The line time that the sensor's driver really runs: asked from V4L2.

    line time = (mode width + HBLANK) / PIXEL_RATE

Both are controls of the sensor's /dev/v4l-subdevN, found by walking sysfs to the subdevice whose
device-tree node is the camera's libcamera id. libcamera lengthens lines for the limits of the
image processor and for long exposures, so HBLANK is read again for every photograph.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

V4L2_CID_WIDE_DYNAMIC_RANGE = 0x009A0915
V4L2_CID_HBLANK = 0x009E0902
V4L2_CID_PIXEL_RATE = 0x009F0902

SYSFS = Path("/sys/class/video4linux")
DEV = Path("/dev")

# No mode of any Raspberry Pi sensor is outside; a value that is, was misread.
PLAUSIBLE_LINE_TIME_NS = (2_000, 1_000_000)


class _ExtControl(ctypes.Structure):
    """struct v4l2_ext_control: packed, 20 bytes."""

    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (
        ("id", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("reserved2", ctypes.c_uint32),
        ("value64", ctypes.c_int64),
    )


class _ExtControls(ctypes.Structure):
    """struct v4l2_ext_controls: 32 bytes where pointers have 8."""

    _fields_ = (
        ("which", ctypes.c_uint32),
        ("count", ctypes.c_uint32),
        ("error_idx", ctypes.c_uint32),
        ("request_fd", ctypes.c_int32),
        ("reserved", ctypes.c_uint32),
        ("controls", ctypes.POINTER(_ExtControl)),
    )


def _iowr(kind: str, number: int, size: int) -> int:
    """_IOWR of linux/ioctl.h."""
    return (3 << 30) | (size << 16) | (ord(kind) << 8) | number


VIDIOC_G_EXT_CTRLS = _iowr("V", 71, ctypes.sizeof(_ExtControls))

Ioctl = Callable[[int, int, ctypes.Structure], object]
ReadControl = Callable[[Path, int], int]


def _ioctl(fd: int, request: int, argument: ctypes.Structure) -> object:
    return fcntl.ioctl(fd, request, argument, True)


def read_control(device: Path, control: int, *, ioctl: Ioctl = _ioctl) -> int:
    """The value of one integer control of a V4L2 subdevice.

    PIXEL_RATE has 64 bits, which the older G_CTRL refuses: the extended call reads both widths.
    Raises OSError when the device or the control is not there.
    """
    value = _ExtControl(id=control)
    # `which` 0: the control may be of any class.
    request = _ExtControls(which=0, count=1, controls=ctypes.pointer(value))
    fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        ioctl(fd, VIDIOC_G_EXT_CTRLS, request)
    finally:
        os.close(fd)
    # A 32-bit control fills the first half of the union only (little-endian machines).
    wide = control == V4L2_CID_PIXEL_RATE
    return int(value.value64) if wide else ctypes.c_int32(value.value64 & 0xFFFFFFFF).value


def find_subdevice(camera_id: str, *, sysfs: Path = SYSFS, dev: Path = DEV) -> Path | None:
    """The /dev/v4l-subdevN of a camera, by its libcamera id (a device-tree path).

    None when no subdevice belongs to it: another kernel, a simulated camera.
    """
    if not camera_id.startswith("/"):
        return None
    for entry in _subdevices(sysfs):
        node = entry / "device" / "of_node"
        if node.is_symlink() and str(node.readlink()).endswith(camera_id):
            return dev / entry.name
    return None


def _subdevices(sysfs: Path) -> Iterable[Path]:
    return sorted(sysfs.glob("v4l-subdev*"), key=lambda path: (len(path.name), path.name))


class LineClock(Protocol):
    """What tells a camera its line time."""

    def line_time_ns(self, mode_width: int) -> float | None:
        """The line time now, of a mode so wide; None when it cannot be told."""
        ...

    def wide_dynamic_range(self) -> bool:
        """Whether the sensor itself merges several exposures."""
        ...


class V4l2LineClock:
    """The line time of one camera, from its subdevice."""

    def __init__(self, device: Path | None, *, read: ReadControl = read_control) -> None:
        self.device, self._read = device, read

    @classmethod
    def of_camera(cls, camera_id: str) -> V4l2LineClock:
        """The clock of the camera with this libcamera id, even where no subdevice is found."""
        return cls(find_subdevice(camera_id))

    def line_time_ns(self, mode_width: int) -> float | None:
        """The line time now, of a mode `mode_width` pixels wide; None when it cannot be told."""
        hblank = self._control(V4L2_CID_HBLANK)
        pixel_rate = self._control(V4L2_CID_PIXEL_RATE)
        if hblank is None or pixel_rate is None or pixel_rate <= 0:
            return None
        value_ns = (mode_width + hblank) * 1e9 / pixel_rate
        shortest_ns, longest_ns = PLAUSIBLE_LINE_TIME_NS
        return value_ns if shortest_ns <= value_ns <= longest_ns else None

    def wide_dynamic_range(self) -> bool:
        """Whether the sensor itself merges several exposures (IMX708's HDR mode)."""
        return bool(self._control(V4L2_CID_WIDE_DYNAMIC_RANGE))

    def _control(self, control: int) -> int | None:
        if self.device is None:
            return None
        try:
            return self._read(self.device, control)
        except OSError:  # no permission, or a driver without the control: the table is used
            return None
