"""A reading of the emulated sensor as packets, and as the registers that hold it.

What is not modelled (magnetometer, ports, barometer, satellites) is sent as zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from firmware_bridge.packets import (
    AccPacket,
    AnglePacket,
    GpsAccuracyPacket,
    GpsPacket,
    GyroPacket,
    LonLatPacket,
    MagPacket,
    Packet,
    PortPacket,
    PressurePacket,
    QuaternionPacket,
    TimePacket,
)
from firmware_bridge.registers import ReturnContent

TEMPERATURE = 2500  # hundredths of a degree Celsius
_VERSION = 0x4E6A  # the firmware version an angle packet carries: any


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading: when, and the sensor's integers.

    host_ns : the instant of sampling on the host's clock. clock : the chip's calendar then.
    gyro, acc, angle : raw counts, three axes each.
    """

    host_ns: int
    clock: datetime
    gyro: tuple[int, int, int]
    acc: tuple[int, int, int]
    angle: tuple[int, int, int]


def encode_cycle(sample: Sample, content: ReturnContent) -> bytes:
    """The packets of one sample, in the order of their types."""
    return b"".join(_PACKETS[kind](sample).to_bytes() for kind in content.packet_types)


def measured_registers(sample: Sample) -> tuple[int, ...]:
    """Registers 0x30 (YYMM) to 0x40 (TEMP) while this is the latest reading, 16 bits each."""
    clock = sample.clock
    values = (
        clock.month << 8 | clock.year - 2000,
        clock.hour << 8 | clock.day,
        clock.second << 8 | clock.minute,
        clock.microsecond // 1000,
        *sample.acc,
        *sample.gyro,
        *(0, 0, 0),  # magnetometer
        *sample.angle,
        TEMPERATURE,
    )
    return tuple(value & 0xFFFF for value in values)


def _time(sample: Sample) -> Packet:
    clock = sample.clock
    date = (clock.year - 2000, clock.month, clock.day, clock.hour, clock.minute, clock.second)
    return TimePacket(*date, clock.microsecond // 1000)


def _quaternion(sample: Sample) -> Packet:
    """The attitude of the angle packet (yaw, then pitch, then roll) as a quaternion, w first."""
    half_rad = np.array(sample.angle) * (np.pi / 32768.0 / 2.0)
    (cr, cp, cy), (sr, sp, sy) = np.cos(half_rad).tolist(), np.sin(half_rad).tolist()
    parts = (
        cr * cp * cy + sr * sp * sy,
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
    )
    w, x, y, z = (min(round(part * 32768.0), 32767) for part in parts)
    return QuaternionPacket(w, x, y, z)


_PACKETS: dict[int, Callable[[Sample], Packet]] = {
    0x50: _time,
    0x51: lambda s: AccPacket(*s.acc, TEMPERATURE),
    0x52: lambda s: GyroPacket(*s.gyro, 0),
    0x53: lambda s: AnglePacket(*s.angle, _VERSION),
    0x54: lambda s: MagPacket(0, 0, 0, TEMPERATURE),
    0x55: lambda s: PortPacket(0, 0, 0, 0),
    0x56: lambda s: PressurePacket(101325, 0),
    0x57: lambda s: LonLatPacket(0, 0),
    0x58: lambda s: GpsPacket(0, 0, 0),
    0x59: _quaternion,
    0x5A: lambda s: GpsAccuracyPacket(0, 0, 0, 0),
}
