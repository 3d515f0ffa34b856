"""What each network of the registry learns."""

from __future__ import annotations

from torch import Tensor, nn

from device.errors import InputError
from host_training import networks
from host_training.losses import CorrectorLoss, seed_loss
from host_training.train import Batch, Task


def build_network(name: str) -> nn.Module:
    """A new network by name. Raises InputError naming those there are."""
    if name not in networks.NAMES:
        raise InputError("stillpi-train", "network", name, ", ".join(networks.NAMES))
    return networks.build(name)


def task_of(name: str) -> Task:
    """Restoration and loss of a network: the seed's own for its network, ours for the others."""
    return Task(networks.restore, _seed_loss if name == "seed_unet" else CorrectorLoss())


def _seed_loss(restored: Tensor, batch: Batch) -> Tensor:
    return seed_loss(restored, batch["sharp"])
