"""The command line `stillpi-train`: photographs and motion to test sets, models and figures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from device.errors import StillpiError
from host_training.average_command import add_average_parser
from host_training.evaluate_command import add_evaluate_parsers, print_progress
from host_training.grow_command import add_grow_parser
from host_training.pairs_command import add_pairs_parser
from host_training.seed_protocol_command import add_seed_protocol_parser
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
    add_evaluate_parsers(commands)
    add_pairs_parser(commands)
    add_train_parser(commands)
    add_average_parser(commands)
    add_grow_parser(commands)
    add_seed_protocol_parser(commands)
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
        progress=print_progress,
    )
    print(f"{len(written)} bundles in {args.destination}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
