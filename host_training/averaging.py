"""A moving average of the weights: smoother than the last step's, and what is shipped."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of a network's parameters; buffers are copied as they are."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights: dict[str, Tensor] = {
            name: tensor.detach().clone() for name, tensor in network.state_dict().items()
        }

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after a step, 0 the first.

        The decay grows from 0.1 with the steps, or the random beginning would weigh on for long.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        trained = {name for name, _ in network.named_parameters()}
        for name, tensor in network.state_dict().items():
            if name in trained:
                self.weights[name].lerp_(tensor, 1 - decay)
            else:
                self.weights[name].copy_(tensor)
