"""A WT901 that is not there, on a serial line; driven by any motion.

It keeps no clock: whoever runs it says what time it is. So the same object works in real time
behind a pseudo-terminal (`pseudo_terminal`), through its registers behind a fake SMBus
(`fake_smbus`), and as fast as it can, for tests and test sets (`stream`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from firmware_bridge.commands import split_commands
from firmware_bridge.emulator.line import SerialLine
from firmware_bridge.emulator.output import encode_cycle
from firmware_bridge.emulator.physics import EmulatorErrors, MotionFunction
from firmware_bridge.emulator.sensor import START_UP_S, EmulatedSensor
from firmware_bridge.packets import RegisterReply
from firmware_bridge.registers import Register

_REPLY_DELAY_NS = 1_000_000


class Wt901Emulator:
    """An emulated sensor and the serial line to it. Not thread-safe.

    motion : what it feels, on the host's clock. seed : of its noise and its line.
    errors : what is wrong with it; EmulatorErrors() is a usual specimen.
    registers : settings saved in it, on top of the factory's: a new sensor streams 10 Hz at 9600
        baud, `ProvisionPlan().settings` gives a provisioned one.
    """

    def __init__(
        self,
        motion: MotionFunction,
        *,
        seed: int = 0,
        errors: EmulatorErrors | None = None,
        registers: Mapping[int, int] | None = None,
    ) -> None:
        self.errors = EmulatorErrors() if errors is None else errors
        self.sensor = EmulatedSensor(
            motion, self.errors, np.random.default_rng((seed, 0)), registers
        )
        self._seed = seed
        self._line = SerialLine(self.errors, np.random.default_rng((seed, 1)))
        self._half_command = b""

    @property
    def baud(self) -> int:
        """Bits a second on the serial line."""
        return self.sensor.baud

    @property
    def rate_hz(self) -> float:
        """Samples a second that really come."""
        return self.sensor.rate_hz

    def power_on(self, host_ns: int) -> None:
        """Plug in at this host time: the chip's clock begins anew, the line is empty."""
        self.sensor.power_on(host_ns)
        self._line = SerialLine(self.errors, np.random.default_rng((self._seed, 1)))
        self._half_command = b""

    @property
    def next_event_ns(self) -> int | None:
        """When `arrived_until` has something to do again; None while nothing is to come."""
        times = (self._line.next_arrival_ns, self.sensor.next_sample_ns)
        return min((time for time in times if time is not None), default=None)

    def arrived_until(self, host_ns: int) -> list[tuple[int, bytes]]:
        """Run to this host time; what the host has received by then.

        Returns (arrival_ns, bytes) in order of arrival.
        """
        for sample in self.sensor.samples_until(host_ns):
            cycle = encode_cycle(sample, self.sensor.content)
            if cycle:
                self._line.send(cycle, sample.host_ns, self.baud)
        return self._line.arrived_until(host_ns)

    def receive(self, data: bytes, host_ns: int) -> None:
        """Take bytes of commands from the host, in pieces of any size, after arrived_until."""
        commands, self._half_command = split_commands(self._half_command + data)
        for command in commands:
            if command.register == Register.READADDR:
                a, b, c, d = (self.sensor.register(command.value + k) for k in range(4))
                reply = RegisterReply((a, b, c, d)).to_bytes()
                self._line.send(reply, host_ns + _REPLY_DELAY_NS, self.baud)
            else:
                self.sensor.command(command, host_ns)

    def stream(self, start_s: float, duration_s: float) -> list[tuple[int, bytes]]:
        """What a serial host would receive, without waiting for it.

        start_s : host monotonic seconds at which the sensor, just plugged in, takes its first
        sample. Returns (arrival_ns, bytes) in order of arrival, as in `arrived_until`.
        """
        start_ns = round(start_s * 1e9)
        self.power_on(start_ns - round(START_UP_S * 1e9))
        return self.arrived_until(start_ns + round(duration_s * 1e9))
