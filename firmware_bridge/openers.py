"""How to open a sensor, again and again: what the reader and provisioning get their links from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from firmware_bridge.i2c_link import DEFAULT_ADDRESS, Bus, I2cLink
from firmware_bridge.i2c_link import open_bus as open_kernel_bus
from firmware_bridge.link import Link
from firmware_bridge.serial_link import LIKELY_BAUDS, SerialLink, detect_baud


class Opener(Protocol):
    """Opens one sensor; also an OpenLink. All raise LinkError while there is no sensor."""

    def __call__(self) -> Link:
        """Open it as it talks now."""
        ...

    def at(self, baud: int) -> Link:
        """Open it at this baud."""
        ...

    def baud(self) -> int:
        """The baud at which it talks now."""
        ...


class SerialOpener:
    """Opens a serial port, at a baud that is given or found.

    port : device path. baud : bits a second, None to find it every time, the last one first: a
        sensor that was replaced or reset may speak another.
    """

    def __init__(self, port: str, baud: int | None = None) -> None:
        self._port, self._fixed = port, baud
        self._bauds: tuple[int, ...] = LIKELY_BAUDS

    def __call__(self) -> Link:
        """Open the port at the sensor's baud."""
        return self.at(self.baud())

    def at(self, baud: int) -> Link:
        """Open the port at this baud."""
        return SerialLink(self._port, baud)

    def baud(self) -> int:
        """The baud that was given, or that at which frames come in."""
        if self._fixed is not None:
            return self._fixed
        found = detect_baud(self._port, self._bauds)
        self._bauds = (found, *(baud for baud in LIKELY_BAUDS if baud != found))
        return found


class I2cOpener:
    """Opens a sensor on the I2C bus of this number, where baud means nothing."""

    def __init__(
        self,
        bus: int,
        address: int = DEFAULT_ADDRESS,
        *,
        open_bus: Callable[[int], Bus] = open_kernel_bus,
    ) -> None:
        self._bus, self._address, self._open_bus = bus, address, open_bus

    def __call__(self) -> Link:
        """Open the bus and ask the sensor for a sign of life."""
        bus = self._open_bus(self._bus)
        return I2cLink(bus, self._address, name=f"/dev/i2c-{self._bus}")

    def at(self, baud: int) -> Link:
        """The same, at any baud."""
        return self()

    def baud(self) -> int:
        """None: 0."""
        return 0
