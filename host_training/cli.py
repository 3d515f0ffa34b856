"""The command line `stillpi-train`: photographs and motion to test sets, models and figures."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from device.commands.restoring import available_threads, choose_model, positive_int
from device.errors import StillpiError
from device.frame_file import encode_png
from device.output import write_atomic
from device.restore.pipeline import RestoreOptions
from host_training.evaluate import evaluate
from host_training.figures import markdown, sheet_strip, summary_json
from host_training.pairs_command import add_pairs_parser
from host_training.shot import ShotOptions
from host_training.testset import make_testset
from host_training.train_command import add_train_parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 2 for an expected error."""
    args = _parser().parse_args(argv)
    try:
        return int(args.run(args))
    except (StillpiError, OSError) as error:
        print(f"stillpi-train: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stillpi-train",
        description="Make and judge what stillpi restores: simulated photographs with the truth.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_testset(commands)
    _add_evaluate(commands)
    add_pairs_parser(commands)
    add_train_parser(commands)
    return parser


def _add_testset(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "testset",
        help="write blurred photographs with their logs and the truth beside them",
        description="Simulate photographs shaken by recorded hand motion, as bundles.",
    )
    parser.add_argument("destination", type=Path, help="a new or empty folder")
    parser.add_argument("--photos", type=Path, required=True, help="folder of sharp photographs")
    parser.add_argument("--motion", type=Path, required=True, help="folder of motion recordings")
    parser.add_argument("--count", type=int, default=24, help="how many (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of all chance (default %(default)s)")
    parser.add_argument(
        "--layer", action="store_true", help="cover a fifth with something that moves along"
    )
    parser.add_argument(
        "--all-photos", action="store_true", help="also those that training is free to use"
    )
    parser.set_defaults(run=_run_testset)


def _run_testset(args: argparse.Namespace) -> int:
    options = ShotOptions(layer=args.layer, held_back=not args.all_photos)
    written = make_testset(
        args.destination,
        args.photos,
        args.motion,
        count=args.count,
        seed=args.seed,
        options=options,
        progress=_print_progress,
    )
    print(f"{len(written)} bundles in {args.destination}")
    return 0


def _add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="restore a test set and compare it with the truth",
        description="Restore every bundle of a test set; print PSNR and SSIM against the truth, "
        "beside the blurred photograph's and those with the exact kernel field.",
    )
    parser.add_argument("testset", type=Path, help="a folder that `testset` wrote")
    parser.add_argument(
        "--model",
        default="none",
        metavar="none|default|PATH",
        help="network after the filter (default %(default)s)",
    )
    parser.add_argument(
        "--swaps", action="store_true", help="also with zero, reversed and foreign gyroscope data"
    )
    parser.add_argument("--no-guard", action="store_true", help="the filter's result as it is")
    parser.add_argument("--threads", type=positive_int, help="default: all processors")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--sheet", type=Path, help="write crops of all pictures to this PNG")
    parser.set_defaults(run=_run_evaluate)


def _run_evaluate(args: argparse.Namespace) -> int:
    threads = args.threads or available_threads()
    scores, shown = [], []
    for judged in evaluate(
        args.testset,
        model=choose_model(args.model, threads),
        options=RestoreOptions(threads=threads, guard=not args.no_guard),
        swaps=args.swaps,
        progress=_print_progress,
    ):
        scores.append(judged.score)
        if args.sheet:
            shown.append(sheet_strip(judged))
    print(json.dumps(summary_json(scores), indent=1) if args.json else markdown(scores))
    if args.sheet:
        write_atomic(args.sheet, encode_png(np.vstack(shown)))
    return 0


def _print_progress(name: str, share: float) -> None:
    print(f"{share:4.0%}  {name}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
