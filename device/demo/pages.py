"""The demo's page: both restorations with their proofs, from what was measured just now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device import page
from device.bundle import Bundle
from device.demo.chart import ChartMatch
from device.demo.pictures import dot_pair, psnr_db, side_by_side
from device.gyro_plot import gyro_plot
from device.inspect_page import displayed, exposure_text
from device.kernels.draw import draw_field
from device.restore.pipeline import Restoration
from device.version import software_name
from firmware_bridge.reader_stats import ReaderStats

_WHOLE_PX, _DETAIL_PX, _TRUTH_PX = 1400, (420, 560), (320, 480)
_BIRD = (slice(110, 530), slice(170, 730))
"""The head and breast of the osprey in the simulated photograph: rows, columns."""


@dataclass(frozen=True)
class Restored:
    """A bundle, what was made of it, and the report as it was written."""

    bundle: Bundle
    restoration: Restoration
    report: dict[str, Any]


def twin_part(shot: Restored, truth: NDArray[np.uint8], sensor: ReaderStats) -> dict[str, Any]:
    """The simulated photograph for the template."""
    photograph, restored = displayed(shot.bundle), shot.restoration.pixels
    (spot,) = page.detail_spots(truth, _TRUTH_PX, 1)
    triple = side_by_side(
        [picture[spot] for picture in (photograph, restored, truth)],
        ["photograph", "restored", "truth"],
    )
    before_db, after_db = psnr_db(photograph, truth), psnr_db(restored, truth)
    field = draw_field(page.shrink(photograph, _WHOLE_PX), shot.restoration.field)
    return {
        **_common(shot, photograph),
        "truth": page.data_uri(triple),
        "field": page.data_uri(field),
        "numbers": [
            ("photograph against the truth", f"{before_db:.2f} dB PSNR"),
            ("restored against the truth", f"{after_db:.2f} dB PSNR"),
            ("gain", f"{after_db - before_db:+.2f} dB"),
            *_numbers(shot),
        ],
        "sensor": sensor_rows(sensor),
    }


def sensor_rows(sensor: ReaderStats) -> list[tuple[str, str]]:
    """How the emulated sensor and its line did."""
    return [
        ("sensor", f"WT901 (emulated), {sensor.link}"),
        ("samples, rate", f"{sensor.samples}, {sensor.rate_hz:.1f} Hz"),
        ("lost samples, bad checksums", f"{sensor.losses}, {sensor.checksum_errors}"),
        ("clock mapped to", f"{1e6 * sensor.clock_uncertainty_s:.0f} µs"),
        ("clock drift", f"{sensor.drift_ppm:.0f} ppm"),
        ("latency, 99 % below", f"{1e3 * sensor.latency_p99_s:.1f} ms"),
    ]


def chart_part(shot: Restored, match: ChartMatch) -> dict[str, Any]:
    """The chart for the template."""
    photograph = displayed(shot.bundle)
    correlations = [dot.correlation for dot in match.dots]
    still = [dot.still_correlation for dot in match.dots]
    verdict = (
        f"{sum(c >= 0.8 for c in correlations)} of {len(correlations)} dots correlate by 0.8 or "
        f"more; {np.mean(correlations):.3f} on average, from {min(correlations):.3f} to "
        f"{max(correlations):.3f}. A still camera's disc ({match.still_diameter_px:g} pixels) "
        f"reaches {np.mean(still):.3f}: the motion explains "
        f"{100 * explained_share(match):.0f} % of what the disc leaves."
    )
    return {
        **_common(shot, photograph),
        "dots": [
            {
                "picture": page.data_uri(dot_pair(dot), quality=0),
                "correlation": f"{dot.correlation:.3f}",
                "still": f"{dot.still_correlation:.3f}",
            }
            for dot in match.dots
        ],
        "diameter": f"{match.diameter_px:g}",
        "verdict": verdict,
        "numbers": _numbers(shot),
    }


def explained_share(match: ChartMatch) -> float:
    """How much of the dots' energy that a still disc leaves unexplained the motion explains.

    The unexplained share of a best fit with correlation r is 1 - r^2.
    """
    left = sum(1 - dot.correlation**2 for dot in match.dots)
    left_by_disc = sum(1 - dot.still_correlation**2 for dot in match.dots)
    return 1 - left / left_by_disc


def before_after(twin: Restored) -> NDArray[np.uint8]:
    """The osprey as photographed beside the restored one, labelled."""
    pictures = [displayed(twin.bundle)[_BIRD], twin.restoration.pixels[_BIRD]]
    return side_by_side(pictures, ["as photographed", "restored"])


def demo_page(twin: dict[str, Any], chart: dict[str, Any], files: list[list[str]]) -> str:
    """The whole page as HTML."""
    return page.render_page(
        "demo.html.j2",
        title="stillpi demo",
        software=software_name(),
        twin=twin,
        chart=chart,
        files=files,
    )


def _common(shot: Restored, photograph: NDArray[np.uint8]) -> dict[str, Any]:
    restored = shot.restoration.pixels
    return {
        "whole": page.compare(page.shrink(photograph, _WHOLE_PX), page.shrink(restored, _WHOLE_PX)),
        "details": [
            page.compare(photograph[spot], restored[spot], quality=92)
            for spot in page.detail_spots(restored, _DETAIL_PX, 2)
        ],
        "warnings": shot.report["warnings"],
        "gyro": gyro_plot(shot.bundle.samples, shot.bundle.calibration, shot.bundle.timing),
    }


def _numbers(shot: Restored) -> list[tuple[str, str]]:
    bundle, report = shot.bundle, shot.report
    motion = report["motion"]
    return [
        ("picture", f"{bundle.width} x {bundle.height}, exposed for {exposure_text(bundle)}"),
        ("blur", f"{motion['blur_px_median']:.1f} px median, {motion['blur_px_max']:.1f} at most"),
        ("restoration kept", f"{100 * report['guard']['trusted_share']:.0f} %"),
        ("by", report["model"]["name"] if report["model"] else report["model_note"]),
        ("time", f"{sum(report['stages_s'].values()):.1f} s"),
    ]
