"""The compared networks are those their papers describe, but for the values of their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from device.benchmark import COMPARED_NETWORKS
from model_export.compared import DEEPGYRO, SEED_UNET, UNetPlan, compared_network

PLANS = [SEED_UNET, DEEPGYRO]
CONVOLUTIONS = {"Conv", "ConvTranspose", "FusedConv"}
SIDE = 64


def opened(content: bytes, kept: Path | None = None) -> Any:
    """A session for pictures of SIDE px, its optimised graph kept."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    for side in ("height", "width"):
        options.add_free_dimension_override_by_name(side, SIDE)
    if kept:
        options.optimized_model_filepath = str(kept)
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def picture(channels: int) -> np.ndarray:
    rng = np.random.default_rng(2)
    return rng.uniform(size=(1, channels, SIDE, SIDE)).astype(np.float32)


def test_their_sizes_are_those_published() -> None:
    deepgyro, seed = compared_network(DEEPGYRO), compared_network(SEED_UNET)
    assert deepgyro.parameters == 31_033_027
    assert deepgyro.macs_per_pixel == pytest.approx(736e3, rel=1e-3)
    # Batch normalisation, folded away, had two values for each channel of the 18 convolutions.
    channels = 2 * sum(32 << level for level in range(5)) + 2 * sum(
        32 << level for level in range(4)
    )
    assert seed.parameters + 2 * channels == 7_766_915
    assert seed.macs_per_pixel == pytest.approx(185.1e3, rel=1e-3)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_the_stored_files_are_these_and_small(plan: UNetPlan) -> None:
    stored = (COMPARED_NETWORKS / f"{plan.name}.onnx").read_bytes()
    assert stored == compared_network(plan).onnx
    assert len(stored) < 20_000


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_loaded_they_hold_all_their_weights(plan: UNetPlan, tmp_path: Path) -> None:
    """What is timed is a network with weights in memory: none made as it runs, none shared."""
    made = compared_network(plan)
    opened(made.onnx, tmp_path / "optimised.onnx")
    graph = onnx.load(tmp_path / "optimised.onnx").graph
    assert "ConstantOfShape" not in {node.op_type for node in graph.node}
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type in CONVOLUTIONS]
    weights = [node.input[1] for node in convolutions]
    # Biases, all zero, may be one.
    biases = sum(sizes[node.input[2]] for node in convolutions)
    assert len(set(weights)) == len(weights) == 23
    assert sum(sizes[name] for name in weights) >= made.parameters - biases


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_activations_stay_in_the_pictures_range(plan: UNetPlan) -> None:
    (restored,) = opened(compared_network(plan).onnx).run(
        None, {"picture": picture(plan.channels_in)}
    )
    assert restored.shape == (1, 3, SIDE, SIDE)
    assert 0.01 < restored.min() <= restored.max() < 1.0


def test_the_seeds_computes_what_the_trained_one_would() -> None:
    """With the same weights in torch: the same levels, skips and order of channels."""
    torch = pytest.importorskip("torch", reason="the seed's network is written in torch")
    from host_training.networks import build

    content = compared_network(SEED_UNET).onnx
    nodes = [
        node
        for node in onnx.load_model_from_string(content).graph.node
        if node.op_type == "ConstantOfShape"
    ]
    values = iter(onnx.numpy_helper.to_array(node.attribute[0].t).item() for node in nodes)
    network = build("seed_unet").eval()
    modules = list(network.encoders.modules())
    for up, decoder in zip(network.ups, network.decoders, strict=True):
        modules += [up, *decoder.modules()]
    for module in [*modules, network.output]:
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            torch.nn.init.constant_(module.weight, next(values))
            torch.nn.init.constant_(module.bias, next(values))
        elif isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 0.0
    assert next(values, None) is None
    x = picture(6)
    scale = torch.tensor([64.0]).reshape(1, 1, 1, 1)
    with torch.no_grad():
        expected = network(torch.from_numpy(x[:, :3]), scale * torch.from_numpy(x[:, 3:]))
    (found,) = opened(content).run(None, {"picture": x})
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4)
