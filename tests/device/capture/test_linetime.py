from __future__ import annotations

import ctypes
import errno
import os
import struct
from pathlib import Path

import pytest

from device.capture.linetime import (
    V4L2_CID_HBLANK,
    V4L2_CID_PIXEL_RATE,
    V4L2_CID_WIDE_DYNAMIC_RANGE,
    VIDIOC_G_EXT_CTRLS,
    V4l2LineClock,
    find_subdevice,
    read_control,
)

IMX477_ID = "/base/axi/pcie@120000/rp1/i2c@88000/imx477@1a"


class Driver:
    """Answers VIDIOC_G_EXT_CTRLS as the kernel does, from the bytes of videodev2.h's structs."""

    def __init__(self, controls: dict[int, int]) -> None:
        self.controls = controls

    def ioctl(self, fd: int, request: int, argument: ctypes.Structure) -> int:
        os.fstat(fd)  # an open file
        assert request == 0xC0205647, "VIDIOC_G_EXT_CTRLS of 64-bit Linux"
        which, count, _, _, _, address = struct.unpack("=IIIiI4xQ", bytes(argument))
        assert (which, count) == (0, 1)
        control = (ctypes.c_ubyte * 20).from_address(address)
        (number,) = struct.unpack_from("=I", control)
        if number not in self.controls:
            raise OSError(errno.EINVAL, "Invalid argument")
        wide = number == V4L2_CID_PIXEL_RATE
        struct.pack_into("=q" if wide else "=i", control, 12, self.controls[number])
        return 0


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "v4l-subdev0"
    path.touch()
    return path


def clock(device: Path | None, controls: dict[int, int]) -> V4l2LineClock:
    driver = Driver(controls)
    return V4l2LineClock(
        device, read=lambda path, control: read_control(path, control, ioctl=driver.ioctl)
    )


def test_request_number_is_the_kernels() -> None:
    assert VIDIOC_G_EXT_CTRLS == 0xC0205647


def test_line_time_of_the_hq_camera(device: Path) -> None:
    controls = {V4L2_CID_HBLANK: 19_944, V4L2_CID_PIXEL_RATE: 840_000_000}
    assert clock(device, controls).line_time_ns(4056) == pytest.approx(28_571.43, abs=0.01)


def test_pixel_rates_beyond_32_bits_are_read(device: Path) -> None:
    controls = {V4L2_CID_HBLANK: 600_000, V4L2_CID_PIXEL_RATE: 6_000_000_000}
    assert clock(device, controls).line_time_ns(0) == pytest.approx(100_000)


@pytest.mark.parametrize(
    "controls",
    [
        {},
        {V4L2_CID_HBLANK: 100},
        {V4L2_CID_PIXEL_RATE: 840_000_000},
        {V4L2_CID_HBLANK: 100, V4L2_CID_PIXEL_RATE: 0},
        {V4L2_CID_HBLANK: -4056, V4L2_CID_PIXEL_RATE: 840_000_000},
        {V4L2_CID_HBLANK: 2_000_000_000, V4L2_CID_PIXEL_RATE: 840_000_000},
    ],
)
def test_what_cannot_be_is_not_believed(device: Path, controls: dict[int, int]) -> None:
    assert clock(device, controls).line_time_ns(4056) is None


def test_no_device_no_answer(tmp_path: Path) -> None:
    assert clock(None, {}).line_time_ns(4056) is None
    assert clock(tmp_path / "gone", {}).line_time_ns(4056) is None


@pytest.mark.parametrize(("value", "merged"), [(None, False), (0, False), (1, True)])
def test_hdr_of_the_sensor(device: Path, value: int | None, merged: bool) -> None:
    controls = {} if value is None else {V4L2_CID_WIDE_DYNAMIC_RANGE: value}
    assert clock(device, controls).wide_dynamic_range() is merged


def make_subdevice(root: Path, number: int, node: str | None) -> None:
    device = root / "class" / f"v4l-subdev{number}" / "device"
    device.mkdir(parents=True)
    if node is not None:
        (device / "of_node").symlink_to(f"../../../../firmware/devicetree{node}")


def test_walks_sysfs_to_the_camera(tmp_path: Path) -> None:
    make_subdevice(tmp_path, 0, None)
    make_subdevice(tmp_path, 2, IMX477_ID.replace("88000", "80000"))
    make_subdevice(tmp_path, 10, IMX477_ID)
    sysfs, dev = tmp_path / "class", tmp_path / "dev"
    assert find_subdevice(IMX477_ID, sysfs=sysfs, dev=dev) == dev / "v4l-subdev10"
    assert find_subdevice(IMX477_ID + "b", sysfs=sysfs, dev=dev) is None
    assert find_subdevice("Virtual0", sysfs=sysfs, dev=dev) is None
    assert find_subdevice(IMX477_ID, sysfs=tmp_path / "none", dev=dev) is None
