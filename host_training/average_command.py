"""`stillpi-train average`: several checkpoints of a training to one, the mean of their weights."""

from __future__ import annotations

import argparse
from pathlib import Path

from host_training.command_line import command_line


def add_average_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to `stillpi-train`."""
    parser = commands.add_parser(
        "average",
        help="the mean of several checkpoints' weights, as a checkpoint",
        description="Write a checkpoint whose weights are the mean of the averaged weights of "
        "others, of one network; one that is named twice counts twice. Training can go on there.",
    )
    parser.add_argument(
        "checkpoints", nargs="+", type=Path, metavar="CHECKPOINT", help="the newest one comes last"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="RUN", help="folder of a new run"
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from host_training.checkpoint import read_checkpoint, save_mean

    *others, newest = args.checkpoints
    last = read_checkpoint(newest)
    parts = [*(read_checkpoint(path, network=last.network) for path in others), last]
    print(save_mean(args.output, parts, command=command_line()))
    return 0
