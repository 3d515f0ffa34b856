"""Count a network's multiplications, for budgets in multiplications per full-resolution pixel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

_Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]


@dataclass(frozen=True)
class MacCount:
    """total : multiplications of one pass; by_module : their shares, in order of execution."""

    total: int
    by_module: Mapping[str, int]


def count_macs(network: nn.Module, *inputs: Tensor) -> MacCount:
    """Run the network once and count the multiplications of its convolutions and linear layers.

    Additions of biases, normalisation, activations and resizes are left out, as is customary.
    """
    counts: dict[str, int] = {}
    handles: list[RemovableHandle] = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            handles.append(module.register_forward_hook(_counter(name, counts)))
    training = network.training
    try:
        network.eval()
        with torch.no_grad():
            network(*inputs)
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return MacCount(sum(counts.values()), counts)


def _counter(name: str, counts: dict[str, int]) -> _Hook:
    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        counts[name] = counts.get(name, 0) + _multiplications(module, inputs[0], output)

    return count


def _multiplications(module: nn.Module, x: Tensor, output: Tensor) -> int:
    if isinstance(module, nn.Linear):
        return output.numel() * module.in_features
    if isinstance(module, nn.ConvTranspose2d):
        # Every input value is spread over the kernel, into each output channel of its group.
        return x.numel() * module.weight[0].numel()
    if isinstance(module, nn.Conv2d):
        return output.numel() * module.weight[0].numel()
    raise TypeError(f"found {type(module).__name__}, expected a convolution or a linear layer")
