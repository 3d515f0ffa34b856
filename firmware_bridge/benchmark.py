"""How fast bytes become samples, in bytes a second of processor time on one core."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from firmware_bridge.bulk import index_frames
from firmware_bridge.decode import decode_raw
from firmware_bridge.parser import Parser
from firmware_bridge.raw_capture import RawCapture

_BEST_OF = 3


def decode_throughput(n_bytes: int = 4_000_000, *, seed: int = 0) -> float:
    """Bytes a second from a recorded stream to timed samples in physical units."""
    raw = RawCapture("binary", standard_stream(n_bytes, seed=seed))
    return _best_rate(lambda: decode_raw("benchmark", raw, "standard"), len(raw.data))


def index_throughput(n_bytes: int = 4_000_000, *, seed: int = 0) -> float:
    """Bytes a second of finding and checking frames in a recorded stream."""
    stream = standard_stream(n_bytes, seed=seed)
    return _best_rate(lambda: index_frames(stream, "standard"), len(stream))


def parser_throughput(n_bytes: int = 1_000_000, *, seed: int = 0, read_bytes: int = 33) -> float:
    """Bytes a second of the live parser, fed `read_bytes` at a time as a serial line would."""
    stream = standard_stream(n_bytes, seed=seed)

    def parse() -> None:
        parser = Parser("standard")
        for start in range(0, len(stream), read_bytes):
            parser.feed(stream[start : start + read_bytes])

    return _best_rate(parse, len(stream))


def standard_stream(n_bytes: int, *, seed: int = 0) -> bytes:
    """At least `n_bytes` as a sensor at 200 Hz sends them: cycles of time, acceleration, rate.

    Payloads are noise, so headers occur inside them as often as they can.
    """
    cycles = max(1, -(-n_bytes // 33))
    rng = np.random.default_rng(seed)
    stream = rng.integers(0, 256, (cycles, 3, 11), dtype=np.uint8)
    stream[:, :, 0] = 0x55
    stream[:, :, 1] = (0x50, 0x51, 0x52)
    chip_ms = np.arange(cycles) * 5
    stream[:, 0, 2:4] = (24, 5)
    stream[:, 0, 4] = chip_ms // 86_400_000 % 31 + 1
    stream[:, 0, 5] = chip_ms // 3_600_000 % 24
    stream[:, 0, 6] = chip_ms // 60_000 % 60
    stream[:, 0, 7] = chip_ms // 1000 % 60
    stream[:, 0, 8] = chip_ms % 1000 % 256
    stream[:, 0, 9] = chip_ms % 1000 // 256
    stream[:, :, 10] = stream[:, :, :10].sum(axis=2, dtype=np.uint64) % 256
    return stream.tobytes()


def _best_rate(work: Callable[[], object], n_bytes: int) -> float:
    best_s = float("inf")
    for _ in range(_BEST_OF):
        start_s = time.process_time()
        work()
        best_s = min(best_s, time.process_time() - start_s)
    return n_bytes / max(best_s, 1e-9)
