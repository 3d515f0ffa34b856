"""Scores as tables in Markdown, as JSON, and as a contact sheet to look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from host_training.evaluate import BLURRED, ORACLE, RESTORED, Judged, Score

BLUR_BINS_PX = ((0.0, 8.0), (8.0, 16.0), (16.0, 24.0), (24.0, float("inf")))
_METHODS = (BLURRED, RESTORED, ORACLE)
_CROP = (240, 320)


def gains_db(scores: Sequence[Score], method: str) -> NDArray[np.float64]:
    """PSNR of a method minus that of the blurred photograph, for every bundle."""
    return np.array([s.quality[method].psnr_db - s.quality[BLURRED].psnr_db for s in scores])


def summary_json(scores: Sequence[Score]) -> dict[str, Any]:
    """All scores and their means as plain JSON."""
    methods = {
        method: {
            "psnr_db": _mean(s.quality[method].psnr_db for s in scores),
            "ssim": _mean(s.quality[method].ssim for s in scores),
            "gain_db": float(gains_db(scores, method).mean()),
            "worst_gain_db": float(gains_db(scores, method).min()),
        }
        for method in _METHODS
    }
    return {
        "format": "stillpi-evaluation",
        "version": 1,
        "bundles": len(scores),
        "methods": methods,
        "swaps": {
            kind: {"gain_db": float(gains.mean()), "worst_gain_db": float(gains.min())}
            for kind, gains in _swap_gains(scores).items()
        },
        "layer": {
            kind: {"gain_db": float(gains.mean()), "worst_gain_db": float(gains.min())}
            for kind, gains in _layer_gains(scores).items()
        },
        "scores": [asdict(score) for score in scores],
    }


def markdown(scores: Sequence[Score]) -> str:
    """Tables: over the set, by blur length, and of the swap and layer tests when they were run."""
    summary = summary_json(scores)
    lines = [f"{len(scores)} photographs, PSNR in dB and SSIM against the truth.", ""]
    lines += _table(
        ["", "PSNR", "SSIM", "mean gain", "worst gain"],
        [
            [m, f"{v['psnr_db']:.2f}", f"{v['ssim']:.4f}", _signed(v["gain_db"]),
             _signed(v["worst_gain_db"])]
            for m, v in summary["methods"].items()
        ],
    )  # fmt: skip
    lines += ["", "By blur length (median over the frame, pixels):", ""]
    lines += _table(
        ["blur", "photographs", BLURRED, RESTORED, ORACLE, "worst gain"],
        list(_bins(scores)),
    )
    for title, key in (
        ("Wrong gyroscope data, gain over the blurred photograph:", "swaps"),
        ("Within what moved with the camera, gain over the photograph:", "layer"),
    ):
        if summary[key]:
            rows = [
                [kind, _signed(v["gain_db"]), _signed(v["worst_gain_db"])]
                for kind, v in summary[key].items()
            ]
            lines += ["", title, "", *_table(["", "mean", "worst"], rows)]
    return "\n".join(lines)


def sheet_strip(one: Judged) -> NDArray[np.uint8]:
    """Crops from the middle of a bundle side by side: blurred, restored, oracle, truth."""
    views = [one.pictures[m] for m in _METHODS] + [one.truth.sharp]
    strip = np.hstack([_crop(view) for view in views])
    figures = "  ".join(f"{one.score.quality[m].psnr_db:.1f}" for m in _METHODS)
    name = one.score.name.removesuffix(".capture")
    label = f"{name}  {one.score.blur_px:.0f} px  {figures} dB"
    cv2.rectangle(strip, (0, 0), (10 + 9 * len(label), 22), (0, 0, 0), cv2.FILLED)
    cv2.putText(strip, label, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1)
    return strip


def _bins(scores: Sequence[Score]) -> Iterable[list[str]]:
    for low, high in BLUR_BINS_PX:
        mine = [s for s in scores if low <= s.blur_px < high]
        if mine:
            means = [f"{_mean(s.quality[m].psnr_db for s in mine):.2f}" for m in _METHODS]
            name = f"{low:.0f} to {high:.0f}" if np.isfinite(high) else f"{low:.0f} and more"
            worst = _signed(float(gains_db(mine, RESTORED).min()))
            yield [name, str(len(mine)), *means, worst]


def _swap_gains(scores: Sequence[Score]) -> dict[str, NDArray[np.float64]]:
    return {
        kind: np.array([s.swap_psnr_db[kind] - s.quality[BLURRED].psnr_db for s in scores])
        for kind in scores[0].swap_psnr_db
    }


def _layer_gains(scores: Sequence[Score]) -> dict[str, NDArray[np.float64]]:
    with_layer = [s for s in scores if s.layer_psnr_db]
    if not with_layer:
        return {}
    return {
        method: np.array([s.layer_psnr_db[method] - s.layer_psnr_db[BLURRED] for s in with_layer])
        for method in (RESTORED, ORACLE)
    }


def _crop(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = min(_CROP[0], pixels.shape[0]), min(_CROP[1], pixels.shape[1])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = [f"| {' | '.join(header)} |", "| --- " + "| ---: " * (len(header) - 1) + "|"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def _signed(gain_db: float) -> str:
    return f"{gain_db:+.2f}"


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
