"""A grown network restores as the one it grew from, and all of it can learn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from host_training import networks  # noqa: E402
from host_training.averaging import WeightAverage  # noqa: E402
from host_training.checkpoint import (  # noqa: E402
    AVERAGE,
    CheckpointError,
    TrainState,
    read_checkpoint,
    save_checkpoint,
)
from host_training.cli import main  # noqa: E402
from host_training.config import TrainConfig  # noqa: E402
from host_training.growing import grow  # noqa: E402


def trained(name: str, seed: int) -> torch.nn.Module:
    """Random weights large enough that every branch counts."""
    torch.manual_seed(seed)
    network = networks.build(name)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return network


def inputs(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"blurred": (3, 1), "filtered": (3, 1), "underdamped": (1, 1), "paths": (16, 8)}
    shapes["noise"] = (1, 8)
    return {
        name: torch.rand(2, channels, 64 // stride, 64 // stride, generator=generator)
        for name, (channels, stride) in shapes.items()
    }


@pytest.mark.parametrize(("small", "large"), [("S", "M"), ("M", "L"), ("S", "L"), ("M", "M")])
def test_it_restores_as_the_smaller_one(small: str, large: str) -> None:
    first, second = trained(f"corrector-{small}", 1), trained(f"corrector-{large}", 2)
    grow(second, first.state_dict())
    batch = inputs(3)
    with torch.no_grad():
        expected, found = networks.restore(first, batch), networks.restore(second, batch)
    assert (expected - batch["filtered"]).abs().max() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_every_new_weight_takes_part_after_two_steps() -> None:
    second = trained("corrector-L", 2)
    grow(second, trained("corrector-M", 1).state_dict())
    before = {name: weight.clone() for name, weight in second.named_parameters()}
    optimiser = torch.optim.SGD(second.parameters(), lr=0.1)
    for seed in (3, 4, 5):
        optimiser.zero_grad()
        networks.restore(second, inputs(seed)).square().mean().backward()
        optimiser.step()
    for name, weight in second.named_parameters():
        moved = (weight != before[name]).float().mean()
        assert moved > 0.5, name


def test_what_does_not_fit_changes_nothing() -> None:
    small = trained("corrector-S", 1)
    before = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"found \(32, 7, 4, 4\), expected no such tensor"):
        grow(small, {"steam.weight": torch.zeros(32, 7, 4, 4)})
    with pytest.raises(CheckpointError, match=r"found \(48, .*, expected at most \(32, "):
        grow(small, trained("corrector-L", 2).state_dict())
    incomplete = {name: torch.zeros_like(tensor) for name, tensor in before.items()}
    del incomplete["output.bias"]
    with pytest.raises(CheckpointError, match=r"output\.bias: found none"):
        grow(small, incomplete)
    assert all(torch.equal(tensor, before[name]) for name, tensor in small.state_dict().items())


def test_the_command_begins_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = trained("corrector-S", 1)
    config = TrainConfig(network="corrector-S")
    state = TrainState(
        network, torch.optim.AdamW(network.parameters()), WeightAverage(network, 0.0), 7
    )
    small = read_checkpoint(save_checkpoint(tmp_path / "S", state, config))
    words = ["grow", str(tmp_path / "S"), "--network", "corrector-M", "-o", str(tmp_path / "M")]
    assert main(words) == 0
    begun = tmp_path / "M" / "step-00000000"
    assert capsys.readouterr().out.strip() == str(begun)
    found = read_checkpoint(tmp_path / "M", network="corrector-M")
    assert (found.step, found.config.network) == (0, "corrector-M")
    told = json.loads((begun / "checkpoint.json").read_text())["grown_from"]
    assert told == {"network": "corrector-S", "step": 7, "sha256": small.files[AVERAGE]}
    assert main([*words[:3], "corrector-XL", "-o", str(tmp_path / "X")]) == 2
    assert "corrector-XL" in capsys.readouterr().err
    assert not (tmp_path / "X").exists()
