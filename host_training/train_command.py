"""`stillpi-train train`: photographs and motion to the weights of a network.

The same command goes on where a run ended, and `torchrun -m host_training.cli train ...` shares it
among processes. torch is imported only when it runs: the other commands do without.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device.commands.restoring import positive_int
from device.errors import InputError
from host_training.command_line import command_line
from host_training.config import PRECISIONS, TrainConfig

if TYPE_CHECKING:
    from torch import Tensor

    from host_training.pairs import PairSource
    from host_training.train import OpenBatches, Outcome
    from host_training.watch import Watch
    from host_training.world import World

_WATCHED_STREAM = 1_000_000
"""A stream no worker has: its pairs are of the same photographs, but not those trained on."""

_HELP = {
    "batch_size": "pairs a step and process",
    "rate": "learning rate after the warm-up",
    "last_rate": "learning rate at the end",
    "warmup_steps": "steps in which the rate rises",
    "weight_decay": "of AdamW",
    "clip_norm": "largest norm of the gradient",
    "average_decay": "of the moving average of the weights",
    "log_steps": "steps between lines of the log",
    "save_steps": "steps between checkpoints",
    "keep": "checkpoints that stay",
    "steps": "of the whole run",
    "seed": "of all chance",
}
_OTHERS = (
    ("--crop-px", 128, "side of a pair"),
    ("--scenes", 96, "rendered scenes held by each worker"),
    ("--ramp-steps", 0, "steps until the sensor's errors are whole"),
    ("--workers", 1, "processes that make pairs"),
    ("--watched", 32, "fixed pairs judged at every checkpoint"),
)


def add_train_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to `stillpi-train`."""
    parser = commands.add_parser(
        "train",
        help="train a network on pairs made on the fly",
        description="Train a network; the same command again goes on from the newest checkpoint. "
        "SIGTERM or Ctrl-C save one and end the run. For several processes: "
        "torchrun --nproc-per-node N -m host_training.cli train ...",
    )
    parser.add_argument(
        "folder", type=Path, metavar="RUN", help="folder of this run's checkpoints and log"
    )
    parser.add_argument("--photos", type=Path, required=True, help="folder of sharp photographs")
    parser.add_argument("--motion", type=Path, required=True, help="folder of motion recordings")
    default = TrainConfig()
    parser.add_argument("--network", default=default.network, help=_with("of the registry"))
    precision = _with("of the forward pass")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default=default.precision, help=precision
    )
    parser.add_argument(
        "--channels-last",
        action=argparse.BooleanOptionalAction,
        default=default.channels_last,
        help=_with("memory format of network and batches"),
    )
    for name, words in _HELP.items():
        value = getattr(default, name)
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=type(value), default=value, help=_with(words))
    for name, number, words in _OTHERS:
        parser.add_argument(name, type=int, default=number, help=_with(words))
    parser.add_argument("--threads", type=positive_int, help="of the training process")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is")
    parser.set_defaults(run=run_train)


def _with(words: str) -> str:
    return f"{words} (default %(default)s)"


def run_train(args: argparse.Namespace) -> int:
    """Train; returns the exit code: 0 also when a signal ended the run."""
    try:
        import torch
    except ModuleNotFoundError as error:
        found = f"no module {error.name}"
        raise InputError("stillpi-train", "train", found, "pip install 'stillpi[train]'") from error

    from host_training.pairs import PairOptions, PairSource
    from host_training.tasks import build_network, task_of
    from host_training.train import train
    from host_training.world import joined_world

    config = TrainConfig(**{field.name: getattr(args, field.name) for field in fields(TrainConfig)})
    _check(args)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(config.seed)
    network = build_network(config.network)
    # Draws are counted in each worker, steps over all of them.
    draws = args.ramp_steps * config.batch_size // max(1, args.workers)
    options = PairOptions(crop_px=args.crop_px, scenes=args.scenes, ramp_draws=draws)
    source = PairSource.read(args.photos, args.motion, options, seed=config.seed)
    with joined_world(args.device) as world:
        outcome = train(
            network,
            task_of(config.network),
            _opener(source, config, args.workers, world),
            config,
            args.folder,
            world=world,
            watch=_watch(source, config, args.watched, draws) if world.leads else None,
            bar=sys.stderr.isatty(),
            extra=_provenance(source, args.crop_px),
        )
        if world.leads:
            print(_told(outcome, config))
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.crop_px < 64 or args.crop_px % 16:
        raise InputError("stillpi-train", "--crop-px", args.crop_px, "a multiple of 16 from 64 on")
    least = {"scenes": 1, "ramp-steps": 0, "workers": 0, "watched": 0}
    for name, lowest in least.items():
        found = getattr(args, name.replace("-", "_"))
        if found < lowest:
            raise InputError("stillpi-train", f"--{name}", found, f"{lowest} or more")


def _opener(source: PairSource, config: TrainConfig, workers: int, world: World) -> OpenBatches:
    from host_training.pair_dataset import pair_batches

    def open_batches(first_step: int) -> Iterator[Mapping[str, Tensor]]:
        return iter(
            pair_batches(
                source,
                batch_size=config.batch_size,
                workers=workers,
                first_batch=first_step,
                rank=world.rank,
                ranks=world.size,
                pin_memory=world.device.type == "cuda",
            )
        )

    return open_batches


def _watch(source: PairSource, config: TrainConfig, count: int, first_draw: int) -> Watch | None:
    """Pairs with errors of full strength, those from `first_draw` on, in batches."""
    import torch

    from host_training.networks import restore
    from host_training.pair_dataset import as_sample
    from host_training.watch import Watch

    if count < 1:
        return None
    watched = source.of_stream(_WATCHED_STREAM)
    samples = [as_sample(watched.draw(first_draw + number)) for number in range(count)]
    size = config.batch_size
    parts = [samples[start : start + size] for start in range(0, count, size)]
    batches = [{name: torch.stack([s[name] for s in part]) for name in part[0]} for part in parts]
    return Watch(batches, restore)


def _provenance(source: PairSource, crop_px: int) -> dict[str, Any]:
    """What a checkpoint says of where it comes from."""
    return {
        "command": command_line(),
        "crop_px": crop_px,
        "photographs": source.photo_names,
    }


def _told(outcome: Outcome, config: TrainConfig) -> str:
    if outcome.stopped:
        return (
            f"stopped after step {outcome.step} of {config.steps}, saved as {outcome.checkpoint}; "
            "the same command goes on from there"
        )
    return f"{config.network} trained for {outcome.step} steps: {outcome.checkpoint}"
