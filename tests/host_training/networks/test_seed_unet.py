"""The seed's network, and its vectors from the paths that the correctors read."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed")

from device.kernels.encode import paths_view, vector_view  # noqa: E402
from device.kernels.field import POSES, KernelField  # noqa: E402
from host_training.networks import build, macs_per_pixel  # noqa: E402
from host_training.networks.seed_unet import vectors_from_paths  # noqa: E402


def test_parameters_and_multiplications_are_the_published_ones() -> None:
    network = build("seed_unet")
    assert sum(p.numel() for p in network.parameters()) == 7_766_915
    assert macs_per_pixel(network) / 1000 == pytest.approx(185, rel=0.03)


def test_it_restores_a_batch() -> None:
    torch.manual_seed(0)
    network = build("seed_unet")
    restored = network(torch.rand(2, 3, 32, 48), torch.rand(2, 3, 32, 48))
    assert restored.shape == (2, 3, 32, 48)
    assert torch.isfinite(restored).all()


def _field(size: int) -> KernelField:
    """Paths that turn over the picture: straight, of 0 to 20 px, in every direction."""
    nodes = np.arange(-64.0, size + 65.0, 64.0)
    u, v = np.meshgrid(nodes, nodes)
    chord = np.stack([0.1 * (u - size / 2), 0.08 * (v - size / 3)], axis=-1)
    fraction = np.linspace(-0.5, 0.5, POSES)[:, None]
    paths = (chord[:, :, None, :] * fraction).astype(np.float32)
    sigma, valid = np.zeros(u.shape, np.float32), np.ones(u.shape, bool)
    return KernelField(size, size, nodes, nodes, paths, sigma, valid)


def test_vectors_from_paths_are_the_device_s_own() -> None:
    size = 128
    expected = vector_view(_field(size), 0, 0, size, size)
    paths = torch.from_numpy(paths_view(_field(size), 0, 0, size, size))[None]
    vectors = vectors_from_paths(paths)[0].numpy()
    # Interpolated between cells, so at the picture's edge half a cell is missing; and where x is
    # near 0, either direction is right.
    clear = np.abs(expected[1]) > 0.05
    clear[:4], clear[-4:], clear[:, :4], clear[:, -4:] = False, False, False, False
    assert clear.mean() > 0.8
    np.testing.assert_allclose(vectors[:, clear], expected[:, clear], atol=1e-3)


def test_the_norm_enters_the_network_as_zero_to_one() -> None:
    network = build("seed_unet").eval()
    seen: list[torch.Tensor] = []
    network.encoders[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    vectors = torch.tensor([64.0, 48.0, -16.0]).reshape(1, 3, 1, 1).expand(1, 3, 32, 32)
    network(torch.zeros(1, 3, 32, 32), vectors)
    assert seen[0][0, 3:, 5, 7].tolist() == [1.0, 0.75, -0.25]
