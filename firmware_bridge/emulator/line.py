"""The serial line of an emulated WT901: when a host gets which bytes.

A byte leaves when the line is free and takes ten bit times. The host's adapter hands bytes over
in batches, a little late; on the way some are lost or damaged.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.emulator.physics import EmulatorErrors

BITS_PER_BYTE = 10


class SerialLine:
    """The bytes under way from sensor to host."""

    def __init__(self, errors: EmulatorErrors, rng: np.random.Generator) -> None:
        self._errors, self._rng = errors, rng
        self._batch_ns = round(errors.batch_s * 1e9)
        self._phase_ns = int(rng.integers(0, self._batch_ns)) if self._batch_ns else 0
        self._free_ns = 0
        self._last_arrival_ns = 0
        self._under_way: deque[tuple[int, bytes]] = deque()

    @property
    def next_arrival_ns(self) -> int | None:
        """When the host gets the next bytes; None when none are under way."""
        return self._under_way[0][0] if self._under_way else None

    def arrived_until(self, host_ns: int) -> list[tuple[int, bytes]]:
        """Take what the host has received by this time: (arrival_ns, bytes) in order."""
        arrived = []
        while self._under_way and self._under_way[0][0] <= host_ns:
            arrived.append(self._under_way.popleft())
        return arrived

    def send(self, data: bytes, host_ns: int, baud: int) -> None:
        """Put bytes on the line at this host time, or behind what is still being sent."""
        byte_ns = BITS_PER_BYTE * 1e9 / baud
        start_ns = max(host_ns, self._free_ns)
        in_ns = start_ns + np.rint(byte_ns * np.arange(1, len(data) + 1)).astype(np.int64)
        self._free_ns = int(in_ns[-1])
        survives, received = self._damage(data)
        due_ns = self._handed_over_ns(in_ns)
        for batch_ns in np.unique(due_ns).tolist():
            part = received[survives & (due_ns == batch_ns)].tobytes()
            late_ns = round(self._rng.exponential(1.0) * self._errors.jitter_s * 1e9)
            self._last_arrival_ns = max(batch_ns + late_ns, self._last_arrival_ns)
            if part:
                self._under_way.append((self._last_arrival_ns, part))

    def _handed_over_ns(self, in_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """When the adapter passes on bytes that came in at these times."""
        if not self._batch_ns:
            return np.full_like(in_ns, in_ns[-1])
        return in_ns + (self._phase_ns - in_ns) % self._batch_ns

    def _damage(self, data: bytes) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
        """Which bytes survive, and what has become of them."""
        errors = self._errors
        received = np.frombuffer(data, dtype=np.uint8)
        if errors.dropped_bytes == errors.corrupted_bytes == 0.0:
            return np.ones(len(data), dtype=np.bool_), received
        luck = self._rng.random((2, len(data)))
        noise = self._rng.integers(1, 256, len(data), dtype=np.uint8)
        corrupted = luck[1] < errors.corrupted_bytes
        return luck[0] >= errors.dropped_bytes, np.where(corrupted, received ^ noise, received)
