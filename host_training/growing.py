"""A larger network that begins as a smaller one: same results, new weights that can learn.

Net2Net (Chen, Goodfellow and Shlens, "Accelerating learning via knowledge transfer", ICLR 2016):
what the small network knows need not be learned again. The small one's channels come first and see
none of the new ones at the start; new channels begin at random and see everything; residual blocks
that the small one lacks begin as identities, what enters them being positive.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from host_training.checkpoint import CheckpointError


@torch.no_grad()
def grow(network: nn.Module, small: dict[str, Tensor]) -> None:
    """Put the weights of a smaller network of the same design into a new one.

    small : its state. Raises CheckpointError naming a tensor that has no place or no room here;
    nothing is changed then.
    """
    grown = network.state_dict()
    for name, tensor in small.items():
        there = tuple(grown[name].shape) if name in grown else ()
        fits = len(there) == tensor.ndim and all(map(int.__le__, tensor.shape, there))
        if not fits:
            room = f"at most {there}" if there else "no such tensor"
            raise CheckpointError(f"{name}: found {tuple(tensor.shape)}, expected {room}")
    for name in grown.keys() - small.keys():
        if not _of_a_block(name):
            raise CheckpointError(f"{name}: found none, expected it in the smaller network")
    for name, tensor in grown.items():
        if name in small:
            part = small[name]
            if tensor.ndim > 1:
                tensor[: part.shape[0]] = 0.0
            tensor[tuple(slice(length) for length in part.shape)] = part
        elif ".second." in name:
            tensor.zero_()


def _of_a_block(name: str) -> bool:
    """Whether a tensor is one of a residual block's two convolutions."""
    return ".first." in name or ".second." in name
