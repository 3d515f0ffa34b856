"""The networks by name, and how each of them restores a batch.

A batch is a dict of tensors: blurred, filtered (B, 3, S, S) and underdamped (B, 1, S, S) sRGB-coded
0..1, paths (B, 16, S / 8, S / 8), noise (B, 1, S / 8, S / 8), as
device.restore.network.provided_shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from device.restore.network import PROVIDED, provided_shapes
from host_training.networks.corrector import Corrector, CorrectorConfig
from host_training.networks.macs import MacCount, count_macs
from host_training.networks.seed_unet import SeedUNet, vectors_from_paths

__all__ = [
    "INPUTS",
    "NAMES",
    "Corrector",
    "CorrectorConfig",
    "MacCount",
    "SeedUNet",
    "build",
    "count_macs",
    "example_inputs",
    "macs_per_pixel",
    "restore",
]

_BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "corrector-S": lambda: Corrector(CorrectorConfig("S")),
    "corrector-M": lambda: Corrector(CorrectorConfig("M")),
    "corrector-L": lambda: Corrector(CorrectorConfig("L")),
    "seed_unet": SeedUNet,
}

NAMES = tuple(_BUILDERS)
INPUTS = tuple(PROVIDED)
"""Of a corrector, in the order of its arguments."""


def build(name: str) -> nn.Module:
    """A new network with random weights (torch's generator). Raises ValueError, naming them all."""
    if name not in _BUILDERS:
        raise ValueError(f"network: found {name!r}, expected one of {', '.join(NAMES)}")
    return _BUILDERS[name]()


def restore(network: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """The restored pictures (B, 3, S, S), sRGB-coded, not clipped, of any network of this package.

    The seed's sees no filter: its input is the blurred picture and the straight vectors.
    """
    # Under data-parallel training the network lies inside a wrapper.
    inner = network
    while isinstance(wrapped := getattr(inner, "module", None), nn.Module):
        inner = wrapped
    if isinstance(inner, SeedUNet):
        restored: Tensor = network(batch["blurred"], vectors_from_paths(batch["paths"]))
        return restored
    residual: Tensor = network(*(batch[name] for name in INPUTS))
    return batch["filtered"] + residual


def example_inputs(network: nn.Module, size: int = 64) -> tuple[Tensor, ...]:
    """Zeros of the shapes that forward takes, batch 1, tiles of `size` px: for export, counts."""
    if isinstance(network, SeedUNet):
        return torch.zeros(1, 3, size, size), torch.zeros(1, 3, size, size)
    return tuple(torch.zeros(shape) for shape in provided_shapes(size).values())


def macs_per_pixel(network: nn.Module, size: int = 64) -> float:
    """Multiplications for each full-resolution pixel of a tile of `size` px."""
    return count_macs(network, *example_inputs(network, size)).total / size**2
