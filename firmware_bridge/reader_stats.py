"""What a live reader reports about the sensor and the line to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ReaderStats:
    """How the sensor and the line to it are doing.

    alive, connected : the thread runs; the link is open. link : its name. last_error : why the
        link was lost last, None if never. reconnects : links opened after the first.
    samples : taken so far. rate_hz : over the last two seconds. age_s : since the last arrival,
        infinite before the first.
    losses : samples missing in chip time. incomplete_cycles : of them, dropped because a packet
        was damaged. checksum_errors, skipped_bytes : of the parser.
    in_dead_band : the gyroscope stands at exactly zero now. zero_runs, longest_zero_run : how
        often that happened, and samples of the longest.
    clock_source : "chip", or "counted" when the stream has no time packets: worse, see cycles.
    latency_p50_s, latency_p99_s : arrival after the mapped time of the sample; NaN without any.
    clock_uncertainty_s : standard deviation of mapped times, without the constant delay.
    drift_ppm : how much faster the chip's clock runs. clock_jumps : times it began anew.
    """

    alive: bool
    connected: bool
    link: str
    last_error: str | None
    reconnects: int
    samples: int
    rate_hz: float
    age_s: float
    losses: int
    incomplete_cycles: int
    checksum_errors: int
    skipped_bytes: int
    in_dead_band: bool
    zero_runs: int
    longest_zero_run: int
    clock_source: Literal["chip", "counted"]
    latency_p50_s: float
    latency_p99_s: float
    clock_uncertainty_s: float
    drift_ppm: float
    clock_jumps: int
