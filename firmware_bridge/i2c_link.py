"""The sensor on an I2C bus, made to look like one on a serial line.

There is no data-ready line. Each poll reads 28 bytes from register 0x33: milliseconds, specific
force, rate, field, angle, temperature; then the milliseconds once more. When the two differ the
chip took a sample in between and the block is torn: it is read again. Milliseconds that have not
moved since the last block mean that there is nothing new.

A new block leaves as a time, an acceleration and a rate packet. The time is counted on from the
milliseconds alone, which wrap every second: the host's clock says how many seconds have passed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol, cast

from firmware_bridge.commands import split_commands
from firmware_bridge.errors import LinkError
from firmware_bridge.packets import AccPacket, GyroPacket, RegisterReply, TimePacket
from firmware_bridge.registers import Register

DEFAULT_ADDRESS = 0x50
BLOCK_BYTES = 28
TORN_ATTEMPTS = 4
POLL_S = 0.0005
EARLY_S = 0.0003  # look this much earlier each time, so that some looks come just in time
SHORTEST_STEP_S = 0.005  # 200 Hz; a slower sensor is looked at in vain now and then
_EPOCH = datetime(2000, 1, 1)


class Bus(Protocol):
    """The part of smbus2.SMBus that is used; FakeSmBus has it too."""

    def read_i2c_block_data(
        self, i2c_addr: int, register: int, length: int, force: bool | None = None
    ) -> list[int]:
        """Read `length` bytes from a register on."""
        ...

    def write_i2c_block_data(
        self, i2c_addr: int, register: int, data: list[int], force: bool | None = None
    ) -> None:
        """Write bytes to a register."""
        ...

    def close(self) -> None:
        """Let go of the bus."""
        ...


def open_bus(number: int) -> Bus:
    """The kernel's /dev/i2c-NUMBER. Raises LinkError when there is none."""
    from smbus2 import SMBus

    try:
        return cast(Bus, SMBus(number))
    except OSError as problem:
        raise LinkError(f"/dev/i2c-{number}: {problem.strerror or problem}") from problem


class I2cLink:
    """A Link to a sensor on a bus, which it closes with itself.

    monotonic, sleep : the host's clock in seconds, and how to wait for it.
    """

    byte_time_ns = 0.0

    def __init__(
        self,
        bus: Bus,
        address: int = DEFAULT_ADDRESS,
        *,
        name: str = "i2c",
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bus, self._address = bus, address
        self._monotonic, self._sleep = monotonic, sleep
        self._name = f"{name} address 0x{address:02X}"
        self._pending = b""
        self._half_command = b""
        self.torn_reads = 0
        # The first milliseconds are only compared with: how old they are is not known, and a chip
        # that is just starting shows zeros. A missing sensor shows here, too.
        self._chip_ms = self._read_words(Register.MS, 1)[0]
        self._seen_s = monotonic()

    @property
    def name(self) -> str:
        """Bus and address."""
        return self._name

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        """Poll until the chip has a new sample or the time is over."""
        end_s = self._monotonic() + timeout_s
        while not self._pending:
            self._pending = self._poll()
            now_s = self._monotonic()
            if self._pending or now_s >= end_s:
                break
            due_s = self._seen_s + SHORTEST_STEP_S - EARLY_S
            self._sleep(min(max(due_s - now_s, POLL_S), end_s - now_s))
        data, self._pending = self._pending[:max_bytes], self._pending[max_bytes:]
        return data

    def write(self, data: bytes) -> None:
        """Carry out serial commands as register writes; a read command is answered with 0x5F."""
        commands, self._half_command = split_commands(self._half_command + data)
        for command in commands:
            if command.register == Register.READADDR:
                a, b, c, d = self._read_words(command.value, 4)
                self._pending += RegisterReply((a, b, c, d)).to_bytes()
                continue
            low_high = [command.value & 0xFF, command.value >> 8]
            try:
                self._bus.write_i2c_block_data(self._address, command.register, low_high)
            except OSError as problem:
                raise self._lost(problem) from problem

    def close(self) -> None:
        """Close the bus."""
        self._bus.close()

    def _poll(self) -> bytes:
        """The packets of a new sample, or nothing."""
        for _ in range(TORN_ATTEMPTS):
            looked_s = self._monotonic()
            words = self._read_words(Register.MS, BLOCK_BYTES // 2)
            if words[0] == self._chip_ms % 1000:
                return b""
            if self._read_words(Register.MS, 1)[0] == words[0]:
                return self._packets(words, looked_s)
            self.torn_reads += 1
        return b""

    def _packets(self, words: list[int], looked_s: float) -> bytes:
        ms, acc, gyro, temperature = words[0], words[1:4], words[4:7], words[13]
        clock = _EPOCH + timedelta(milliseconds=self._unwrapped_ms(ms, looked_s))
        date = (clock.year - 2000, clock.month, clock.day, clock.hour, clock.minute, clock.second)
        ax, ay, az, t = (_signed(word) for word in (*acc, temperature))
        gx, gy, gz = (_signed(word) for word in gyro)
        return (
            TimePacket(*date, clock.microsecond // 1000).to_bytes()
            + AccPacket(ax, ay, az, t).to_bytes()
            + GyroPacket(gx, gy, gz, 0).to_bytes()
        )

    def _unwrapped_ms(self, ms: int, looked_s: float) -> int:
        """Chip time that goes on where its milliseconds wrap."""
        step_ms = (ms - self._chip_ms) % 1000
        passed_ms = (looked_s - self._seen_s) * 1000.0
        step_ms += 1000 * max(round((passed_ms - step_ms) / 1000.0), 0)
        self._chip_ms += step_ms
        self._seen_s = looked_s
        return self._chip_ms

    def _read_words(self, register: int, count: int) -> list[int]:
        try:
            data = self._bus.read_i2c_block_data(self._address, register, 2 * count)
        except OSError as problem:
            raise self._lost(problem) from problem
        return [data[2 * k] | data[2 * k + 1] << 8 for k in range(count)]

    def _lost(self, problem: OSError) -> LinkError:
        return LinkError(f"{self._name}: {problem.strerror or problem}")


def _signed(word: int) -> int:
    return word - 0x10000 if word & 0x8000 else word
