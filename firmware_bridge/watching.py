"""A live sensor in words: one line of numbers, and what to make of them."""

from __future__ import annotations

import math

import numpy as np

from firmware_bridge.reader_stats import ReaderStats
from firmware_bridge.samples import ImuSamples

GOOD_RATE_HZ = 190.0
GOOD_UNCERTAINTY_S = 0.002


def status_line(stats: ReaderStats, recent: ImuSamples) -> str:
    """The numbers of now.

    recent : the latest samples; their mean is shown, or dashes when there are none.
    """
    parts = [f"{stats.rate_hz:6.1f} Hz"]
    if len(recent):
        wx, wy, wz = np.degrees(recent.gyro_rad_s.mean(axis=0)).tolist()
        parts.append(f"gyro {wx:+8.2f} {wy:+8.2f} {wz:+8.2f} deg/s")
    else:
        parts.append("gyro no samples")
    if recent.has_acc:
        ax, ay, az = recent.acc_g.mean(axis=0).tolist()
        parts.append(f"acc {ax:+6.3f} {ay:+6.3f} {az:+6.3f} g")
    parts.append(f"late {_ms(stats.latency_p50_s)}/{_ms(stats.latency_p99_s)} ms")
    parts.append(f"clock +-{_ms(stats.clock_uncertainty_s)} ms {stats.drift_ppm:+.0f} ppm")
    parts.append(f"lost {stats.losses}")
    parts.append(f"damaged {stats.checksum_errors}")
    return " | ".join(parts)


def state(stats: ReaderStats) -> str:
    """One word or two on the connection."""
    if not stats.connected:
        return f"not connected: {stats.last_error or 'waiting'}"
    if stats.in_dead_band:
        return "DEAD BAND: the gyroscope says exactly zero"
    return stats.link


def verdicts(stats: ReaderStats) -> list[str]:
    """What is wrong, and what helps; one line that all is well otherwise."""
    lines = []
    if not stats.connected:
        lines.append(f"The sensor is not connected: {stats.last_error}.")
    if stats.zero_runs:
        lines.append(
            f"The gyroscope was stuck at exactly zero {stats.zero_runs} times: it zeroes itself at "
            "rest. 'stillpi imu provision' switches that off where the firmware allows."
        )
    if stats.rate_hz < GOOD_RATE_HZ:
        lines.append(
            f"{stats.rate_hz:.1f} samples a second are too few for deblurring, 200 are wanted: run "
            "'stillpi imu provision'."
        )
    if stats.clock_source == "counted":
        lines.append("The sensor sends no time stamps: run 'stillpi imu provision'.")
    if stats.losses:
        lines.append(
            f"{stats.losses} of {stats.samples + stats.losses} samples were lost and "
            f"{stats.checksum_errors} frames damaged on the way: check cable and baud."
        )
    if stats.reconnects:
        lines.append(f"The connection was lost {stats.reconnects} times: {stats.last_error}.")
    if not stats.clock_uncertainty_s < GOOD_UNCERTAINTY_S:
        lines.append(
            f"Sample times are uncertain by {_ms(stats.clock_uncertainty_s)} ms, 2 are wanted: "
            "watch longer, or set the USB adapter's latency timer to 1 ms."
        )
    return lines or ["The sensor is well: rate, time stamps and connection are as wanted."]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}" if math.isfinite(seconds) else "-"
