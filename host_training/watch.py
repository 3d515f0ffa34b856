"""How good the averaged weights are while training goes on, on pairs that do not change.

For watching only: what is published comes from `stillpi-train evaluate` on whole photographs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

BORDER_PX = 16
_LEAST_ERROR = 1e-10

Restore = Callable[[nn.Module, dict[str, Tensor]], Tensor]


class Watch:
    """Fixed batches, and a second network that gets the weights to judge."""

    def __init__(
        self,
        batches: Sequence[Mapping[str, Tensor]],
        restore: Restore,
        *,
        border_px: int = BORDER_PX,
    ) -> None:
        """border_px : left out at every side, where filters see little.

        batches : as in training.
        """
        self._batches, self._restore, self._border_px = batches, restore, border_px
        self._network: nn.Module | None = None

    @torch.no_grad()
    def scores(self, network: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """Mean PSNR in dB of sRGB-coded values: blurred, filtered and restored with `weights`.

        network : tells the kind and the device; it is not changed.
        """
        if self._network is None:
            self._network = copy.deepcopy(network).eval()
        self._network.load_state_dict(weights)
        device = next(network.parameters()).device
        found: dict[str, list[Tensor]] = {"blurred": [], "filtered": [], "restored": []}
        for batch in self._batches:
            here = {name: tensor.to(device) for name, tensor in batch.items()}
            here["restored"] = self._restore(self._network, here)
            for name, values in found.items():
                values.append(self._psnr_db(here[name], here["sharp"]))
        return {f"psnr_{name}": float(torch.cat(values).mean()) for name, values in found.items()}

    def _psnr_db(self, picture: Tensor, sharp: Tensor) -> Tensor:
        """(N,) of each picture against its truth."""
        inner = slice(self._border_px, -self._border_px or None)
        error = picture.float().clamp(0, 1) - sharp
        power = error[..., inner, inner].square().mean((1, 2, 3))
        return -10 * power.clamp(min=_LEAST_ERROR).log10()
