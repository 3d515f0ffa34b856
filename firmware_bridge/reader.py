"""The live sensor: a thread that reads the link and keeps the last minute of timed samples.

Failure policy
- The link fails, falls silent or talks nonsense: it is closed and opened again, every RETRY_S
  until it works, for as long as the reader lives. Nobody is told but `stats`.
- Samples already taken stay in the ring with the clock they were taken by; a reconnected sensor
  starts a new clock segment. What was lost is counted, never made up.
- Any other error is a bug: the thread ends with its traceback and `stats().alive` says so; the
  ring can still be read. Nobody restarts it but who made it.

Samples are kept in chip time and mapped to the host's clock when they are asked for, so that a
photograph profits from all arrivals up to then, those after it included.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

import numpy as np

from firmware_bridge.clock import ClockMap
from firmware_bridge.cycles import CountedClock, CycleAssembler, RawSample
from firmware_bridge.errors import LinkError
from firmware_bridge.health import GapCounter, ZeroRuns
from firmware_bridge.link import Link, OpenLink
from firmware_bridge.packets import Packet
from firmware_bridge.parser import Parser
from firmware_bridge.reader_stats import ReaderStats as ReaderStats
from firmware_bridge.ring import SampleRing, host_times_ns, to_samples
from firmware_bridge.samples import ImuSamples

LOW_PASS_DELAY_S = 0.98e-3
"""Group delay of the gyroscope at BANDWIDTH 0 (256 Hz), as provisioned; subtracted from times."""

RETRY_S = 0.2
SILENCE_S = 2.5
READ_TIMEOUT_S = 0.1
JOIN_S = 5.0
HIGHEST_RATE_HZ = 200
STATS_WINDOW_S = 2.0


class _Connection:
    """What lives as long as one open link."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.parser = Parser()
        self.cycles = CycleAssembler()
        self.counted = CountedClock()

    def samples(self, data: bytes, now_ns: int) -> tuple[int, list[RawSample]]:
        """Number of packets and the samples completed by bytes that had arrived at now_ns."""
        packets = self.parser.feed(data)
        return len(packets), self.cycles.add(self._with_arrival(packets, now_ns))

    def _with_arrival(self, packets: list[Packet], now_ns: int) -> list[tuple[Packet, int]]:
        """When the first byte of each packet must have been there, from what followed it."""
        byte_time_ns = self.link.byte_time_ns
        behind = self.parser.pending
        stamped: list[tuple[Packet, int]] = []
        for packet in reversed(packets):
            behind += packet.LENGTH
            stamped.append((packet, now_ns - round(behind * byte_time_ns)))
        stamped.reverse()
        return stamped


class ImuReader:
    """Reads a sensor in a thread of its own, as a context manager or with start() and close().

    open_link : opens the link, and again after it was lost; raises LinkError while it cannot.
    monotonic_ns : CLOCK_MONOTONIC. ring_s : how far back samples are kept, at 200 Hz.
    sensor_delay_s : known constant delay of the sensor, subtracted from all times.
    """

    def __init__(
        self,
        open_link: OpenLink,
        *,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        ring_s: float = 60.0,
        sensor_delay_s: float = LOW_PASS_DELAY_S,
    ) -> None:
        self._open_link, self._monotonic_ns = open_link, monotonic_ns
        self._sensor_delay_ns = round(sensor_delay_s * 1e9)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()  # guards everything below
        self._ring = SampleRing(max(round(ring_s * HIGHEST_RATE_HZ * 1.05), 1))
        self._clock = ClockMap()
        self._gaps, self._zeros = GapCounter(), ZeroRuns()
        self._connection: _Connection | None = None
        self._source: Literal["chip", "counted"] = "chip"
        self._newest: tuple[int, int] | None = None  # chip_ns and segment
        self._opened = 0
        self._link_name = ""
        self._last_error: str | None = None
        self._past = (0, 0, 0, 0)  # counts of the connections that have ended

    def start(self) -> None:
        """Start reading; does not wait for the sensor. Twice is fine."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="imu-reader", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop reading and close the link. The ring stays readable. Twice is fine."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(JOIN_S)
            with self._changed:
                self._changed.notify_all()
            if thread.is_alive():
                raise LinkError(f"{self._link_name}: the link does not let go")

    def __enter__(self) -> Self:
        """Start reading."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop reading."""
        self.close()

    # --- what the samples say

    def samples_between(
        self, start_ns: int, end_ns: int, *, wait_until_ns: int | None = None
    ) -> ImuSamples:
        """The samples with start_ns <= t <= end_ns, CLOCK_MONOTONIC.

        With wait_until_ns, waits until a sample later than end_ns has come, or until that time;
        then returns what there is, which may be nothing.
        """
        with self._changed:
            if wait_until_ns is not None:
                self._wait_for_sample_after(end_ns, wait_until_ns)
            rows, t_ns = host_times_ns(self._ring.newest(), self._clock)
        return to_samples(rows, t_ns - self._sensor_delay_ns).between(start_ns, end_ns)

    def wait_for_samples(self, count: int, timeout_s: float) -> bool:
        """Wait until so many samples have been taken since the start; False when too late."""
        deadline_ns = self._monotonic_ns() + round(timeout_s * 1e9)
        with self._changed:
            while self._ring.count < count and self._may_come(deadline_ns):
                self._changed.wait((deadline_ns - self._monotonic_ns()) / 1e9)
            return self._ring.count >= count

    def stats(self) -> ReaderStats:
        """How things are now."""
        with self._changed:
            rows = self._ring.newest(round(STATS_WINDOW_S * HIGHEST_RATE_HZ))
            now_ns = self._monotonic_ns()
            age_s = (now_ns - int(rows["arrival_ns"][-1])) / 1e9 if len(rows) else float("inf")
            timed, t_ns = host_times_ns(rows, self._clock)
            late_s = (timed["arrival_ns"] - t_ns) / 1e9 if len(timed) else np.array([np.nan])
            recent_ns = t_ns[t_ns > now_ns - STATS_WINDOW_S * 1e9]
            span_s = float(recent_ns[-1] - recent_ns[0]) / 1e9 if len(recent_ns) > 1 else 0.0
            incomplete, checksum_errors, skipped_bytes, slips = self._counts(self._connection)
            return ReaderStats(
                alive=self._thread is not None and self._thread.is_alive(),
                connected=self._connection is not None,
                link=self._link_name,
                last_error=self._last_error,
                reconnects=max(self._opened - 1, 0),
                samples=self._ring.count,
                rate_hz=(len(recent_ns) - 1) / span_s if span_s else 0.0,
                age_s=age_s,
                losses=self._gaps.losses + slips,
                incomplete_cycles=incomplete,
                checksum_errors=checksum_errors,
                skipped_bytes=skipped_bytes,
                in_dead_band=self._zeros.inside,
                zero_runs=self._zeros.runs,
                longest_zero_run=self._zeros.longest,
                clock_source=self._source,
                latency_p50_s=float(np.percentile(late_s, 50)),
                latency_p99_s=float(np.percentile(late_s, 99)),
                clock_uncertainty_s=self._clock.uncertainty_ns / 1e9,
                drift_ppm=self._clock.drift_ppm,
                clock_jumps=self._clock.segment,
            )

    def _counts(self, connection: _Connection | None) -> tuple[int, int, int, int]:
        """Incomplete cycles, checksum errors, skipped bytes, counted losses: of all connections."""
        if connection is None:
            return self._past
        incomplete, errors, skipped, slips = self._past
        stats = connection.parser.stats
        return (
            incomplete + connection.cycles.incomplete,
            errors + stats.bad_checksums,
            skipped + stats.skipped_bytes,
            slips + connection.counted.slips,
        )

    def _wait_for_sample_after(self, end_ns: int, wait_until_ns: int) -> None:
        while self._newest_host_ns() <= end_ns and self._may_come(wait_until_ns):
            self._changed.wait((wait_until_ns - self._monotonic_ns()) / 1e9)

    def _may_come(self, deadline_ns: int) -> bool:
        running = self._thread is not None and self._thread.is_alive()
        return running and self._monotonic_ns() < deadline_ns

    def _newest_host_ns(self) -> int:
        if self._newest is None or not self._clock.knows(self._newest[1]):
            return -1
        chip_ns, segment = self._newest
        host_ns = self._clock.to_host_ns(np.array([chip_ns]), segment)
        return int(host_ns[0]) - self._sensor_delay_ns

    # --- the thread

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                link = self._open_link()
            except LinkError as problem:
                self._note_error(problem)
            else:
                self._read_until_lost(link)
            self._stop.wait(RETRY_S)

    def _read_until_lost(self, link: Link) -> None:
        connection = _Connection(link)
        with self._changed:
            self._connection, self._link_name = connection, link.name
            self._opened += 1
            self._clock.restart()
            self._gaps.restart()
        try:
            self._read(connection)
        except LinkError as problem:
            self._note_error(problem)
        finally:
            with self._changed:
                self._connection, self._past = None, self._counts(connection)
                self._changed.notify_all()
            link.close()

    def _read(self, connection: _Connection) -> None:
        heard_ns = self._monotonic_ns()
        while not self._stop.is_set():
            data = connection.link.read(4096, READ_TIMEOUT_S)
            now_ns = self._monotonic_ns()
            packets, samples = connection.samples(data, now_ns)
            if packets:
                heard_ns = now_ns
            elif now_ns - heard_ns > SILENCE_S * 1e9:
                raise LinkError(f"{connection.link.name}: no valid packet for {SILENCE_S} s")
            else:
                continue
            with self._changed:
                for sample in samples:
                    self._keep(sample, connection)
                if samples:
                    self._changed.notify_all()

    def _keep(self, sample: RawSample, connection: _Connection) -> None:
        """Give a sample its chip time and put it into the ring."""
        source: Literal["chip", "counted"] = "chip" if sample.chip_ms is not None else "counted"
        if source != self._source:
            self._source = source
            self._clock.restart()
            self._gaps.restart()
        if sample.chip_ms is not None:
            chip_ns = sample.chip_ms * 1_000_000
        else:
            counted_ns = connection.counted.chip_ns(sample.arrival_ns)
            if counted_ns is None:
                return
            chip_ns = counted_ns
        before = self._clock.segment
        segment = self._clock.observe(chip_ns, sample.arrival_ns)
        if self._clock.segment != before:
            self._gaps.restart()
        if segment == self._clock.segment and source == "chip":
            self._gaps.add(chip_ns)
        self._zeros.add(sample.gyro)
        self._ring.append(sample, chip_ns, segment)
        self._newest = (chip_ns, segment)

    def _note_error(self, problem: LinkError) -> None:
        with self._changed:
            self._last_error = str(problem)
