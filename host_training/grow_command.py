"""`stillpi-train grow`: a trained network as the beginning of a larger one."""

from __future__ import annotations

import argparse
from pathlib import Path

from host_training.command_line import command_line


def add_grow_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to `stillpi-train`."""
    parser = commands.add_parser(
        "grow",
        help="begin a larger network as a trained smaller one",
        description="Write the first checkpoint of a run: a larger network that restores as the "
        "averaged weights of a smaller one do. `train` with the same RUN and network goes on.",
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="of the smaller one")
    parser.add_argument("--network", required=True, help="the larger one, of the registry")
    parser.add_argument("--seed", type=int, default=1, help="of new weights (default %(default)s)")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="RUN", help="folder of a new run"
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    import torch

    from host_training.averaging import WeightAverage
    from host_training.checkpoint import AVERAGE, TrainState, read_checkpoint, save_checkpoint
    from host_training.config import TrainConfig
    from host_training.growing import grow
    from host_training.tasks import build_network

    small = read_checkpoint(args.checkpoint)
    torch.manual_seed(args.seed)
    network = build_network(args.network)
    grow(network, small.tensors(AVERAGE))
    config = TrainConfig(network=args.network, seed=args.seed)
    state = TrainState(
        network, torch.optim.AdamW(network.parameters()), WeightAverage(network, 0.0)
    )
    origin = {"network": small.network, "step": small.step, "sha256": small.files[AVERAGE]}
    extra = {"grown_from": origin, "command": command_line()}
    print(save_checkpoint(args.output, state, config, extra=extra))
    return 0
