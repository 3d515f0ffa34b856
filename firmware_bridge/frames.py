"""What WT901 packets share: the frame around the payload, and integers turned into units.

A standard frame is 0x55, type, 8 bytes little-endian, and the sum of those ten bytes mod 256.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, fields
from datetime import datetime
from typing import ClassVar, Final, Self, TypeAlias

from firmware_bridge.errors import BridgeError

HEADER: Final = 0x55
STANDARD_LENGTH: Final = 11

ACC_SCALE_G: Final = 16 / 32768
GYRO_SCALE_DEG_S: Final = 2000 / 32768
GYRO_SCALE_RAD_S: Final = math.radians(2000) / 32768
ANGLE_SCALE_DEG: Final = 180 / 32768

Triple: TypeAlias = tuple[float, float, float]


class PacketError(BridgeError, ValueError):
    """Bytes that are not the packet they were taken for, or a field that does not fit."""


def checksum(data: bytes) -> int:
    """Sum of the first ten bytes mod 256: the eleventh byte of a standard frame."""
    return sum(data[:10]) & 0xFF


@dataclass(frozen=True, slots=True)
class Frame:
    """What every packet shares: its type byte, its layout, and whether a checksum closes it."""

    TYPE: ClassVar[int]
    LENGTH: ClassVar[int] = STANDARD_LENGTH
    LAYOUT: ClassVar[struct.Struct]

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode one whole frame. Raises PacketError on a wrong length, header or checksum."""
        if len(data) != cls.LENGTH:
            raise PacketError(f"{cls.__name__}: found {len(data)} bytes, expected {cls.LENGTH}")
        if data[0] != HEADER or data[1] != cls.TYPE:
            raise PacketError(
                f"{cls.__name__}: found header {data[:2].hex(' ')}, expected 55 {cls.TYPE:02x}"
            )
        if cls.LENGTH == STANDARD_LENGTH and checksum(data) != data[10]:
            raise PacketError(
                f"{cls.__name__}: found checksum {data[10]:02x}, expected {checksum(data):02x}"
            )
        return cls.from_payload(data)

    @classmethod
    def from_payload(cls, frame: bytes) -> Self:
        """Decode a frame whose length, header and checksum were already checked."""
        return cls(*cls.LAYOUT.unpack_from(frame, 2))

    def _values(self) -> tuple[int, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))

    def to_bytes(self) -> bytes:
        """Encode the frame, checksum included. Raises PacketError when a field does not fit."""
        try:
            frame = bytes((HEADER, self.TYPE)) + self.LAYOUT.pack(*self._values())
        except struct.error as problem:
            raise PacketError(f"{self!r}: {problem}") from problem
        if self.LENGTH == STANDARD_LENGTH:
            return frame + bytes((checksum(frame),))
        return frame


class HasAcc:
    """Specific force from raw ax, ay, az."""

    __slots__ = ()
    ax: int
    ay: int
    az: int

    @property
    def acc_g(self) -> Triple:
        """Specific force in g."""
        return self.ax * ACC_SCALE_G, self.ay * ACC_SCALE_G, self.az * ACC_SCALE_G


class HasGyro:
    """Angular rate from raw gx, gy, gz."""

    __slots__ = ()
    gx: int
    gy: int
    gz: int

    @property
    def gyro_deg_s(self) -> Triple:
        """Angular rate in degrees a second."""
        return self.gx * GYRO_SCALE_DEG_S, self.gy * GYRO_SCALE_DEG_S, self.gz * GYRO_SCALE_DEG_S

    @property
    def gyro_rad_s(self) -> Triple:
        """Angular rate in radians a second."""
        return self.gx * GYRO_SCALE_RAD_S, self.gy * GYRO_SCALE_RAD_S, self.gz * GYRO_SCALE_RAD_S


class HasAngle:
    """Euler angles from raw roll, pitch, yaw."""

    __slots__ = ()
    roll: int
    pitch: int
    yaw: int

    @property
    def angle_deg(self) -> Triple:
        """Roll, pitch and yaw in degrees."""
        return self.roll * ANGLE_SCALE_DEG, self.pitch * ANGLE_SCALE_DEG, self.yaw * ANGLE_SCALE_DEG


class HasTemperature:
    """Chip temperature from its raw value."""

    __slots__ = ()
    temperature: int

    @property
    def temperature_c(self) -> float:
        """Temperature in degrees Celsius."""
        return self.temperature / 100


class HasTime:
    """The chip's calendar clock. It counts samples, so its steps are exact."""

    __slots__ = ()
    yy: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    millisecond: int

    @property
    def year(self) -> int:
        """The year, 2000 + YY."""
        return 2000 + self.yy

    @property
    def chip_ms(self) -> int:
        """Milliseconds since 2000-01-01 00:00 of the chip's clock.

        Defined for any field values: a clock that was never set may count from month 0.
        """
        days = days_since_2000(self.yy, self.month, self.day)
        seconds = ((days * 24 + self.hour) * 60 + self.minute) * 60 + self.second
        return seconds * 1000 + self.millisecond

    @property
    def as_datetime(self) -> datetime | None:
        """The chip's clock as a calendar time, None when the fields are no date."""
        try:
            return datetime(
                self.year,
                self.month,
                self.day,
                self.hour,
                self.minute,
                self.second,
                self.millisecond * 1000,
            )
        except ValueError:
            return None


def days_since_2000(yy: int, month: int, day: int) -> int:
    """Days from 2000-01-01 in the Gregorian calendar; months outside 1..12 carry into the year.

    >>> days_since_2000(0, 1, 1), days_since_2000(24, 3, 1), days_since_2000(0, 0, 1)
    (0, 8826, -31)
    """
    carry, month0 = divmod(month - 1, 12)
    # Years start in March here, so that the leap day is the last of its year.
    year = 2000 + yy + carry - (month0 < 2)
    day_of_year = (153 * ((month0 - 2) % 12) + 2) // 5 + day - 1
    return 365 * year + year // 4 - year // 100 + year // 400 + day_of_year - 730425
