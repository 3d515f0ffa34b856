"""The emulated WT901 behind smbus2's interface: a bus with one sensor on it.

A read takes the time the bus needs (nine clocks a byte at 400 kHz), and a sample that is taken
meanwhile changes the registers under it: so reads can be torn, as on the real chip.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable

from firmware_bridge.commands import Command
from firmware_bridge.emulator.wt901 import Wt901Emulator
from firmware_bridge.registers import Register

_BYTE_NS = 9 * 1_000_000_000 // 400_000
_ADDRESSING_BYTES = 3  # address to write, register, address to read
_LONGEST_BLOCK = 32  # of an SMBus transfer


class FakeSmBus:
    """Stands in for smbus2.SMBus(bus).

    monotonic_ns : the host's clock, also that of the motion. sleep : waits on it, in seconds,
        while the bus is at work. Thread-safe.
    """

    def __init__(
        self,
        emulator: Wt901Emulator,
        *,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._sensor = emulator.sensor
        self._monotonic_ns, self._sleep = monotonic_ns, sleep
        self._lock = threading.Lock()
        self._open = True
        self._bus_free_ns = 0
        emulator.power_on(monotonic_ns())

    def read_i2c_block_data(
        self, i2c_addr: int, register: int, length: int, force: bool | None = None
    ) -> list[int]:
        """Read registers, low byte first: at most 32 bytes. Raises OSError as smbus2 does."""
        if not 0 < length <= _LONGEST_BLOCK:
            raise ValueError(f"length: found {length}, expected 1 to {_LONGEST_BLOCK}")
        with self._lock:
            self._begin(i2c_addr, _ADDRESSING_BYTES)
            data = bytearray()
            for offset in range((length + 1) // 2):
                self._sensor.samples_until(self._bus_free_ns)
                data += self._sensor.register(register + offset).to_bytes(2, "little")
                self._bus_free_ns += 2 * _BYTE_NS
            self._finish()
            return list(data[:length])

    def write_i2c_block_data(
        self, i2c_addr: int, register: int, data: list[int], force: bool | None = None
    ) -> None:
        """Write one register, low byte first. Raises OSError as smbus2 does."""
        low, high = data
        with self._lock:
            self._begin(i2c_addr, 4)
            self._sensor.samples_until(self._bus_free_ns)
            self._sensor.command(Command(register, low | high << 8), self._bus_free_ns)
            self._finish()

    def close(self) -> None:
        """Let go of the bus. Twice is fine."""
        self._open = False

    def _begin(self, i2c_addr: int, byte_count: int) -> None:
        """Wait for the bus, then spend the bytes that come before the data."""
        if not self._open:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if i2c_addr != self._sensor.register(Register.IICADDR):
            raise OSError(errno.EREMOTEIO, os.strerror(errno.EREMOTEIO))
        self._bus_free_ns = max(self._monotonic_ns(), self._bus_free_ns) + byte_count * _BYTE_NS

    def _finish(self) -> None:
        """Return to the host when the bus has done its work."""
        left_ns = self._bus_free_ns - self._monotonic_ns()
        if left_ns > 0:
            self._sleep(left_ns / 1e9)
