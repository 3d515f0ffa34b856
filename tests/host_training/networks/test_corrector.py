"""The correctors: budgets, shapes, starting point, what they may be made of."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed")

from torch import nn  # noqa: E402

from device.restore.network import provided_shapes  # noqa: E402
from host_training.networks import (  # noqa: E402
    Corrector,
    CorrectorConfig,
    build,
    example_inputs,
    macs_per_pixel,
)
from host_training.networks.corrector import PLANS  # noqa: E402

SIZES = sorted(PLANS)
BUDGET_KMAC = {"S": 5.6, "M": 12.6, "L": 36.3}


def _random_inputs(size: int, batch: int = 1) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(3)
    shapes = [(batch, *shape[1:]) for shape in provided_shapes(size).values()]
    *pictures, paths, noise = (torch.rand(shape, generator=generator) for shape in shapes)
    return *pictures, paths - 0.5, 0.05 * noise


@pytest.mark.parametrize("size", SIZES)
def test_the_budget_of_multiplications_is_kept(size: str) -> None:
    assert macs_per_pixel(build(f"corrector-{size}")) / 1000 == pytest.approx(
        BUDGET_KMAC[size], rel=0.01
    )


@pytest.mark.parametrize("size", SIZES)
def test_inputs_are_those_that_the_device_provides(size: str) -> None:
    network = build(f"corrector-{size}")
    assert [list(x.shape) for x in example_inputs(network, 72)] == list(
        provided_shapes(72).values()
    )
    assert network(*_random_inputs(72, batch=2)).shape == (2, 3, 72, 72)


@pytest.mark.parametrize("size", SIZES)
def test_training_begins_near_the_result_of_the_filter(size: str) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        residual = build(f"corrector-{size}")(*_random_inputs(64))
    assert 0 < residual.abs().mean() < 0.02


@pytest.mark.parametrize("size", SIZES)
def test_every_input_and_every_parameter_matters(size: str) -> None:
    torch.manual_seed(0)
    network = build(f"corrector-{size}")
    inputs = [x.requires_grad_() for x in _random_inputs(64)]
    network(*inputs).abs().mean().backward()
    assert all(x.grad.abs().sum() > 0 for x in inputs)
    assert all(p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("size", SIZES)
def test_only_layers_that_run_in_int8(size: str) -> None:
    allowed = (nn.Conv2d, nn.ReLU, nn.Sequential, Corrector)
    leaves = [m for m in build(f"corrector-{size}").modules() if not list(m.children())]
    assert leaves
    assert all(isinstance(m, allowed) for m in leaves)
    widths = PLANS[size].widths
    assert all(width % 16 == 0 for width in widths)


def test_channels_last_stays_channels_last_and_changes_nothing() -> None:
    torch.manual_seed(0)
    network, inputs = build("corrector-S"), _random_inputs(64)
    with torch.no_grad():
        expected = network(*inputs)
        network.to(memory_format=torch.channels_last)
        result = network(*(x.to(memory_format=torch.channels_last) for x in inputs))
    assert result.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-6)


def test_a_move_by_a_cell_moves_the_residual() -> None:
    torch.manual_seed(0)
    network, inputs = build("corrector-S"), _random_inputs(192)
    strides = [x.shape[-1] // 24 for x in inputs]
    with torch.no_grad():
        whole = network(*inputs)
        moved = network(*(x[..., s:, s:] for x, s in zip(inputs, strides, strict=True)))
    inner = slice(80, 104)
    torch.testing.assert_close(
        moved[..., inner, inner], whole[..., 88:112, 88:112], rtol=1e-3, atol=1e-6
    )


def test_a_wrong_configuration_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="size: found 'XL'"):
        CorrectorConfig("XL")
    with pytest.raises(ValueError, match="noise_unit"):
        CorrectorConfig("M", noise_unit=0.0)
