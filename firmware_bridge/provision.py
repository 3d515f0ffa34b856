"""Setting a WT901 up for the camera, and proof that it took the settings.

A new sensor streams 10 Hz at 9600 baud behind a 20 Hz low-pass and zeroes its gyroscope at rest.
The plan: unlock and write every setting, save, restart, talk to it at its new baud, read every
setting back and report what differs. Then the rate is measured, because a sensor on a line that
is too slow lowers its rate and says nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from firmware_bridge.commands import REBOOT, SAVE, UNLOCK, read_registers, write_register
from firmware_bridge.errors import ProvisionError
from firmware_bridge.link import Link
from firmware_bridge.packets import GyroPacket, RegisterReply
from firmware_bridge.parser import Parser
from firmware_bridge.registers import (
    Bandwidth,
    Baud,
    Register,
    ReturnContent,
    ReturnRate,
    needed_bits_per_s,
)

COMMAND_PAUSE_S = 0.05  # the vendor asks for 20 to 100 ms
RESTART_S = 0.5
REPLY_TIMEOUT_S = 0.3
REPLY_ATTEMPTS = 4
MEASURE_S = 1.0
USABLE_LINE_SHARE = 0.9  # five packets at 200 Hz would fill 95 % of 115200 baud: not enough
WANTED_CONTENT = ReturnContent.TIME | ReturnContent.ACC | ReturnContent.GYRO


@dataclass(frozen=True, slots=True)
class ProvisionPlan:
    """What the sensor shall be set to.

    Raises ProvisionError when the line is too slow for the stream.
    """

    rate: ReturnRate = ReturnRate.HZ_200
    baud: Baud = Baud.BAUD_115200
    bandwidth: Bandwidth = Bandwidth.HZ_256
    content: ReturnContent = WANTED_CONTENT

    def __post_init__(self) -> None:
        """Refuse what the sensor would silently do otherwise."""
        needed = needed_bits_per_s(self.content, self.rate.hz) / USABLE_LINE_SHARE
        if needed > self.baud.bits_per_s:
            raise ProvisionError(
                f"baud: found {self.baud.bits_per_s}, expected at least {needed:.0f} for "
                f"{self.rate.hz:g} Hz of {self.content.cycle_bytes} bytes"
            )

    @property
    def settings(self) -> dict[int, int]:
        """Register values, in the order in which they are written."""
        return {
            Register.RSW: int(self.content),
            Register.RRATE: int(self.rate),
            Register.BAUD: int(self.baud),
            Register.BANDWIDTH: int(self.bandwidth),
            Register.GYRO_STILL_THRESHOLD: 0x0000,  # these two switch the dead-band off
            Register.GYRO_AUTO_CAL_MS: 0xFFFF,
            Register.AXIS6: 1,  # no magnetometer in the attitude
        }


@dataclass(frozen=True, slots=True)
class ProvisionReport:
    """What provisioning did.

    before, after : register values; None where the sensor did not answer.
    wanted : the plan's values. rate_hz : measured after the restart. wanted_rate_hz : the plan's.
    """

    before: Mapping[int, int | None]
    after: Mapping[int, int | None]
    wanted: Mapping[int, int]
    rate_hz: float
    wanted_rate_hz: float

    @property
    def differed(self) -> dict[int, tuple[int, int | None]]:
        """Registers that do not hold what was written: (wanted, found)."""
        return {
            register: (value, self.after[register])
            for register, value in self.wanted.items()
            if self.after[register] != value
        }

    @property
    def rate_is_right(self) -> bool:
        """Whether the sensor streams at the rate it was set to, within a tenth."""
        return abs(self.rate_hz - self.wanted_rate_hz) <= 0.1 * self.wanted_rate_hz

    @property
    def ok(self) -> bool:
        """Whether the sensor is as planned."""
        return not self.differed and self.rate_is_right

    def problems(self) -> list[str]:
        """One line for everything that is not as planned."""
        lines = [
            f"register {register_name(register)}: found "
            f"{'no answer' if found is None else f'0x{found:04X}'}, expected 0x{wanted:04X}"
            for register, (wanted, found) in self.differed.items()
        ]
        if not self.rate_is_right:
            lines.append(f"rate: found {self.rate_hz:.1f} Hz, expected {self.wanted_rate_hz:g} Hz")
        return lines


def register_name(register: int) -> str:
    """Name and number of a register."""
    return f"{Register(register).name} (0x{register:02X})"


class Provisioner:
    """Carries out a plan on one sensor.

    open_link : opens a link at a baud (which I2C ignores).
    sleep, monotonic : injected, in seconds.
    """

    def __init__(
        self,
        open_link: Callable[[int], Link],
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_link, self._sleep, self._monotonic = open_link, sleep, monotonic

    def apply(self, plan: ProvisionPlan, current_baud: int) -> ProvisionReport:
        """Write, save, restart, read back, measure.

        Raises ProvisionError when the sensor does not answer after its restart, LinkError when
        the port is gone.
        """
        settings = plan.settings
        link = self._open_link(current_baud)
        try:
            before = self.read_back(link, settings)
            for register, value in settings.items():
                self._unlocked(link, write_register(register, value))
            self._unlocked(link, SAVE)
            self._unlocked(link, REBOOT)
        finally:
            link.close()
        self._sleep(RESTART_S)
        link = self._open_link(plan.baud.bits_per_s)
        try:
            after = self.read_back(link, settings)
            rate_hz = self.measure_rate_hz(link, max(MEASURE_S, 5.0 / max(plan.rate.hz, 0.5)))
        finally:
            link.close()
        if rate_hz == 0.0 and all(value is None for value in after.values()):
            raise ProvisionError(
                f"{link.name}: the sensor is silent after its restart; power it off and on, "
                "then run the command again"
            )
        return ProvisionReport(before, after, settings, rate_hz, plan.rate.hz)

    def read_back(self, link: Link, registers: Mapping[int, int]) -> dict[int, int | None]:
        """Read registers one by one; None for one that got no answer."""
        return {register: self._read_register(link, register) for register in registers}

    def measure_rate_hz(self, link: Link, duration_s: float = MEASURE_S) -> float:
        """Count gyroscope packets for a while; 0 when fewer than two came."""
        parser = Parser()
        seen: list[tuple[float, int]] = []
        end_s = self._monotonic() + duration_s
        while (left_s := end_s - self._monotonic()) > 0:
            parser.feed(link.read(4096, left_s))
            count = parser.stats.frames.get(GyroPacket.TYPE, 0)
            if count and (not seen or count > seen[-1][1]):
                seen.append((self._monotonic(), count))
        if len(seen) < 2:
            return 0.0
        (first_s, first), (last_s, last) = seen[0], seen[-1]
        return (last - first) / (last_s - first_s)

    def _unlocked(self, link: Link, command: bytes) -> None:
        """Send one command behind an unlock, at the pace the sensor can follow."""
        for part in (UNLOCK, command):
            link.write(part)
            self._sleep(COMMAND_PAUSE_S)

    def _read_register(self, link: Link, register: int) -> int | None:
        """Ask until an answer comes.

        Answers carry no address: whatever is still on its way is thrown away before asking.
        """
        for _ in range(REPLY_ATTEMPTS):
            while link.read(4096, 0.0):
                pass
            parser = Parser()
            link.write(read_registers(register))
            end_s = self._monotonic() + REPLY_TIMEOUT_S
            while (left_s := end_s - self._monotonic()) > 0:
                for packet in parser.feed(link.read(4096, left_s)):
                    if isinstance(packet, RegisterReply):
                        return packet.values[0]
        return None


def provision(
    open_link: Callable[[int], Link],
    plan: ProvisionPlan,
    current_baud: int,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> ProvisionReport:
    """Set a sensor up and report what differed; see Provisioner.apply."""
    return Provisioner(open_link, sleep=sleep).apply(plan, current_baud)


def rate_setting(rate_hz: float) -> ReturnRate:
    """The setting for a rate the sensor knows. Raises ProvisionError for any other."""
    for rate in ReturnRate:
        if rate.hz and rate.hz == rate_hz:
            return rate
    known = ", ".join(f"{rate.hz:g}" for rate in ReturnRate if rate.hz)
    raise ProvisionError(f"rate: found {rate_hz:g} Hz, expected one of {known}")


def baud_setting(bits_per_s: int) -> Baud:
    """The setting for a baud the sensor knows. Raises ProvisionError for any other."""
    for baud in Baud:
        if baud.bits_per_s == bits_per_s:
            return baud
    known = ", ".join(str(baud.bits_per_s) for baud in Baud)
    raise ProvisionError(f"baud: found {bits_per_s}, expected one of {known}")
