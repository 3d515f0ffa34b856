"""`stillpi-train seed-protocol`: the seed system's network, trained and judged as it was there."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device.commands.restoring import available_threads, positive_int
from device.errors import InputError
from host_training.command_line import command_line
from host_training.config import PRECISIONS
from host_training.methods import open_methods, seed_method
from host_training.seed_protocol import (
    BLURRED,
    CROP_PX,
    LENGTH_PX,
    PROTOCOL,
    VALIDATION_PICTURES,
    SmearedCrops,
    judge,
    seed_config,
    split_library,
    write_result,
    write_validation,
)
from host_training.tables import table

if TYPE_CHECKING:
    from torch import Tensor

    from host_training.config import TrainConfig
    from host_training.train import OpenBatches
    from host_training.world import World

_SEED_NETWORK = "seed_unet"


def add_seed_protocol_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> None:
    """Add the command to `stillpi-train`."""
    parser = commands.add_parser(
        "seed-protocol",
        help="train and judge the seed system's network by its own protocol",
        description="Train seed_unet on crops with one straight smear each and no noise, then "
        "judge it on ten pictures it never saw; the same ten go through stillpi's own pipeline. "
        "The same command again goes on from the newest checkpoint.",
    )
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder of this run")
    parser.add_argument("--photos", type=Path, required=True, help="folder of sharp photographs")
    parser.add_argument(
        "--steps", type=positive_int, default=20_000, help="of the run (default %(default)s)"
    )
    parser.add_argument("--minutes", type=float, help="end training earlier, after this time")
    parser.add_argument(
        "--save-steps", type=positive_int, default=500, help="between checkpoints (%(default)s)"
    )
    parser.add_argument(
        "--crop-px", type=int, default=CROP_PX, help="side of a crop (default %(default)s)"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that make pairs")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="of the network's forward pass (default %(default)s, the protocol's)",
    )
    parser.add_argument("--seed", type=int, default=1, help="of all chance (default %(default)s)")
    parser.add_argument("--shrink", type=positive_int, default=2, help="of photographs")
    parser.add_argument("--threads", type=positive_int, help="default: all processors")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is")
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="[NAME=]PATH",
        help="a model bundle that gets the ten pictures too; may be given several times",
    )
    parser.set_defaults(run=run_seed_protocol)


def run_seed_protocol(args: argparse.Namespace) -> int:
    """Train and judge; returns the exit code: 0 also when a signal ended the training."""
    try:
        import torch
    except ModuleNotFoundError as error:
        found = f"no module {error.name}"
        raise InputError(
            "stillpi-train", "seed-protocol", found, "pip install 'stillpi[train]'"
        ) from error

    from host_training.checkpoint import checkpoints, read_checkpoint
    from host_training.tasks import build_network, task_of
    from host_training.train import train
    from host_training.world import joined_world

    if args.crop_px < 64 or args.crop_px % 16:
        raise InputError("stillpi-train", "--crop-px", args.crop_px, "a multiple of 16 from 64 on")
    if checkpoints(args.folder):
        other = read_checkpoint(args.folder, network=_SEED_NETWORK)
        if (found := other.metadata.get("protocol", "stillpi")) != PROTOCOL:
            raise InputError(other.path, "protocol", found, PROTOCOL)
    threads = args.threads or available_threads()
    torch.set_num_threads(threads)
    config = seed_config(
        steps=args.steps,
        save_steps=args.save_steps,
        precision=args.precision,
        seed=args.seed,
    )
    torch.manual_seed(config.seed)
    training, validation = split_library(args.photos, shrink=args.shrink)
    command = command_line()
    with joined_world(args.device) as world:
        outcome = train(
            build_network(_SEED_NETWORK),
            task_of(_SEED_NETWORK),
            _opener(SmearedCrops(training, args.seed, crop_px=args.crop_px), config, args, world),
            config,
            args.folder,
            world=world,
            bar=sys.stderr.isatty(),
            extra={
                "protocol": PROTOCOL,
                "command": command,
                "crop_px": args.crop_px,
                "photographs": list(training.names),
            },
            on_step=_until(args.minutes),
        )
        if not world.leads:
            return 0
    crops = SmearedCrops(validation, args.seed, crop_px=args.crop_px)
    methods = [
        seed_method(_SEED_NETWORK, outcome.checkpoint),
        *open_methods(args.model, threads=threads),
    ]
    with tempfile.TemporaryDirectory() as scratch:
        judged = judge(write_validation(crops, Path(scratch)), methods)
    result = {
        "protocol": PROTOCOL,
        "command": command,
        "step": outcome.step,
        "batch_size": config.batch_size,
        "crop_px": args.crop_px,
        "length_px": LENGTH_PX,
        "photographs": VALIDATION_PICTURES,
        "methods": judged,
        "identities": {method.name: method.identity for method in methods},
    }
    path = write_result(args.folder, result)
    print(_told(result))
    print(f"written to {path}")
    return 0


def _opener(
    crops: SmearedCrops, config: TrainConfig, args: argparse.Namespace, world: World
) -> OpenBatches:
    import cv2
    import torch
    from torch.utils.data import DataLoader, Dataset

    class Crops(Dataset[dict[str, "Tensor"]]):
        def __getitem__(self, number: int) -> dict[str, Tensor]:
            tensors = crops.sample(number).tensors()
            return {name: torch.from_numpy(values) for name, values in tensors.items()}

    def one_thread(_: int) -> None:
        # A forked thread pool has no threads: OpenCV would wait for them for ever.
        cv2.setNumThreads(0)

    def open_batches(first_step: int) -> Iterator[Mapping[str, Tensor]]:
        size = config.batch_size
        turns = range(first_step * world.size + world.rank, config.steps * world.size, world.size)
        return iter(
            DataLoader(
                Crops(),
                batch_sampler=[list(range(turn * size, (turn + 1) * size)) for turn in turns],
                num_workers=args.workers,
                multiprocessing_context="fork" if args.workers else None,
                worker_init_fn=one_thread,
                pin_memory=world.device.type == "cuda",
            )
        )

    return open_batches


def _until(minutes: float | None) -> Callable[[int, float], None] | None:
    """Ends the run as a signal would, with a checkpoint."""
    if minutes is None:
        return None
    end_s = time.monotonic() + 60.0 * minutes

    def on_step(step: int, loss: float) -> None:
        if time.monotonic() >= end_s:
            signal.raise_signal(signal.SIGTERM)

    return on_step


def _told(result: dict[str, Any]) -> str:
    rows = [
        [name, f"{found['psnr_db']:.2f}", f"{found['worst_gain_db']:+.2f}" * (name != BLURRED)]
        for name, found in result["methods"].items()
    ]
    return "\n".join(table(["", "PSNR", "worst gain"], rows))
