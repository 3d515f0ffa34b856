"""Every WT901 packet as a frozen dataclass: bytes to raw integers, to units, and back.

Standard frames (0x50 to 0x5A, 0x5F) are closed by a checksum. The combined frame 0x61 (BLE and
SD-card models) and the register reply 0x71 carry none.
Fields are the sensor's own integers, so `to_bytes(from_bytes(x)) == x`; units are properties.
Source: WitMotion "WIT standard communication protocol", checked against captures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from struct import Struct
from typing import ClassVar, Final, Self, TypeAlias

from firmware_bridge.frames import (
    Frame,
    HasAcc,
    HasAngle,
    HasGyro,
    HasTemperature,
    HasTime,
)
from firmware_bridge.frames import PacketError as PacketError


@dataclass(frozen=True, slots=True)
class TimePacket(HasTime, Frame):
    """0x50: the chip's clock."""

    yy: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    millisecond: int
    TYPE: ClassVar[int] = 0x50
    LAYOUT: ClassVar[Struct] = Struct("<6BH")


@dataclass(frozen=True, slots=True)
class AccPacket(HasAcc, HasTemperature, Frame):
    """0x51: specific force and temperature."""

    ax: int
    ay: int
    az: int
    temperature: int
    TYPE: ClassVar[int] = 0x51
    LAYOUT: ClassVar[Struct] = Struct("<4h")


@dataclass(frozen=True, slots=True)
class GyroPacket(HasGyro, Frame):
    """0x52: angular rate; the fourth word means different things on different models."""

    gx: int
    gy: int
    gz: int
    word4: int
    TYPE: ClassVar[int] = 0x52
    LAYOUT: ClassVar[Struct] = Struct("<4h")


@dataclass(frozen=True, slots=True)
class AnglePacket(HasAngle, Frame):
    """0x53: the sensor's own attitude and its firmware version."""

    roll: int
    pitch: int
    yaw: int
    version: int
    TYPE: ClassVar[int] = 0x53
    LAYOUT: ClassVar[Struct] = Struct("<3hH")


@dataclass(frozen=True, slots=True)
class MagPacket(HasTemperature, Frame):
    """0x54: magnetic field, raw counts whose unit depends on the magnetometer built in."""

    hx: int
    hy: int
    hz: int
    temperature: int
    TYPE: ClassVar[int] = 0x54
    LAYOUT: ClassVar[Struct] = Struct("<4h")


@dataclass(frozen=True, slots=True)
class PortPacket(Frame):
    """0x55: the four port pins."""

    d0: int
    d1: int
    d2: int
    d3: int
    TYPE: ClassVar[int] = 0x55
    LAYOUT: ClassVar[Struct] = Struct("<4H")


@dataclass(frozen=True, slots=True)
class PressurePacket(Frame):
    """0x56: barometer."""

    pressure_pa: int
    height_cm: int
    TYPE: ClassVar[int] = 0x56
    LAYOUT: ClassVar[Struct] = Struct("<2i")


@dataclass(frozen=True, slots=True)
class LonLatPacket(Frame):
    """0x57: position as NMEA writes it, dddmm.mmmmm with the point removed."""

    longitude: int
    latitude: int
    TYPE: ClassVar[int] = 0x57
    LAYOUT: ClassVar[Struct] = Struct("<2i")

    @property
    def longitude_deg(self) -> float:
        """Longitude in degrees, east positive."""
        return _nmea_degrees(self.longitude)

    @property
    def latitude_deg(self) -> float:
        """Latitude in degrees, north positive."""
        return _nmea_degrees(self.latitude)


def _nmea_degrees(value: int) -> float:
    degrees, minutes = divmod(abs(value), 10_000_000)
    return math.copysign(degrees + minutes / 100_000 / 60, value)


@dataclass(frozen=True, slots=True)
class GpsPacket(Frame):
    """0x58: height, course and speed of the satellite receiver."""

    height: int
    yaw: int
    speed: int
    TYPE: ClassVar[int] = 0x58
    LAYOUT: ClassVar[Struct] = Struct("<2hi")

    @property
    def height_m(self) -> float:
        """Height above sea level in metres."""
        return self.height / 10

    @property
    def course_deg(self) -> float:
        """Course over ground in degrees, as WT901 data sheet v20-0702 scales it."""
        return self.yaw / 10

    @property
    def speed_km_h(self) -> float:
        """Speed over ground in kilometres an hour."""
        return self.speed / 1000


@dataclass(frozen=True, slots=True)
class QuaternionPacket(Frame):
    """0x59: the sensor's own attitude as a quaternion."""

    q0: int
    q1: int
    q2: int
    q3: int
    TYPE: ClassVar[int] = 0x59
    LAYOUT: ClassVar[Struct] = Struct("<4h")

    @property
    def quaternion(self) -> tuple[float, float, float, float]:
        """The quaternion, w first."""
        return self.q0 / 32768, self.q1 / 32768, self.q2 / 32768, self.q3 / 32768


@dataclass(frozen=True, slots=True)
class GpsAccuracyPacket(Frame):
    """0x5A: number of satellites and dilutions of precision, in hundredths."""

    satellites: int
    pdop: int
    hdop: int
    vdop: int
    TYPE: ClassVar[int] = 0x5A
    LAYOUT: ClassVar[Struct] = Struct("<4H")


@dataclass(frozen=True, slots=True)
class RegisterReply(Frame):
    """0x5F: four registers, from the address last asked for with FF AA 27 lo hi."""

    values: tuple[int, int, int, int]
    TYPE: ClassVar[int] = 0x5F
    LAYOUT: ClassVar[Struct] = Struct("<4H")

    @classmethod
    def from_payload(cls, frame: bytes) -> Self:
        """Decode a frame that was already checked."""
        a, b, c, d = cls.LAYOUT.unpack_from(frame, 2)
        return cls((a, b, c, d))

    def _values(self) -> tuple[int, ...]:
        return self.values


@dataclass(frozen=True, slots=True)
class CombinedPacket(HasAcc, HasGyro, HasAngle, Frame):
    """0x61 as the BLE models send it: nine integers, 20 bytes, no checksum."""

    ax: int
    ay: int
    az: int
    gx: int
    gy: int
    gz: int
    roll: int
    pitch: int
    yaw: int
    TYPE: ClassVar[int] = 0x61
    LENGTH: ClassVar[int] = 20
    LAYOUT: ClassVar[Struct] = Struct("<9h")


@dataclass(frozen=True, slots=True)
class CombinedTimedPacket(HasAcc, HasGyro, HasAngle, HasTime, Frame):
    """0x61 as SD-card models log it: nine integers and the chip's clock, 28 bytes, no checksum."""

    ax: int
    ay: int
    az: int
    gx: int
    gy: int
    gz: int
    roll: int
    pitch: int
    yaw: int
    yy: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    millisecond: int
    TYPE: ClassVar[int] = 0x61
    LENGTH: ClassVar[int] = 28
    LAYOUT: ClassVar[Struct] = Struct("<9h6BH")


@dataclass(frozen=True, slots=True)
class RegisterReply71(Frame):
    """0x71: a start address and eight registers, the reply of models that stream 0x61; 20 bytes."""

    address: int
    values: tuple[int, ...]
    TYPE: ClassVar[int] = 0x71
    LENGTH: ClassVar[int] = 20
    LAYOUT: ClassVar[Struct] = Struct("<9H")

    @classmethod
    def from_payload(cls, frame: bytes) -> Self:
        """Decode a frame that was already checked."""
        address, *values = cls.LAYOUT.unpack_from(frame, 2)
        return cls(address, tuple(values))

    def _values(self) -> tuple[int, ...]:
        return (self.address, *self.values)


Packet: TypeAlias = (
    TimePacket
    | AccPacket
    | GyroPacket
    | AnglePacket
    | MagPacket
    | PortPacket
    | PressurePacket
    | LonLatPacket
    | GpsPacket
    | QuaternionPacket
    | GpsAccuracyPacket
    | RegisterReply
    | CombinedPacket
    | CombinedTimedPacket
    | RegisterReply71
)

STANDARD_PACKETS: Final[dict[int, type[Packet]]] = {
    kind.TYPE: kind
    for kind in (
        TimePacket,
        AccPacket,
        GyroPacket,
        AnglePacket,
        MagPacket,
        PortPacket,
        PressurePacket,
        LonLatPacket,
        GpsPacket,
        QuaternionPacket,
        GpsAccuracyPacket,
        RegisterReply,
    )
}
"""Packets that a checksum closes, by type byte."""

_BY_TYPE_AND_LENGTH: Final[dict[tuple[int, int], type[Packet]]] = {
    (kind.TYPE, kind.LENGTH): kind
    for kind in (
        *STANDARD_PACKETS.values(),
        CombinedPacket,
        CombinedTimedPacket,
        RegisterReply71,
    )
}


def decode_packet(data: bytes) -> Packet:
    """Decode one whole frame of any kind, told apart by type and length.

    Raises PacketError when it is none.
    """
    kind = _BY_TYPE_AND_LENGTH.get((data[1], len(data))) if len(data) > 1 else None
    if kind is None:
        raise PacketError(f"found {data.hex(' ') or 'nothing'}, expected one whole WT901 frame")
    return kind.from_bytes(data)
