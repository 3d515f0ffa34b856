"""Bytes with their times of arrival to timed samples: the live reader without thread and link.

Samples are kept in chip time and mapped to the host's clock when they are asked for, so that a
photograph profits from all arrivals up to then, those after it included.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from firmware_bridge.clock import ClockMap
from firmware_bridge.cycles import CountedClock, CycleAssembler, RawSample, Received
from firmware_bridge.health import GapCounter, ZeroRuns
from firmware_bridge.packets import Packet
from firmware_bridge.parser import Parser
from firmware_bridge.ring import SampleRing, host_times_ns, to_samples
from firmware_bridge.samples import ImuSamples

LOW_PASS_DELAY_S = 0.98e-3
"""Group delay of the gyroscope at BANDWIDTH 0 (256 Hz), as provisioned; subtracted from times."""

HIGHEST_RATE_HZ = 200
_LONGEST_FRAME = 11


class SampleStream:
    """Everything between the bytes and the samples. Not thread-safe.

    ring_s : how far back samples are kept, at 200 Hz.
    sensor_delay_s : known constant delay of the sensor, subtracted from all times.
    """

    def __init__(self, *, ring_s: float = 60.0, sensor_delay_s: float = LOW_PASS_DELAY_S) -> None:
        self.sensor_delay_ns = round(sensor_delay_s * 1e9)
        self.ring = SampleRing(max(round(ring_s * HIGHEST_RATE_HZ * 1.05), 1))
        self.clock = ClockMap()
        self.gaps, self.zeros = GapCounter(), ZeroRuns()
        self.source: Literal["chip", "counted"] = "chip"
        self._newest: tuple[int, int] | None = None  # chip_ns and segment
        self._past = (0, 0, 0, 0)  # counts of the links before this one
        self._parser, self._cycles, self._counted = Parser(), CycleAssembler(), CountedClock()
        self._byte_time_ns = 0.0
        self._tail = b""  # the last bytes taken: the parser may hold the start of a frame
        self._frame_end = 0  # where in the stream the last packet ended

    def begin_link(self, byte_time_ns: float) -> None:
        """The bytes to come are of a new connection: nothing half-received goes on.

        byte_time_ns : time of one byte on the wire, 0 when bytes arrive together.
        """
        self._past = self.counts
        self._parser, self._cycles, self._counted = Parser(), CycleAssembler(), CountedClock()
        self._byte_time_ns = byte_time_ns
        self._tail, self._frame_end = b"", 0
        self._restart_clock()

    def take(self, data: bytes, now_ns: int) -> int:
        """Take bytes that had arrived at now_ns; returns the number of packets they completed."""
        skipped_before = self._parser.stats.skipped_bytes
        packets = self._parser.feed(data)
        recent = self._tail + data
        self._tail = recent[-_LONGEST_FRAME:]
        if packets:
            noisy = self._parser.stats.skipped_bytes != skipped_before
            starts = self._starts_in(recent, packets) if noisy else self._starts(packets)
            for sample in self._cycles.add(self._received(packets, starts, now_ns)):
                self._keep(sample)
        return len(packets)

    def samples(self) -> ImuSamples:
        """All samples still kept, on the host's clock as it is known now."""
        rows, t_ns = host_times_ns(self.ring.newest(), self.clock)
        return to_samples(rows, t_ns - self.sensor_delay_ns)

    @property
    def newest_ns(self) -> int:
        """Host time of the newest sample, -1 without one."""
        if self._newest is None or not self.clock.knows(self._newest[1]):
            return -1
        chip_ns, segment = self._newest
        host_ns = self.clock.to_host_ns(np.array([chip_ns], dtype=np.int64), segment)
        return int(host_ns[0]) - self.sensor_delay_ns

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Incomplete cycles, checksum errors, skipped bytes, counted losses: of all links."""
        incomplete, errors, skipped, slips = self._past
        stats = self._parser.stats
        return (
            incomplete + self._cycles.incomplete,
            errors + stats.bad_checksums,
            skipped + stats.skipped_bytes,
            slips + self._counted.slips,
        )

    def _starts(self, packets: list[Packet]) -> list[int]:
        """Where in the stream packets began that nothing was skipped between or behind."""
        at = self._parser.stats.bytes_in - self._parser.pending
        starts = []
        for packet in reversed(packets):
            at -= packet.LENGTH
            starts.append(at)
        starts.reverse()
        return starts

    def _starts_in(self, recent: bytes, packets: list[Packet]) -> list[int]:
        """The same when bytes were skipped: look the packets up in the latest bytes."""
        first = self._parser.stats.bytes_in - len(recent)
        starts, at = [], 0
        for packet in packets:
            at = max(recent.find(packet.to_bytes(), at), at)
            starts.append(first + at)
            at += packet.LENGTH
        return starts

    def _received(self, packets: list[Packet], starts: list[int], now_ns: int) -> list[Received]:
        """Say of each packet when its first byte must have been there, and whether any are missing.

        Bytes come one after another: those behind the first took their time on the wire.
        """
        end = self._parser.stats.bytes_in
        received = []
        for packet, start in zip(packets, starts, strict=True):
            arrival_ns = now_ns - round((end - start) * self._byte_time_ns)
            received.append(Received(packet, arrival_ns, start == self._frame_end))
            self._frame_end = start + packet.LENGTH
        return received

    def _keep(self, sample: RawSample) -> None:
        """Give a sample its chip time and put it into the ring."""
        chip_ns = self._chip_ns(sample)
        if chip_ns is None:
            return
        before = self.clock.segment
        segment = self.clock.observe(chip_ns, sample.arrival_ns)
        if self.clock.segment != before:
            self.gaps.restart()
        if segment == self.clock.segment and self.source == "chip":
            self.gaps.add(chip_ns)
        self.zeros.add(sample.gyro)
        self.ring.append(sample, chip_ns, segment)
        self._newest = (chip_ns, segment)

    def _chip_ns(self, sample: RawSample) -> int | None:
        """The chip's time of a sample, or the counted one where the stream carries none."""
        source: Literal["chip", "counted"] = "chip" if sample.chip_ms is not None else "counted"
        if source != self.source:
            self.source = source
            self._restart_clock()
        if sample.chip_ms is not None:
            return sample.chip_ms * 1_000_000
        return self._counted.chip_ns(sample.arrival_ns)

    def _restart_clock(self) -> None:
        self.clock.restart()
        self.gaps.restart()


def samples_of(
    chunks: list[tuple[int, bytes]], *, baud: int, sensor_delay_s: float = LOW_PASS_DELAY_S
) -> ImuSamples:
    """The samples a live reader would have had at the end of a recorded stream.

    chunks : (arrival_ns, bytes) in order, as Wt901Emulator.stream makes them.
    """
    duration_s = (chunks[-1][0] - chunks[0][0]) / 1e9 if chunks else 0.0
    stream = SampleStream(ring_s=duration_s + 1.0, sensor_delay_s=sensor_delay_s)
    stream.begin_link(10e9 / baud)
    for arrival_ns, data in chunks:
        stream.take(data, arrival_ns)
    return stream.samples()
