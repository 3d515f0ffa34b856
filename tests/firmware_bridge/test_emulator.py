"""The emulated sensor against the facts about the real one, without real time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware_bridge.commands import (
    FACTORY,
    REBOOT,
    SAVE,
    UNLOCK,
    read_registers,
    write_register,
)
from firmware_bridge.emulator import (
    GROUP_DELAY_S,
    EmulatorErrors,
    MotionFunction,
    Wt901Emulator,
    hand_shake,
    still,
)
from firmware_bridge.packets import AccPacket, GyroPacket, Packet, RegisterReply, TimePacket
from firmware_bridge.parser import Parser
from firmware_bridge.provision import ProvisionPlan
from firmware_bridge.registers import Bandwidth, Baud, Register, ReturnContent, ReturnRate

S = 1_000_000_000
START_S = 1234.5
PROVISIONED = ProvisionPlan().settings
PERFECT = EmulatorErrors.none()


def constant(rate_deg_s: float, acc_g: tuple[float, float, float] = (0, 0, 1)) -> MotionFunction:
    def motion(t_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        gyro = np.zeros((len(t_s), 3))
        gyro[:, 2] = np.radians(rate_deg_s)
        return gyro, np.tile(np.asarray(acc_g, dtype=float), (len(t_s), 1))

    return motion


def received(chunks: list[tuple[int, bytes]]) -> list[Packet]:
    return Parser().feed(b"".join(data for _, data in chunks))


def rates(chunks: list[tuple[int, bytes]]) -> NDArray[np.float64]:
    return np.array([p.gyro_deg_s for p in received(chunks) if isinstance(p, GyroPacket)])


class Sensor:
    """An emulator with a hand on its clock."""

    def __init__(self, emulator: Wt901Emulator) -> None:
        self.emulator, self.now_ns = emulator, 0
        emulator.power_on(0)
        self.run(0.2)

    def run(self, duration_s: float) -> list[Packet]:
        self.now_ns += round(duration_s * S)
        return received(self.emulator.arrived_until(self.now_ns))

    def send(self, *commands: bytes) -> None:
        for command in commands:
            self.emulator.receive(command, self.now_ns)
            self.run(0.02)

    def ask(self, register: int) -> int:
        self.emulator.receive(read_registers(register), self.now_ns)
        replies = [p for p in self.run(0.1) if isinstance(p, RegisterReply)]
        assert len(replies) == 1
        return replies[0].values[0]


@pytest.fixture
def factory_new() -> Sensor:
    return Sensor(Wt901Emulator(still, errors=PERFECT))


def test_a_new_sensor_streams_what_the_factory_set(factory_new: Sensor) -> None:
    packets = factory_new.run(2.0)
    assert factory_new.emulator.baud == 9600
    assert {p.TYPE for p in packets} == {0x51, 0x52, 0x53, 0x54}
    assert sum(isinstance(p, GyroPacket) for p in packets) == 20


def test_writes_need_an_unlock_which_lasts_ten_seconds(factory_new: Sensor) -> None:
    write = write_register(Register.BANDWIDTH, Bandwidth.HZ_256)
    factory_new.send(write)
    assert factory_new.ask(Register.BANDWIDTH) == Bandwidth.HZ_20
    factory_new.send(UNLOCK)
    factory_new.run(10.1)
    factory_new.send(write)
    assert factory_new.ask(Register.BANDWIDTH) == Bandwidth.HZ_20
    factory_new.send(UNLOCK)
    factory_new.run(9.0)
    factory_new.send(write)
    assert factory_new.ask(Register.BANDWIDTH) == Bandwidth.HZ_256


def test_rate_and_baud_wait_for_save_and_restart(factory_new: Sensor) -> None:
    emulator = factory_new.emulator
    factory_new.send(UNLOCK, write_register(Register.RRATE, ReturnRate.HZ_200))
    factory_new.send(write_register(Register.BAUD, Baud.BAUD_230400))
    assert factory_new.ask(Register.RRATE) == ReturnRate.HZ_200
    assert (emulator.rate_hz, emulator.baud) == (10.0, 9600)
    factory_new.send(REBOOT)  # not saved: forgotten
    factory_new.run(0.2)
    assert factory_new.ask(Register.RRATE) == ReturnRate.HZ_10
    factory_new.send(UNLOCK, write_register(Register.RRATE, ReturnRate.HZ_200))
    factory_new.send(write_register(Register.BAUD, Baud.BAUD_230400), SAVE, REBOOT)
    assert (emulator.rate_hz, emulator.baud) == (200.0, 230400)
    factory_new.run(0.2)
    factory_new.send(UNLOCK, FACTORY)
    assert (emulator.rate_hz, emulator.baud) == (10.0, 9600)


def test_a_slow_line_lowers_the_rate_but_not_the_register() -> None:
    slow = {**PROVISIONED, Register.BAUD: Baud.BAUD_9600}
    sensor = Sensor(Wt901Emulator(still, errors=PERFECT, registers=slow))
    assert sensor.emulator.rate_hz == 20.0
    assert sensor.ask(Register.RRATE) == ReturnRate.HZ_200


@pytest.mark.parametrize("content", [ReturnContent.GYRO, ReturnContent(0x07), ReturnContent(0x7FF)])
def test_every_content_can_be_asked_for(content: ReturnContent) -> None:
    registers = {
        **PROVISIONED,
        Register.RSW: int(content),
        Register.RRATE: ReturnRate.HZ_10,
    }
    emulator = Wt901Emulator(hand_shake(), errors=PERFECT, registers=registers)
    packets = received(emulator.stream(START_S, 1.0))
    assert [p.TYPE for p in packets[: len(content.packet_types)]] == list(content.packet_types)


@pytest.mark.parametrize("rate", [ReturnRate.OFF, ReturnRate.ONCE])
def test_a_sensor_that_is_off_still_answers(rate: ReturnRate) -> None:
    registers = {**PROVISIONED, Register.RRATE: int(rate)}
    sensor = Sensor(Wt901Emulator(still, errors=PERFECT, registers=registers))
    assert sensor.emulator.next_event_ns is None
    assert sensor.ask(Register.AXIS6) == 1


def test_the_chip_clock_counts_samples_and_can_be_set() -> None:
    sensor = Sensor(Wt901Emulator(still, registers=PROVISIONED))
    times = [p.chip_ms for p in sensor.run(1.0) if isinstance(p, TimePacket)]
    assert set(np.diff(times)) == {5}
    sensor.send(UNLOCK, write_register(Register.YYMM, 26 | 6 << 8))
    sensor.send(write_register(Register.DDHH, 22 | 14 << 8))
    sensor.send(write_register(Register.MMSS, 41 | 1 << 8), write_register(Register.MS, 793))
    sensor.send(write_register(Register.YYMM, 26 | 13 << 8))  # no such month: ignored
    last = [p for p in sensor.run(0.1) if isinstance(p, TimePacket)][-1]
    assert (last.year, last.month, last.day, last.hour, last.minute) == (2026, 6, 22, 14, 41)
    assert sensor.ask(Register.YYMM) == 26 | 6 << 8


@pytest.mark.parametrize("drift_ppm", [-80.0, 50.0])
def test_samples_lie_at_whole_periods_of_a_drifting_clock(drift_ppm: float) -> None:
    errors = EmulatorErrors(clock_drift_ppm=drift_ppm, batch_s=0.0, jitter_s=0.0)
    emulator = Wt901Emulator(still, errors=errors, registers=PROVISIONED)
    arrivals = np.array([t for t, _ in emulator.stream(START_S, 20.0)])
    wire_ns = 33 * 10 * 1e9 / 115200
    expected = START_S * 1e9 + wire_ns + np.arange(len(arrivals)) * 5e6 / (1 + drift_ppm * 1e-6)
    assert np.abs(arrivals - expected).max() < 2


@pytest.mark.parametrize("bandwidth", list(Bandwidth))
def test_the_low_pass_delays_by_the_data_sheet(bandwidth: Bandwidth) -> None:
    """A rate that rises evenly comes out late by the group delay, and otherwise unchanged."""
    slope_deg_s2 = 1000.0

    def ramp(t_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        gyro = np.radians(slope_deg_s2 * (t_s - START_S))[:, None] * (0, 0, 1)
        return gyro, np.tile([0.0, 0.0, 1.0], (len(t_s), 1))

    registers = {**PROVISIONED, Register.BANDWIDTH: int(bandwidth)}
    chunks = Wt901Emulator(ramp, errors=PERFECT, registers=registers).stream(START_S, 1.0)
    measured = rates(chunks)[:, 2]
    late_s = 0.005 * np.arange(len(measured)) - measured / slope_deg_s2
    assert late_s.mean() == pytest.approx(GROUP_DELAY_S[bandwidth], abs=5e-6)


def test_the_low_pass_takes_fast_motion_away() -> None:
    def amplitude(bandwidth: Bandwidth) -> float:
        def vibration(t_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            gyro = np.radians(100.0 * np.sin(2 * np.pi * 42.0 * t_s))[:, None] * (0, 0, 1)
            return gyro, np.zeros((len(t_s), 3))

        registers = {**PROVISIONED, Register.BANDWIDTH: int(bandwidth)}
        chunks = Wt901Emulator(vibration, errors=PERFECT, registers=registers).stream(START_S, 2.0)
        return float(rates(chunks)[:, 2].std()) * np.sqrt(2.0) / 100.0

    assert amplitude(Bandwidth.HZ_256) > 0.98
    assert amplitude(Bandwidth.HZ_42) == pytest.approx(np.sqrt(0.5), abs=0.02)
    assert amplitude(Bandwidth.HZ_20) < 0.5


def test_noise_and_bias_are_those_of_the_real_capture() -> None:
    registers = {**PROVISIONED, Register.BANDWIDTH: int(Bandwidth.HZ_20)}
    measured = rates(Wt901Emulator(still, registers=registers).stream(START_S, 20.0))
    assert measured.mean(axis=0) == pytest.approx(EmulatorErrors().gyro_bias_deg_s, abs=0.005)
    assert measured.std(axis=0) == pytest.approx(np.full(3, 0.043), abs=0.006)


def test_the_dead_band_zeroes_a_still_sensor_until_it_turns() -> None:
    trapped = {**PROVISIONED, Register.GYRO_STILL_THRESHOLD: 50, Register.GYRO_AUTO_CAL_MS: 1000}

    def rest_then_turn(
        t_s: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        gyro = np.where(t_s > START_S + 3.0, np.radians(5.0), 0.0)[:, None] * (0, 0, 1)
        return gyro, np.tile([0.0, 0.0, 1.0], (len(t_s), 1))

    measured = rates(Wt901Emulator(rest_then_turn, registers=trapped).stream(START_S, 5.0))
    zero = ~measured.any(axis=1)
    assert not zero[:199].any()
    assert zero[205:600].all()
    assert not zero[605:].any()
    assert measured[700:, 2].mean() == pytest.approx(5.0 - 0.35, abs=0.05)


@pytest.mark.parametrize("obeys", [True, False])
def test_the_dead_band_can_be_switched_off_where_the_firmware_obeys(obeys: bool) -> None:
    errors = EmulatorErrors(obeys_dead_band_registers=obeys)
    emulator = Wt901Emulator(still, errors=errors, registers=PROVISIONED)
    zero = ~rates(emulator.stream(START_S, 3.0)).any(axis=1)
    assert zero.any() != obeys


def test_readings_are_rounded_and_stick_at_the_end_of_the_range() -> None:
    motion = constant(3000.0, (20.0, -20.0, 1.0))
    packets = received(
        Wt901Emulator(motion, errors=PERFECT, registers=PROVISIONED).stream(START_S, 0.1)
    )
    assert {p.gz for p in packets if isinstance(p, GyroPacket)} == {32767}
    assert {(p.ax, p.ay, p.az) for p in packets if isinstance(p, AccPacket)} == {
        (32767, -32768, 2048)
    }


def test_lost_and_damaged_bytes_come_at_their_rates() -> None:
    clean = Wt901Emulator(hand_shake(), errors=PERFECT, registers=PROVISIONED)
    sent = b"".join(data for _, data in clean.stream(START_S, 20.0))
    lossy = Wt901Emulator(
        hand_shake(),
        errors=EmulatorErrors(dropped_bytes=0.01, corrupted_bytes=0.02),
        registers=PROVISIONED,
    )
    parser = Parser()
    got = b"".join(data for _, data in lossy.stream(START_S, 20.0))
    parser.feed(got)
    assert len(got) / len(sent) == pytest.approx(0.99, abs=0.002)
    good = parser.stats.frame_count / (len(sent) / 11)
    assert good == pytest.approx(0.97**11, abs=0.03)


@pytest.mark.parametrize("batch_s", [0.001, 0.016])
def test_batches_arrive_on_a_grid_in_order_and_never_early(batch_s: float) -> None:
    errors = EmulatorErrors(batch_s=batch_s, jitter_s=0.0, clock_drift_ppm=0.0)
    emulator = Wt901Emulator(still, errors=errors, registers=PROVISIONED)
    arrivals = np.array([t for t, _ in emulator.stream(START_S, 2.0)])
    assert set((np.diff(arrivals) % round(batch_s * 1e9)).tolist()) == {0}
    assert arrivals.min() > START_S * 1e9


def test_the_same_seed_gives_the_same_stream_in_one_go_or_in_steps() -> None:
    def make() -> Wt901Emulator:
        errors = EmulatorErrors(dropped_bytes=0.001, corrupted_bytes=0.001)
        return Wt901Emulator(hand_shake(), seed=9, errors=errors, registers=PROVISIONED)

    at_once = make().stream(START_S, 2.0)
    stepwise = make()
    chunks = stepwise.stream(START_S, 0.0)
    for k in range(1, 2001):
        chunks += stepwise.arrived_until(round(START_S * 1e9) + k * 1_000_000)
    assert chunks == at_once


def test_noise_on_the_command_line_is_ignored(factory_new: Sensor) -> None:
    factory_new.send(b"\x00\xff", UNLOCK[1:], b"\xff\xff\xaa\x69\x88\xb5")
    factory_new.send(write_register(Register.AXIS6, 1)[:2], write_register(Register.AXIS6, 1)[2:])
    assert factory_new.ask(Register.AXIS6) == 1


def test_commands_during_the_start_are_lost() -> None:
    emulator = Wt901Emulator(still, errors=PERFECT)
    emulator.power_on(0)
    emulator.receive(UNLOCK + write_register(Register.AXIS6, 1), 50_000_000)
    emulator.arrived_until(S)
    emulator.receive(write_register(Register.AXIS6, 1), S)
    assert emulator.sensor.register(Register.AXIS6) == 0


@pytest.mark.parametrize("make", [still, hand_shake(6.0, seed=3)])
def test_shipped_motions_keep_one_g_and_their_size(make: Callable[..., object]) -> None:
    t_s = np.linspace(0.0, 60.0, 6000)
    gyro_rad_s, acc_g = make(t_s)  # type: ignore[misc]
    assert np.linalg.norm(acc_g, axis=1) == pytest.approx(np.ones(len(t_s)))
    rms_deg_s = np.degrees(np.sqrt((gyro_rad_s**2).mean(axis=0)))
    expected = 0.0 if make is still else 6.0
    assert rms_deg_s == pytest.approx(np.full(3, expected), abs=0.1)
