"""What the driver needs of a connection to the sensor: bytes in, bytes out.

Serial is bytes anyway. The I2C link polls registers and writes what it found as the standard
packets a serial sensor would have sent, and turns write commands into register writes; so one
parser, one reader and one provisioning plan serve both, and none of them knows the hardware.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, Protocol, TypeAlias


class Link(Protocol):
    """A connection to one sensor. Not thread-safe; close() twice is fine."""

    @property
    def name(self) -> str:
        """What to call the connection in messages: the port, the bus and address."""
        ...

    @property
    def byte_time_ns(self) -> float:
        """Time one byte takes on the wire; 0 where bytes do not come one after another.

        A byte that n others follow arrived at least n times this before the last of them.
        """
        ...

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        """Return what has arrived, at most max_bytes; wait up to timeout_s for the first byte.

        Empty when nothing came. Raises LinkError when the sensor is gone.
        """
        ...

    def write(self, data: bytes) -> None:
        """Send commands. Raises LinkError when the sensor is gone."""
        ...

    def close(self) -> None:
        """Let go of the port."""
        ...


OpenLink: TypeAlias = Callable[[], Link]
"""Opens a new connection; raises LinkError while the sensor is not there."""


class TeeLink:
    """A link that also keeps a copy of every byte received, for a raw capture."""

    def __init__(self, link: Link, copy_to: BinaryIO) -> None:
        self._link, self._copy_to = link, copy_to

    @property
    def name(self) -> str:
        """The name of the link underneath."""
        return self._link.name

    @property
    def byte_time_ns(self) -> float:
        """The byte time of the link underneath."""
        return self._link.byte_time_ns

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        """Read from the link underneath and copy what came."""
        data = self._link.read(max_bytes, timeout_s)
        self._copy_to.write(data)
        return data

    def write(self, data: bytes) -> None:
        """Write to the link underneath."""
        self._link.write(data)

    def close(self) -> None:
        """Close the link underneath; the file belongs to the caller."""
        self._link.close()
