"""Packets to samples: the time, acceleration and rate packets of one cycle belong together.

The sensor sends the packets of a cycle in the order of their types, so a type that does not rise
begins a new cycle, and so does one that does not follow the last directly: what was lost between
them may have been the end of one cycle and the beginning of another. A cycle that is not whole
is dropped: a rate with the time of its neighbour would be wrong, a missing sample is only missing.

What a stream lacks altogether is not waited for: without acceleration packets the samples have
none, without time packets a counted clock stands in (`CountedClock`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from firmware_bridge.packets import AccPacket, GyroPacket, Packet, RegisterReply, TimePacket

ABSENT_AFTER = 50
"""Cycles without a packet type after which the stream is taken to have none of it."""

RATES_HZ = (1, 2, 5, 10, 20, 50, 100, 200)


class RawSample(NamedTuple):
    """One cycle in the sensor's integers.

    chip_ms : the chip's clock, None when the stream has none. arrival_ns : CLOCK_MONOTONIC by
    which its first byte had arrived. acc : None when the stream has none.
    """

    chip_ms: int | None
    arrival_ns: int
    gyro: tuple[int, int, int]
    acc: tuple[int, int, int] | None


class Received(NamedTuple):
    """A packet from the wire.

    arrival_ns : CLOCK_MONOTONIC by which its first byte had arrived.
    follows : whether it came directly behind the packet before it, nothing lost between.
    """

    packet: Packet
    arrival_ns: int
    follows: bool


class CycleAssembler:
    """Groups packets into samples.

    incomplete : cycles dropped because a packet was missing that the stream usually has.
    """

    def __init__(self) -> None:
        self.incomplete = 0
        self._time_ms: int | None = None
        self._acc: tuple[int, int, int] | None = None
        self._arrival_ns = 0
        self._last_type = 0xFF
        self._since_time = 0
        self._since_acc = 0
        self._seen = 0

    @property
    def has_time(self) -> bool:
        """Whether the stream carries the chip's clock, as far as is known."""
        return self._since_time < ABSENT_AFTER

    def add(self, packets: Iterable[Received]) -> list[RawSample]:
        """Take packets; returns the samples that are complete now."""
        samples = []
        for packet, arrival_ns, follows in packets:
            if isinstance(packet, RegisterReply) and follows:
                continue  # an answer slips in between the packets of a cycle
            kind = packet.TYPE
            if kind <= self._last_type or not follows:
                self._time_ms = self._acc = None
                self._arrival_ns = arrival_ns
            self._last_type = kind
            if isinstance(packet, TimePacket):
                if _is_possible(packet):
                    self._time_ms = packet.chip_ms
                    self._since_time = 0
            elif isinstance(packet, AccPacket):
                self._acc = (packet.ax, packet.ay, packet.az)
                self._since_acc = 0
            elif isinstance(packet, GyroPacket):
                sample = self._sample((packet.gx, packet.gy, packet.gz))
                if sample is not None:
                    samples.append(sample)
        return samples

    def _sample(self, gyro: tuple[int, int, int]) -> RawSample | None:
        """The cycle that ends with this rate, unless something is missing from it."""
        self._since_time += 1
        self._since_acc += 1
        time_missing = self._time_ms is None and self.has_time
        acc_missing = self._acc is None and self._since_acc <= ABSENT_AFTER
        if time_missing or acc_missing:
            self.incomplete += self._seen > 0
            return None
        self._seen += 1
        return RawSample(self._time_ms, self._arrival_ns, gyro, self._acc)


def _is_possible(packet: TimePacket) -> bool:
    """Damage passes a checksum once in 256; most of that is no time of day."""
    return (
        packet.millisecond < 1000
        and packet.second < 60
        and packet.minute < 60
        and packet.hour < 24
        and packet.day <= 31
        and packet.month <= 12
    )


class CountedClock:
    """Stands in for the chip's clock when the stream carries none: counts samples.

    The rate is taken from the first samples and rounded to one the sensor knows. Lost samples
    are noticed as a delay that stays: when two groups of samples in a row are late by the same
    number of periods, compared with the earliest of recent groups, the count is moved on.

    slips : samples that were lost this way.
    """

    RATE_SAMPLES = 32
    GROUP = 20
    RECENT_GROUPS = 50

    def __init__(self) -> None:
        self.period_ns = 0
        self.slips = 0
        self._first_ns = 0
        self._samples = 0
        self._chip_ns = 0
        self._group_ns: list[int] = []
        self._earliest_ns: deque[int] = deque(maxlen=self.RECENT_GROUPS)
        self._suspected = 0

    def chip_ns(self, arrival_ns: int) -> int | None:
        """Time of the next sample on the counted clock; None while the rate is being found."""
        if not self.period_ns:
            self._find_rate(arrival_ns)
            return None
        self._chip_ns += self.period_ns
        self._correct_slips(arrival_ns - self._chip_ns)
        return self._chip_ns

    def _find_rate(self, arrival_ns: int) -> None:
        if self._samples == 0:
            self._first_ns = arrival_ns
        self._samples += 1
        if self._samples < self.RATE_SAMPLES or arrival_ns <= self._first_ns:
            return
        measured_hz = (self._samples - 1) * 1e9 / (arrival_ns - self._first_ns)
        rate_hz = min(RATES_HZ, key=lambda hz: max(hz / measured_hz, measured_hz / hz))
        self.period_ns = round(1e9 / rate_hz)

    def _correct_slips(self, delay_ns: int) -> None:
        self._group_ns.append(delay_ns)
        if len(self._group_ns) < self.GROUP:
            return
        earliest_ns = min(self._group_ns)
        self._group_ns.clear()
        late_ns = earliest_ns - min(self._earliest_ns, default=earliest_ns)
        slips = (late_ns + self.period_ns // 4) // self.period_ns
        if slips > 0 and slips != self._suspected:
            self._suspected = slips  # a stalled host looks the same, but not for two groups
            return
        self._suspected = 0
        self.slips += max(slips, 0)
        self._chip_ns += max(slips, 0) * self.period_ns
        self._earliest_ns.append(earliest_ns - max(slips, 0) * self.period_ns)
