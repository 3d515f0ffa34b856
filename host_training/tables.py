"""Scores as tables in Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from host_training.evaluate import BLURRED, ERRORS, EXACT, MEASURED, SWAPS, Score

BLUR_BINS_PX = ((0.0, 8.0), (8.0, 16.0), (16.0, 24.0), (24.0, float("inf")))


def methods_of(scores: Sequence[Score]) -> list[str]:
    """The names of what was compared, without the photograph itself."""
    return [name for name in scores[0].quality if name != BLURRED]


def gains_db(scores: Sequence[Score], method: str, told: str = MEASURED) -> NDArray[np.float64]:
    """PSNR of a method minus that of the blurred photograph, for every bundle."""
    return np.array([score.gain_db(method, told) for score in scores])


def summary_json(scores: Sequence[Score]) -> dict[str, Any]:
    """All scores and their means as plain JSON."""
    return {
        "format": "stillpi-evaluation",
        "version": 2,
        "bundles": len(scores),
        "methods": {name: _summary(scores, name) for name in scores[0].quality},
        "truth_residual": _mean_known(s.truth_residual for s in scores),
        "scores": [asdict(score) for score in scores],
    }


def _summary(scores: Sequence[Score], name: str) -> dict[str, Any]:
    qualities = [score.quality[name] for score in scores]
    summary: dict[str, Any] = {
        "psnr_db": _mean(q.psnr_db for q in qualities),
        "ssim": _mean(q.ssim for q in qualities),
        "residual": _mean_known(q.residual for q in qualities),
        "trusted_share": _mean(q.trusted_share for q in qualities),
    }
    told = [] if name == BLURRED else [MEASURED]
    told += [kind for kind, found in scores[0].psnr_db.items() if name in found]
    gains = {kind: gains_db(scores, name, kind) for kind in told}
    summary["gain_db"] = {kind: float(values.mean()) for kind, values in gains.items()}
    summary["worst_gain_db"] = {kind: float(values.min()) for kind, values in gains.items()}
    return summary


def markdown(scores: Sequence[Score]) -> str:
    """Every table that there are figures for."""
    parts = [
        f"{len(scores)} photographs. PSNR in dB and SSIM against the truth, means over the set; "
        "gains over the blurred photograph. The oracle is the same method told the exact motion. "
        "Left over: what the re-blurred picture does not explain of the photograph, in standard "
        f"deviations of its noise (the truth itself: {_truth_residual(scores)}).",
        "\n".join(_overview(scores)),
        "Mean gain by blur length (median over the frame, pixels):",
        "\n".join(_bins(scores)),
    ]
    if ERRORS[0] in scores[0].psnr_db:
        parts += [
            "Mean gain with one error at a time (the same photographs and logs; calibrations "
            "exact but for the part that is named):",
            "\n".join(_told_table(scores, [*ERRORS, MEASURED, EXACT], _mean_gain)),
        ]
    if SWAPS[0] in scores[0].psnr_db:
        parts += [
            "Wrong gyroscope data, mean gain and worst:",
            "\n".join(_told_table(scores, SWAPS, _mean_and_worst_gain)),
        ]
    if any(score.layer_psnr_db for score in scores):
        parts += [
            "Within what moved with the camera, gain over the photograph:",
            "\n".join(_layers(scores)),
        ]
    return "\n\n".join(parts)


def _truth_residual(scores: Sequence[Score]) -> str:
    return residual_text(_mean_known(s.truth_residual for s in scores))


def _overview(scores: Sequence[Score]) -> list[str]:
    header = [
        "",
        "PSNR",
        "SSIM",
        "mean gain",
        "worst gain",
        "oracle",
        "below the oracle",
        "left over",
    ]
    rows = []
    for name, found in summary_json(scores)["methods"].items():
        row = [name, f"{found['psnr_db']:.2f}", f"{found['ssim']:.4f}"]
        if name == BLURRED:
            row += [""] * 4
        else:
            mean, worst = found["gain_db"], found["worst_gain_db"]
            row += [_signed(mean[MEASURED]), _signed(worst[MEASURED]), _signed(mean[EXACT])]
            row.append(f"{mean[EXACT] - mean[MEASURED]:.2f}")
        rows.append([*row, residual_text(found["residual"])])
    return table(header, rows)


def _bins(scores: Sequence[Score]) -> list[str]:
    methods = methods_of(scores)
    rows = []
    for low, high in BLUR_BINS_PX:
        mine = [s for s in scores if low <= s.blur_px < high]
        if mine:
            name = f"{low:.0f} to {high:.0f}" if np.isfinite(high) else f"{low:.0f} and more"
            before = f"{_mean(s.quality[BLURRED].psnr_db for s in mine):.2f}"
            gains = [_mean_gain(mine, method, MEASURED) for method in methods]
            rows.append([name, str(len(mine)), before, *gains])
    return table(["blur", "photographs", f"{BLURRED}, PSNR", *methods], rows)


def _told_table(
    scores: Sequence[Score],
    kinds: Sequence[str],
    cell: Callable[[Sequence[Score], str, str], str],
) -> list[str]:
    """A row for every kernel field, a column for every method that was given them all."""
    names = {MEASURED: "all of them", EXACT: "exact motion (oracle)"}
    methods = [m for m in methods_of(scores) if m in scores[0].psnr_db[kinds[0]]]
    rows = [[names.get(kind, kind), *(cell(scores, m, kind) for m in methods)] for kind in kinds]
    return table(["", *methods], rows)


def _layers(scores: Sequence[Score]) -> list[str]:
    rows = []
    for name in methods_of(scores):
        gains = np.array(
            [s.layer_psnr_db[name] - s.layer_psnr_db[BLURRED] for s in scores if s.layer_psnr_db]
        )
        rows.append([name, _signed(gains.mean()), _signed(gains.min())])
    return table(["", "mean", "worst"], rows)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table: words to the left, figures to the right."""
    lines = [f"| {' | '.join(header)} |", "| --- " + "| ---: " * (len(header) - 1) + "|"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def _mean_gain(scores: Sequence[Score], method: str, told: str) -> str:
    return _signed(float(gains_db(scores, method, told).mean()))


def _mean_and_worst_gain(scores: Sequence[Score], method: str, told: str) -> str:
    gains = gains_db(scores, method, told)
    return f"{_signed(float(gains.mean()))} ({_signed(float(gains.min()))})"


def _signed(gain_db: float) -> str:
    return f"{gain_db:+.2f}"


def residual_text(residual: float | None) -> str:
    """A residual in a table."""
    return "-" if residual is None else f"{residual:.2f}"


def _mean_known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _mean(known) if known else None


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
