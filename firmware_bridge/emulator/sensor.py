"""The sensor inside an emulated WT901: settings, sampling and the chip's clock, no connector.

It lives on whatever host clock it is asked with and never looks at one itself: the same seed and
the same commands at the same times give the same readings.

    chip time = (host time - start) (1 + drift)      samples at whole periods of chip time
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from math import atan2, degrees, hypot
from typing import TypeVar

import numpy as np

from firmware_bridge.commands import Command
from firmware_bridge.emulator.output import Sample, measured_registers
from firmware_bridge.emulator.physics import (
    EmulatorErrors,
    Filters,
    MotionFunction,
    SensorPhysics,
)
from firmware_bridge.emulator.settings import RegisterFile
from firmware_bridge.frames import GYRO_SCALE_DEG_S
from firmware_bridge.provision import USABLE_LINE_SHARE
from firmware_bridge.registers import (
    FACTORY_SETTINGS,
    Bandwidth,
    Baud,
    Register,
    ReturnContent,
    ReturnRate,
    SaveAction,
    needed_bits_per_s,
)

_Setting = TypeVar("_Setting", Baud, ReturnRate, Bandwidth)

START_UP_S = 0.1
"""Silence between power (or a restart) and the first sample."""

CLOCK_AT_START = datetime(2015, 1, 1)
"""What the chip's calendar says when it starts without a battery."""

_BLOCK = 16  # samples computed at once; a changed setting discards what is left of them


class EmulatedSensor:
    """An emulated sensor: write its registers, take its samples.

    motion : what it feels, on the host's clock. errors : what is wrong with it. rng : its noise.
    registers : settings saved in it, on top of the factory's.
    """

    def __init__(
        self,
        motion: MotionFunction,
        errors: EmulatorErrors,
        rng: np.random.Generator,
        registers: Mapping[int, int] | None = None,
    ) -> None:
        self._rate_of_clock = 1.0 + errors.clock_drift_ppm * 1e-6
        self._obeys_dead_band_registers = errors.obeys_dead_band_registers
        self._registers = RegisterFile(registers)
        self._physics = SensorPhysics(motion, errors, rng)
        self._start_ns: int | None = None
        self._chip_ns = 0
        self._clock_at_start = CLOCK_AT_START
        self._block: deque[tuple[tuple[int, int, int], tuple[int, int, int]]] = deque()
        self._yaw_deg = 0.0
        self._latest: Sample | None = None
        self._take_settings()

    def power_on(self, host_ns: int) -> None:
        """Start, or start again, at this host time: the chip's clock begins anew."""
        self._registers.restart()
        self._start_ns = host_ns + round(START_UP_S * 1e9)
        self._chip_ns = 0
        self._clock_at_start = CLOCK_AT_START
        self._latest = None
        self._take_settings()

    def command(self, command: Command, host_ns: int) -> None:
        """Take a write command at this host time, when all earlier samples have been taken."""
        if self._start_ns is None or host_ns < self._start_ns:
            return  # still starting: nobody listens
        register, value = command.register, command.value
        if not self._registers.write(register, value, host_ns / 1e9):
            return
        if register == Register.SAVE and value in (SaveAction.REBOOT, SaveAction.FACTORY):
            self.power_on(host_ns)
        elif Register.YYMM <= register <= Register.MS:
            self._set_clock(register, value)
        else:
            self._take_settings()

    def register(self, address: int) -> int:
        """What a read of one register returns: 16 bits."""
        if self._latest is not None and Register.YYMM <= address <= Register.TEMP:
            return measured_registers(self._latest)[address - Register.YYMM]
        return self._registers[address] & 0xFFFF

    @property
    def next_sample_ns(self) -> int | None:
        """Host time of the next sample; None while none will come."""
        if self._start_ns is None or self.rate_hz == 0.0:
            return None
        return self._start_ns + round(self._chip_ns / self._rate_of_clock)

    def samples_until(self, host_ns: int) -> list[Sample]:
        """Take all samples that are due at this host time."""
        samples = []
        while (next_ns := self.next_sample_ns) is not None and next_ns <= host_ns:
            self._latest = self._take_sample(next_ns)
            samples.append(self._latest)
        return samples

    def _take_sample(self, host_ns: int) -> Sample:
        if not self._block:
            self._fill_block(host_ns)
        gyro, acc = self._block.popleft()
        clock = self._clock_at_start + timedelta(milliseconds=self._chip_ns // 1_000_000)
        self._chip_ns += self._period_ns
        return Sample(host_ns, clock, gyro, acc, self._attitude(gyro, acc))

    def _fill_block(self, host_ns: int) -> None:
        period_s = self._period_ns * 1e-9 / self._rate_of_clock
        t_s = host_ns / 1e9 + period_s * np.arange(_BLOCK, dtype=np.float64)
        gyro, acc = self._physics.read(t_s, period_s, self._filters)
        for (wx, wy, wz), (ax, ay, az) in zip(gyro.tolist(), acc.tolist(), strict=True):
            self._block.append(((wx, wy, wz), (ax, ay, az)))

    def _take_settings(self) -> None:
        """Work out what the registers, as they are now, mean for the samples to come."""
        registers = self._registers
        self.content = ReturnContent(registers[Register.RSW])
        self.baud = _meaning(Baud, registers.at_start(Register.BAUD)).bits_per_s
        wanted_hz = _meaning(ReturnRate, registers.at_start(Register.RRATE)).hz
        self.rate_hz = _possible_rate_hz(wanted_hz, self.content, self.baud)
        self._period_ns = round(1e9 / self.rate_hz) if self.rate_hz else 0
        trap = registers if self._obeys_dead_band_registers else RegisterFile()
        self._filters = Filters(
            _meaning(Bandwidth, registers[Register.BANDWIDTH]),
            trap[Register.GYRO_STILL_THRESHOLD] / 1000.0,
            trap[Register.GYRO_AUTO_CAL_MS] / 1000.0,
        )
        self._block.clear()

    def _attitude(
        self, gyro: tuple[int, int, int], acc: tuple[int, int, int]
    ) -> tuple[int, int, int]:
        """Roll and pitch of gravity, yaw from the rate: enough for what asks for an angle."""
        self._yaw_deg += gyro[2] * GYRO_SCALE_DEG_S * self._period_ns * 1e-9
        ax, ay, az = acc
        roll_deg = degrees(atan2(ay, az))
        pitch_deg = degrees(atan2(-ax, hypot(ay, az)))
        return _angle_counts(roll_deg), _angle_counts(pitch_deg), _angle_counts(self._yaw_deg)

    def _set_clock(self, register: int, value: int) -> None:
        now = self._clock_at_start + timedelta(milliseconds=self._chip_ns // 1_000_000)
        low, high = value & 0xFF, value >> 8
        try:
            if register == Register.YYMM:
                changed = now.replace(year=2000 + low, month=high)
            elif register == Register.DDHH:
                changed = now.replace(day=low, hour=high)
            elif register == Register.MMSS:
                changed = now.replace(minute=low, second=high)
            else:
                changed = now.replace(microsecond=value * 1000)
        except ValueError:
            return  # no such date: the chip keeps its own
        self._clock_at_start += changed - now


def _angle_counts(angle_deg: float) -> int:
    turned = (angle_deg + 180.0) % 360.0 - 180.0
    return min(round(turned / 180.0 * 32768.0), 32767)


def _meaning(setting: type[_Setting], value: int) -> _Setting:
    """The meaning of a register's value; one that has none acts like the factory's."""
    try:
        return setting(value)
    except ValueError:
        register = {Baud: Register.BAUD, ReturnRate: Register.RRATE}.get(setting)
        return setting(FACTORY_SETTINGS[register or Register.BANDWIDTH])


def _possible_rate_hz(wanted_hz: float, content: ReturnContent, baud: int) -> float:
    """The rate a real module falls back to, without a word, when the line is too slow for it."""
    slower_hz = (rate.hz for rate in ReturnRate if rate.hz <= wanted_hz)
    usable = baud * USABLE_LINE_SHARE
    return max((hz for hz in slower_hz if needed_bits_per_s(content, hz) <= usable), default=0.0)
