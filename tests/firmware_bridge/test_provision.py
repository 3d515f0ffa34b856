"""Provisioning: over a pseudo-terminal with pyserial, and over the fake SMBus."""

from __future__ import annotations

import time
from functools import lru_cache
from itertools import pairwise

import pytest

from firmware_bridge.emulator import (
    EmulatorErrors,
    FakeSmBus,
    PtyEmulator,
    Wt901Emulator,
    hand_shake,
)
from firmware_bridge.emulator.output import Sample
from firmware_bridge.errors import LinkError, ProvisionError
from firmware_bridge.i2c_link import I2cLink
from firmware_bridge.link import Link
from firmware_bridge.packets import AccPacket, GyroPacket, Packet, TimePacket
from firmware_bridge.parser import Parser
from firmware_bridge.provision import (
    Provisioner,
    ProvisionPlan,
    ProvisionReport,
    baud_setting,
    rate_setting,
)
from firmware_bridge.registers import Baud, Register, ReturnContent, ReturnRate
from firmware_bridge.serial_link import SerialLink, detect_baud


def brief_pause(seconds: float) -> None:
    """A tenth of the pause a real sensor needs; the emulated one only needs its start-up."""
    time.sleep(max(seconds / 10.0, 0.15 if seconds > 0.1 else 0.0))


def test_the_plan_is_the_wanted_one() -> None:
    assert ProvisionPlan().settings == {
        0x02: 0x07,
        0x03: 0x0B,
        0x04: 0x06,
        0x1F: 0x00,
        0x61: 0x0000,
        0x63: 0xFFFF,
        0x24: 0x01,
    }


def test_a_plan_the_line_cannot_carry_is_refused() -> None:
    with pytest.raises(ProvisionError, match=r"found 57600, expected at least 73333 for 200 Hz"):
        ProvisionPlan(baud=Baud.BAUD_57600)
    five = ReturnContent(0x1F)
    with pytest.raises(ProvisionError, match="115200"):
        ProvisionPlan(content=five, baud=Baud.BAUD_115200)
    assert ProvisionPlan(content=five, baud=Baud.BAUD_230400).settings[Register.RSW] == 0x1F


def test_settings_by_their_numbers() -> None:
    assert rate_setting(200) is ReturnRate.HZ_200
    assert baud_setting(921600) is Baud.BAUD_921600
    with pytest.raises(ProvisionError, match="found 150 Hz, expected one of 1, 2, 5"):
        rate_setting(150)
    with pytest.raises(ProvisionError, match="found 0 Hz"):
        rate_setting(0)
    with pytest.raises(ProvisionError, match="found 4800, expected one of 9600"):
        baud_setting(4800)


def test_a_sensor_as_sold_becomes_one_for_the_camera() -> None:
    with PtyEmulator(Wt901Emulator(hand_shake())) as emulated:
        baud = detect_baud(emulated.port, (115200, 9600), listen_s=0.25)
        assert baud == 9600
        provisioner = Provisioner(lambda baud: SerialLink(emulated.port, baud), sleep=brief_pause)
        report = provisioner.apply(ProvisionPlan(baud=Baud.BAUD_230400), baud)
        assert emulated.emulator.baud == 230400
        assert emulated.emulator.rate_hz == 200.0
    assert report.problems() == []
    assert report.ok
    assert report.before[Register.RRATE] == ReturnRate.HZ_10
    assert report.after[Register.RRATE] == ReturnRate.HZ_200
    assert report.rate_hz == pytest.approx(200.0, rel=0.03)


def test_what_differs_is_reported() -> None:
    wanted = ProvisionPlan().settings
    after: dict[int, int | None] = {**wanted, Register.RRATE: 6, Register.AXIS6: None}
    report = ProvisionReport({}, after, wanted, rate_hz=10.0, wanted_rate_hz=200.0)
    assert not report.ok
    assert report.problems() == [
        "register RRATE (0x03): found 0x0006, expected 0x000B",
        "register AXIS6 (0x24): found no answer, expected 0x0001",
        "rate: found 10.0 Hz, expected 200 Hz",
    ]


class DeafSensor:
    """A port at which nobody answers."""

    name = "deaf"
    byte_time_ns = 0.0

    def __init__(self, clock: list[float]) -> None:
        self.clock, self.sent, self.closed = clock, b"", 0

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        self.clock[0] += timeout_s
        return b""

    def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed += 1


def test_a_sensor_that_never_answers_is_an_error_and_commands_keep_their_pace() -> None:
    clock = [0.0]
    pauses: list[float] = []
    link = DeafSensor(clock)
    provisioner = Provisioner(lambda baud: link, sleep=pauses.append, monotonic=lambda: clock[0])
    with pytest.raises(ProvisionError, match="silent after its restart"):
        provisioner.apply(ProvisionPlan(), 9600)
    assert all(pause >= 0.02 for pause in pauses)
    assert link.sent.count(bytes.fromhex("FFAA6988B5")) == len(ProvisionPlan().settings) + 2
    assert link.closed == 2


# --- I2C


class Bench:
    """A fake bus with a hand on its clock."""

    def __init__(self, emulator: Wt901Emulator) -> None:
        self.now_ns = 0
        self.bus = FakeSmBus(emulator, monotonic_ns=lambda: self.now_ns, sleep=self.pass_time)
        self.pass_time(0.2)
        self.link: Link = I2cLink(
            self.bus, monotonic=lambda: self.now_ns / 1e9, sleep=self.pass_time
        )

    def pass_time(self, seconds: float) -> None:
        self.now_ns += max(round(seconds * 1e9), 1)


@pytest.fixture
def bench() -> Bench:
    return Bench(perfect())


def perfect() -> Wt901Emulator:
    errors = EmulatorErrors.none()
    return Wt901Emulator(hand_shake(), errors=errors, registers=ProvisionPlan().settings)


@lru_cache
def true_samples() -> dict[int, Sample]:
    """What a perfect sensor measures, by its chip time."""
    emulator = perfect()
    emulator.power_on(0)
    samples = emulator.sensor.samples_until(6_000_000_000)
    return {s.clock.microsecond // 1000 + 1000 * s.clock.second: s for s in samples}


def assert_true_samples(packets: list[Packet]) -> None:
    sample = None
    for packet in packets:
        if isinstance(packet, TimePacket):
            sample = true_samples()[packet.chip_ms]
        elif isinstance(packet, AccPacket) and sample is not None:
            assert (packet.ax, packet.ay, packet.az) == sample.acc
        elif isinstance(packet, GyroPacket) and sample is not None:
            assert (packet.gx, packet.gy, packet.gz) == sample.gyro


def test_i2c_delivers_every_sample_once_and_whole(bench: Bench) -> None:
    parser = Parser()
    link = bench.link
    assert isinstance(link, I2cLink)
    packets = []
    while bench.now_ns < 5_200_000_000:
        packets += parser.feed(link.read(4096, 0.1))
        bench.pass_time(0.0001)
    times = [p.chip_ms for p in packets if isinstance(p, TimePacket)]
    steps = [later - earlier for earlier, later in pairwise(times)]
    assert set(steps) == {5}
    assert len(times) > 950
    assert parser.stats.skipped_bytes == 0
    assert_true_samples(packets)


def test_i2c_reads_torn_by_a_new_sample_are_read_again(bench: Bench) -> None:
    """A host that comes late finds a sample it has not seen, and sometimes the next one in it."""
    link = bench.link
    assert isinstance(link, I2cLink)
    parser = Parser()
    while bench.now_ns < 4_000_000_000:
        packets = parser.feed(link.read(4096, 0.01))
        bench.pass_time(0.00713)
        assert_true_samples(packets)
    assert link.torn_reads > 0


def test_i2c_finds_every_sample_again_after_it_came_late(bench: Bench) -> None:
    parser = Parser()
    for late_s in (0.0, 0.011, 0.0, 0.016, 0.0):
        bench.pass_time(late_s)
        parser.feed(bench.link.read(4096, 0.1))
    times = []
    while len(times) < 50:
        packets = parser.feed(bench.link.read(4096, 0.1))
        times += [p.chip_ms for p in packets if isinstance(p, TimePacket)]
    assert {later - earlier for earlier, later in pairwise(times)} == {5}


def test_i2c_time_goes_on_over_a_long_pause(bench: Bench) -> None:
    parser = Parser()
    first = parser.feed(bench.link.read(4096, 0.1))[0]
    bench.pass_time(7.3)
    bench.link.read(4096, 0.1)
    later = parser.feed(bench.link.read(4096, 0.1))[0]
    assert isinstance(first, TimePacket)
    assert isinstance(later, TimePacket)
    assert later.chip_ms - first.chip_ms == pytest.approx(7300, abs=15)


def test_provisioning_works_over_i2c_too() -> None:
    bench = Bench(Wt901Emulator(hand_shake(), errors=EmulatorErrors.none()))
    provisioner = Provisioner(
        lambda baud: I2cLink(
            bench.bus, monotonic=lambda: bench.now_ns / 1e9, sleep=bench.pass_time
        ),
        sleep=bench.pass_time,
        monotonic=lambda: bench.now_ns / 1e9,
    )
    bench.bus.close = lambda: None  # type: ignore[method-assign]  # one bus for both links
    report = provisioner.apply(ProvisionPlan(), 0)
    assert report.problems() == []


def test_a_missing_i2c_sensor_is_one_clear_line(bench: Bench) -> None:
    with pytest.raises(LinkError, match="address 0x51: Remote I/O error"):
        I2cLink(bench.bus, 0x51, name="/dev/i2c-1")
    bench.link.close()
    with pytest.raises(LinkError, match="Bad file descriptor"):
        bench.link.read(10, 0.1)
