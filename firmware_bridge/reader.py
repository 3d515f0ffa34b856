"""The live sensor: a thread that reads the link and keeps the last minute of timed samples.

Failure policy
- The link fails, falls silent or talks nonsense: it is closed and opened again, every RETRY_S
  until it works, for as long as the reader lives. Nobody is told but `stats`.
- Samples already taken stay in the ring with the clock they were taken by; a reconnected sensor
  starts a new clock segment. What was lost is counted, never made up.
- Any other error is a bug: the thread ends with its traceback and `stats().alive` says so; the
  ring can still be read. Nobody restarts it but who made it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np

from firmware_bridge.errors import LinkError
from firmware_bridge.link import Link, OpenLink
from firmware_bridge.reader_stats import ReaderStats as ReaderStats
from firmware_bridge.ring import host_times_ns
from firmware_bridge.sample_stream import HIGHEST_RATE_HZ, LOW_PASS_DELAY_S, SampleStream
from firmware_bridge.samples import ImuSamples

RETRY_S = 0.2
SILENCE_S = 2.5
READ_TIMEOUT_S = 0.1
JOIN_S = 5.0
STATS_WINDOW_S = 2.0


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
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()  # guards everything below
        self._stream = SampleStream(ring_s=ring_s, sensor_delay_s=sensor_delay_s)
        self._connected = False
        self._opened = 0
        self._link_name = ""
        self._last_error: str | None = None

    def start(self) -> None:
        """Start reading; does not wait for the sensor. Twice is fine."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="imu-reader", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop reading and close the link. The ring stays readable. Twice is fine.

        Raises LinkError when the thread hangs in its link.
        """
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is None:
            return
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

    def samples_between(
        self, start_ns: int, end_ns: int, *, wait_until_ns: int | None = None
    ) -> ImuSamples:
        """The samples with start_ns <= t <= end_ns, CLOCK_MONOTONIC.

        With wait_until_ns, waits until a sample later than end_ns has come, or until that time;
        then returns what there is, which may be nothing.
        """
        with self._changed:
            if wait_until_ns is not None:
                self._wait(lambda: self._stream.newest_ns > end_ns, wait_until_ns)
            return self._stream.samples().between(start_ns, end_ns)

    def wait_for_samples(self, count: int, timeout_s: float) -> bool:
        """Wait until so many samples have been taken since the start; False when too late."""
        deadline_ns = self._monotonic_ns() + round(timeout_s * 1e9)
        with self._changed:
            self._wait(lambda: self._stream.ring.count >= count, deadline_ns)
            return self._stream.ring.count >= count

    def stats(self) -> ReaderStats:
        """How things are now."""
        with self._changed:
            stream, now_ns = self._stream, self._monotonic_ns()
            rows = stream.ring.newest(round(STATS_WINDOW_S * HIGHEST_RATE_HZ))
            timed, t_ns = host_times_ns(rows, stream.clock)
            late_s = (timed["arrival_ns"] - t_ns) / 1e9 if len(timed) else np.array([np.nan])
            recent_ns = t_ns[t_ns > now_ns - STATS_WINDOW_S * 1e9]
            span_s = float(recent_ns[-1] - recent_ns[0]) / 1e9 if len(recent_ns) > 1 else 0.0
            incomplete, checksum_errors, skipped_bytes, slips = stream.counts
            return ReaderStats(
                alive=self._thread is not None and self._thread.is_alive(),
                connected=self._connected,
                link=self._link_name,
                last_error=self._last_error,
                reconnects=max(self._opened - 1, 0),
                samples=stream.ring.count,
                rate_hz=(len(recent_ns) - 1) / span_s if span_s else 0.0,
                age_s=(now_ns - int(rows["arrival_ns"][-1])) / 1e9 if len(rows) else np.inf,
                losses=stream.gaps.losses + slips,
                incomplete_cycles=incomplete,
                checksum_errors=checksum_errors,
                skipped_bytes=skipped_bytes,
                in_dead_band=stream.zeros.inside,
                zero_runs=stream.zeros.runs,
                longest_zero_run=stream.zeros.longest,
                clock_source=stream.source,
                latency_p50_s=float(np.percentile(late_s, 50)),
                latency_p99_s=float(np.percentile(late_s, 99)),
                clock_uncertainty_s=stream.clock.uncertainty_ns / 1e9,
                drift_ppm=stream.clock.drift_ppm,
                clock_jumps=stream.clock.segment,
            )

    def _wait(self, arrived: Callable[[], bool], deadline_ns: int) -> None:
        """Wait, with the lock held, until something has arrived, or cannot any more in time."""
        while not arrived():
            left_s = (deadline_ns - self._monotonic_ns()) / 1e9
            if left_s <= 0 or self._thread is None or not self._thread.is_alive():
                return
            self._changed.wait(left_s)

    # --- the thread

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._connect_and_read()
                self._stop.wait(RETRY_S)
        finally:
            with self._changed:
                self._changed.notify_all()

    def _connect_and_read(self) -> None:
        """One connection, from opening the link to losing it."""
        try:
            link = self._open_link()
        except LinkError as problem:
            with self._changed:
                self._last_error = str(problem)
            return
        with self._changed:
            self._connected, self._link_name = True, link.name
            self._opened += 1
            self._stream.begin_link(link.byte_time_ns)
        try:
            self._read(link)
        except LinkError as problem:
            with self._changed:
                self._last_error = str(problem)
        finally:
            with self._changed:
                self._connected = False
            link.close()

    def _read(self, link: Link) -> None:
        heard_ns = self._monotonic_ns()
        while not self._stop.is_set():
            data = link.read(4096, READ_TIMEOUT_S)
            now_ns = self._monotonic_ns()
            with self._changed:
                before = self._stream.ring.count
                if self._stream.take(data, now_ns):
                    heard_ns = now_ns
                if self._stream.ring.count != before:
                    self._changed.notify_all()
            if now_ns - heard_ns > SILENCE_S * 1e9:
                raise LinkError(f"{link.name}: no valid packet for {SILENCE_S} s")
