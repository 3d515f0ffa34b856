"""`stillpi-train evaluate` and `stillpi-train real`: what restorations are worth."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from device.commands.restoring import available_threads, positive_int
from device.frame_file import encode_png
from device.output import write_atomic
from host_training.evaluate import Pixels, Score, evaluate
from host_training.methods import FILTER, Method, open_methods
from host_training.real_photographs import (
    RealResult,
    read_real_photographs,
    real_table,
    restore_real,
)
from host_training.report import Report, credit_of, read_credits, real_row, write_report
from host_training.seed_protocol import read_result
from host_training.sheets import judged_row, telling
from host_training.tables import markdown, summary_json

if TYPE_CHECKING:
    from collections.abc import Sequence

REAL_PHOTOGRAPHS = Path("../shared/data/gyro_blur")


def add_evaluate_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to `stillpi-train`."""
    parser = commands.add_parser(
        "evaluate",
        help="restore a test set and compare it with the truth",
        description="Restore every bundle of a test set with the filter alone and each model; "
        "print PSNR and SSIM against the truth, beside the blurred photograph's and those with "
        "the exact kernel field.",
    )
    parser.add_argument("testset", type=Path, help="a folder that `testset` wrote")
    _add_shared(parser)
    parser.add_argument(
        "--swaps", action="store_true", help="also with zero, reversed and foreign gyroscope data"
    )
    parser.add_argument(
        "--errors", action="store_true", help="also with one error of the calibration at a time"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--sheet", type=Path, help="write crops of the worst, median and best bundle to this PNG"
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE.md",
        help="write everything, --swaps, --errors and the real photographs too, to this page",
    )
    parser.add_argument(
        "--credits",
        type=Path,
        metavar="FILE.json",
        help='the photographs that the report may show: {"name": "author, licence"}',
    )
    parser.add_argument(
        "--real", type=Path, default=REAL_PHOTOGRAPHS, help="for the report (default %(default)s)"
    )
    parser.add_argument(
        "--seed-protocol",
        type=Path,
        metavar="RUN",
        help="for the report: a folder that `seed-protocol` wrote",
    )
    parser.set_defaults(run=run_evaluate)

    real = commands.add_parser(
        "real",
        help="restore real photographs and see whether they explain what was taken",
        description="Restore the photographs of recordings that are published with their "
        "gyroscope; print what the re-blurred results leave unexplained.",
    )
    real.add_argument("folder", type=Path, nargs="?", default=REAL_PHOTOGRAPHS)
    _add_shared(real)
    real.add_argument(
        "--pictures", type=Path, metavar="DIR", help="write all pictures into this folder"
    )
    real.set_defaults(run=run_real)


def _add_shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="[NAME=]PATH",
        help="a model bundle or a seed_unet checkpoint, `default` or `small` for those that ship; "
        "may be given several times, the first is the one that pictures are chosen by",
    )
    parser.add_argument(
        "--compare",
        action="append",
        default=[],
        metavar="[NAME=]PATH",
        help="as --model, but not judged with wrong gyroscope data and single errors",
    )
    parser.add_argument(
        "--unguarded", action="store_true", help="also what comes out without the guard"
    )
    parser.add_argument("--threads", type=positive_int, help="default: all processors")


def _methods(args: argparse.Namespace) -> list[Method]:
    threads = args.threads or available_threads()
    return open_methods(
        args.model, threads=threads, unguarded=args.unguarded, compared=args.compare
    )


def run_evaluate(args: argparse.Namespace) -> int:
    """Judge a test set; returns the exit code."""
    credits = read_credits(args.credits) if args.credits else {}
    methods = _methods(args)
    focus = methods[min(1, len(methods) - 1)].name
    shown = [m.name for m in methods if m.name in (FILTER, focus) or "protocol" in m.identity]
    scores, rows = [], []
    for judged in evaluate(
        args.testset,
        methods,
        swaps=args.swaps or bool(args.report),
        errors=args.errors or bool(args.report),
        progress=print_progress,
    ):
        scores.append(judged.score)
        if args.sheet or args.report:
            rows.append(judged_row(judged, shown, focus))
    print(json.dumps(summary_json(scores), indent=1) if args.json else markdown(scores))
    if args.sheet:
        sheet = np.vstack([rows[index] for index in telling(scores, focus)])
        write_atomic(args.sheet, encode_png(sheet))
    if args.report:
        _write_report(args, methods, scores, _publishable(scores, rows, credits, focus))
    return 0


def _publishable(
    scores: Sequence[Score], rows: Sequence[Pixels], credits: dict[str, str], focus: str
) -> list[tuple[Pixels, str]]:
    """Worst, median and best of the bundles whose photographs may be shown."""
    found = [(s, row, credit) for s, row in zip(scores, rows, strict=True)
             if (credit := credit_of(s, credits)) is not None]  # fmt: skip
    if not found:
        return []
    chosen = telling([score for score, _, _ in found], focus)
    return [(found[index][1], found[index][2]) for index in chosen]


def _write_report(
    args: argparse.Namespace,
    methods: Sequence[Method],
    scores: Sequence[Score],
    rows: Sequence[tuple[Pixels, str]],
) -> None:
    protocol = read_result(args.seed_protocol) if args.seed_protocol else None
    real, missing = _restored(args.real, methods)
    write_report(
        Report(
            testset=args.testset,
            scores=scores,
            methods=methods,
            rows=rows,
            real=real,
            missing=missing,
            seed_protocol=protocol,
        ),
        args.report,
    )


def run_real(args: argparse.Namespace) -> int:
    """Restore real photographs; returns the exit code."""
    results, missing = _restored(args.folder, _methods(args))
    for words in missing:
        print(f"not judged: {words}", file=sys.stderr)
    if results:
        print(real_table(results))
    if args.pictures:
        args.pictures.mkdir(parents=True, exist_ok=True)
        for result in results:
            stem = result.photo.name.replace("/", "-")
            write_atomic(args.pictures / f"{stem}.png", encode_png(real_row(result)))
            for name, picture in result.pictures.items():
                write_atomic(args.pictures / f"{stem}-{name}.png", encode_png(picture))
    return 0


def _restored(folder: Path, methods: Sequence[Method]) -> tuple[list[RealResult], list[str]]:
    """Results, and what is not there, in words."""
    with tempfile.TemporaryDirectory() as scratch:
        photos, missing = read_real_photographs(folder, Path(scratch))
        results = []
        for result in restore_real(photos, methods):
            results.append(result)
            print_progress(result.photo.name, len(results) / len(photos))
    return results, missing


def print_progress(name: str, share: float) -> None:
    """One line on standard error."""
    print(f"{share:4.0%}  {name}", file=sys.stderr)
