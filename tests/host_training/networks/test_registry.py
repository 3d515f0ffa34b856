"""Networks by name, how they restore a batch, and the counter of multiplications."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed")

from torch import nn  # noqa: E402

from device.restore.network import provided_shapes  # noqa: E402
from host_training.networks import NAMES, build, count_macs, restore  # noqa: E402


def _batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.rand((2, *shape[1:]), generator=generator)
        for name, shape in provided_shapes(32).items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_network_restores_a_batch(name: str) -> None:
    torch.manual_seed(0)
    network = build(name)
    assert restore(network, _batch()).shape == (2, 3, 32, 32)


def test_a_corrector_adds_to_the_filtered_picture() -> None:
    torch.manual_seed(0)
    network, batch = build("corrector-S"), _batch()
    with torch.no_grad():
        network.output.weight.zero_()
        torch.testing.assert_close(restore(network, batch), batch["filtered"])


def test_a_wrapped_seed_network_still_gets_vectors() -> None:
    class Wrapper(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.module(*inputs)
            return result

    torch.manual_seed(0)
    seed, batch = build("seed_unet").eval(), _batch()
    with torch.no_grad():
        torch.testing.assert_close(restore(Wrapper(seed), batch), restore(seed, batch))


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="found 'unet', expected one of corrector-S"):
        build("unet")


def test_multiplications_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
        nn.ConvTranspose2d(6, 5, 2, stride=2),
        nn.ReLU(),
        nn.Linear(16, 7),
    )
    count = count_macs(network, torch.zeros(1, 4, 16, 16))
    assert count.by_module == {
        "0": 6 * 8 * 8 * (4 // 2) * 9,
        "1": 6 * 8 * 8 * 5 * 4,
        "3": 5 * 16 * 7 * 16,
    }
    assert count.total == sum(count.by_module.values())
    assert network.training
