"""The WT901's bytes: recorded files, the live parser, the reader's share of a core."""

from __future__ import annotations

from collections.abc import Iterator

from device.benchmark import Row, Setting
from firmware_bridge.benchmark import decode_throughput, parser_throughput
from firmware_bridge.reader_cost import reader_cpu_share

READER_SECONDS = 5.0


def measure_driver(setting: Setting) -> Iterator[Row]:
    """Three figures; nothing of the setting matters to them."""
    yield Row("recorded stream to samples", decode_throughput() / 1e6, "MB/s", "1 thread")
    yield Row("live parser, 33-byte reads", parser_throughput() / 1e6, "MB/s", "1 thread")
    share = reader_cpu_share(READER_SECONDS)
    yield Row("reader at 200 Hz", 100.0 * share, "% core", f"over {READER_SECONDS:g} s, a pty")
