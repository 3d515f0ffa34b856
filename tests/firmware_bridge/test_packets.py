"""The codec: vectors of real and made frames, round trips, and what it refuses."""

from __future__ import annotations

import math
from datetime import date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.frames import days_since_2000
from firmware_bridge.packets import (
    STANDARD_PACKETS,
    AccPacket,
    AnglePacket,
    CombinedPacket,
    CombinedTimedPacket,
    GpsAccuracyPacket,
    GpsPacket,
    GyroPacket,
    LonLatPacket,
    MagPacket,
    Packet,
    PacketError,
    PortPacket,
    PressurePacket,
    QuaternionPacket,
    RegisterReply,
    RegisterReply71,
    TimePacket,
    decode_packet,
)

steady = settings(deadline=None, derandomize=True)
PRINTED = 5e-7
"""The vectors are printed with six decimals."""

ALL_KINDS: list[type[Packet]] = [
    *STANDARD_PACKETS.values(),
    CombinedPacket,
    CombinedTimedPacket,
    RegisterReply71,
]

VECTORS = {
    "real acc": "55 51 00 00 00 00 00 00 B6 01 5D",
    "real gyro": "55 52 00 00 00 00 00 00 C9 89 F9",
    "real angle": "55 53 4E 05 36 FF 00 00 06 C1 F7",
    "real combined": "55 61 D8 FD 39 05 DE 05 BB 01 FF 00 FB FF AB 0F B1 ED 80 8A"
    " 1A 06 16 0E 29 01 19 03",
    "time": "55 50 18 05 11 0C 22 38 15 03 51",
    "acc": "55 51 FF FF 01 00 00 08 C4 09 7A",
    "gyro": "55 52 00 80 FF 7F 01 00 C4 09 73",
    "quaternion": "55 59 FF 7F 00 00 00 C0 00 00 EC",
    "mag": "55 54 88 FF F0 00 68 01 C4 09 56",
    "headers": "55 51 55 51 55 52 55 55 55 51 43",
}


def vector(name: str) -> Packet:
    return decode_packet(bytes.fromhex(VECTORS[name]))


@pytest.mark.parametrize("text", VECTORS.values(), ids=VECTORS)
def test_vectors_survive_a_round_trip(text: str) -> None:
    data = bytes.fromhex(text)
    packet = decode_packet(data)
    assert packet.to_bytes() == data
    assert type(packet).from_bytes(data) == packet


def test_real_standard_frames() -> None:
    assert vector("real acc") == AccPacket(0, 0, 0, 438)
    gyro = vector("real gyro")
    assert isinstance(gyro, GyroPacket)
    assert gyro.gyro_deg_s == (0, 0, 0)
    angle = vector("real angle")
    assert isinstance(angle, AnglePacket)
    assert angle.angle_deg == pytest.approx((7.459717, -1.109619, 0), abs=PRINTED)
    assert angle.version == 0xC106


def test_real_combined_frame() -> None:
    packet = vector("real combined")
    assert isinstance(packet, CombinedTimedPacket)
    assert packet.acc_g == pytest.approx((-0.269531, 0.652832, 0.733398), abs=PRINTED)
    assert packet.gyro_deg_s == pytest.approx((27.038574, 15.563965, -0.305176), abs=PRINTED)
    assert packet.angle_deg == pytest.approx((22.033081, -25.746460, -165.234375), abs=PRINTED)
    assert packet.as_datetime == datetime(2026, 6, 22, 14, 41, 1, 793_000)


def test_time() -> None:
    packet = vector("time")
    assert isinstance(packet, TimePacket)
    assert (packet.year, packet.month, packet.day) == (2024, 5, 17)
    assert packet.as_datetime == datetime(2024, 5, 17, 12, 34, 56, 789_000)
    span = datetime(2024, 5, 17, 12, 34, 56, 789_000) - datetime(2000, 1, 1)
    assert packet.chip_ms == round(span.total_seconds() * 1000)


def test_units() -> None:
    acc, gyro = vector("acc"), vector("gyro")
    assert isinstance(acc, AccPacket)
    assert acc.acc_g == pytest.approx((-0.000488, 0.000488, 1), abs=PRINTED)
    assert acc.temperature_c == 25
    assert isinstance(gyro, GyroPacket)
    assert gyro.gyro_deg_s == pytest.approx((-2000, 1999.938965, 0.061035), abs=PRINTED)
    assert gyro.gyro_rad_s == pytest.approx([math.radians(rate) for rate in gyro.gyro_deg_s])


def test_quaternion_and_magnetic_field() -> None:
    quaternion, mag = vector("quaternion"), vector("mag")
    assert isinstance(quaternion, QuaternionPacket)
    assert quaternion.quaternion == pytest.approx((0.999969, 0, -0.5, 0), abs=PRINTED)
    assert isinstance(mag, MagPacket)
    assert (mag.hx, mag.hy, mag.hz, mag.temperature_c) == (-120, 240, 360, 25)


def test_payload_full_of_headers() -> None:
    assert vector("headers") == AccPacket(0x5155, 0x5255, 0x5555, 0x5155)


def test_pressure_position_and_ports() -> None:
    pressure = PressurePacket.from_bytes(PressurePacket(101_325, -1_250).to_bytes())
    assert (pressure.pressure_pa, pressure.height_cm) == (101_325, -1_250)
    # 113 deg 32.12345 min east, 23 deg 30 min south, as NMEA writes them.
    place = LonLatPacket.from_bytes(LonLatPacket(1_133_212_345, -233_000_000).to_bytes())
    assert place.longitude_deg == pytest.approx(113 + 32.12345 / 60)
    assert place.latitude_deg == pytest.approx(-23.5)
    gps = GpsPacket(1234, 2705, 5_500)
    assert (gps.height_m, gps.course_deg, gps.speed_km_h) == (123.4, 270.5, 5.5)
    assert PortPacket(0, 1, 2, 65535).to_bytes()[8:10] == b"\xff\xff"
    assert GpsAccuracyPacket(9, 150, 90, 120).to_bytes()[:4] == bytes.fromhex("55 5A 09 00")


def test_register_replies() -> None:
    reply = RegisterReply.from_bytes(RegisterReply((7, 0x0B, 6, 0xFFFF)).to_bytes())
    assert reply.values == (7, 0x0B, 6, 0xFFFF)
    data = RegisterReply71(0x40, (1, 2, 3, 4, 5, 6, 7, 0x8000)).to_bytes()
    assert data[:6] == bytes.fromhex("55 71 40 00 01 00")
    assert RegisterReply71.from_bytes(data).address == 0x40


def test_lengths_and_types() -> None:
    kinds = {kind.TYPE: kind.LENGTH for kind in STANDARD_PACKETS.values()}
    assert kinds == dict.fromkeys([*range(0x50, 0x5B), 0x5F], 11)
    assert (CombinedPacket.LENGTH, CombinedTimedPacket.LENGTH) == (20, 28)


@steady
@given(kind=st.sampled_from(ALL_KINDS), data=st.data())
def test_every_payload_of_every_packet_survives(kind: type[Packet], data: st.DataObject) -> None:
    size = 8 if kind.LENGTH == 11 else kind.LENGTH - 2
    frame = bytes((0x55, kind.TYPE)) + data.draw(st.binary(min_size=size, max_size=size))
    if kind.LENGTH == 11:
        frame += bytes((sum(frame) % 256,))
    packet = decode_packet(frame)
    assert type(packet) is kind
    assert packet.to_bytes() == frame
    assert kind.from_bytes(packet.to_bytes()) == packet


@steady
@given(st.binary(max_size=40))
def test_other_bytes_are_refused_in_one_way_only(data: bytes) -> None:
    try:
        packet = decode_packet(data)
    except PacketError:
        return
    assert packet.to_bytes() == data


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("55 51 00 00 00 00 00 00 B6 01 5E", "found checksum 5e, expected 5d"),
        ("55 51 00", "found 3 bytes, expected 11"),
        ("55 52 00 00 00 00 00 00 B6 01 5E", "found header 55 52, expected 55 51"),
    ],
)
def test_a_wrong_frame_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(PacketError, match=message):
        AccPacket.from_bytes(bytes.fromhex(text))


@pytest.mark.parametrize(
    "packet", [AccPacket(40_000, 0, 0, 0), TimePacket(-1, 1, 1, 0, 0, 0, 0), RegisterReply71(0, ())]
)
def test_fields_that_do_not_fit_are_refused(packet: Packet) -> None:
    with pytest.raises(PacketError, match=type(packet).__name__):
        packet.to_bytes()


@steady
@given(st.dates(date(2000, 1, 1), date(2255, 12, 31)))
def test_the_calendar_is_the_gregorian_one(day: date) -> None:
    assert days_since_2000(day.year - 2000, day.month, day.day) == (day - date(2000, 1, 1)).days


def test_a_clock_never_set_still_counts() -> None:
    first, second = (TimePacket(0, 0, 0, 0, 0, 0, ms) for ms in (0, 5))
    assert second.chip_ms - first.chip_ms == 5
    assert first.as_datetime is None
