"""The compared network runs as in training; what cannot be compared is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed")

from device.errors import InputError, StillpiError  # noqa: E402
from device.kernels.encode import paths_view  # noqa: E402
from host_training import networks  # noqa: E402
from host_training.averaging import WeightAverage  # noqa: E402
from host_training.blur_fields import photograph_alone, uniform_field  # noqa: E402
from host_training.checkpoint import TrainState, save_checkpoint  # noqa: E402
from host_training.config import TrainConfig  # noqa: E402
from host_training.methods import FILTER, open_methods  # noqa: E402

WIDTH, HEIGHT = 240, 64


def save(run: Path, network: torch.nn.Module, name: str) -> None:
    optimiser = torch.optim.AdamW(network.parameters())
    state = TrainState(network, optimiser, WeightAverage(network, 0.0))
    save_checkpoint(run, replace(state, step=7), TrainConfig(network=name), extra={"scores": {}})


def test_the_seeds_network_runs_in_tiles_as_it_was_trained(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = networks.build("seed_unet")
    save(tmp_path / "run", network, "seed_unet")
    coarse = np.random.default_rng(2).integers(0, 256, (8, 30, 3), np.uint8)
    photo = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    bundle = photograph_alone(photo, tmp_path / "a.capture")
    field = uniform_field(WIDTH, HEIGHT, np.array([20.0, -8.0]))
    methods = open_methods([f"seed={tmp_path / 'run'}"], threads=1, unguarded=True)
    assert [method.name for method in methods] == [FILTER, f"{FILTER}, unguarded", "seed"]
    assert methods[-1].identity["step"] == 7
    restored = methods[-1].restore(bundle, field)

    planes = np.moveaxis(photo, 2, 0).astype(np.float32) / 255
    batch = {
        "blurred": torch.from_numpy(planes)[None],
        "paths": torch.from_numpy(paths_view(field, 0, 0, WIDTH, HEIGHT))[None],
    }
    with torch.inference_mode():
        whole = networks.restore(network.eval(), batch)[0].clamp(0, 1).numpy()
    expected = np.rint(255 * np.moveaxis(whole, 0, 2))
    # Tiles meet in the middle; at the picture's edge they see it mirrored instead of black.
    inner = (slice(24, -24), slice(48, -48))
    assert expected[inner].std() > 1
    np.testing.assert_allclose(restored.pixels[inner], expected[inner], atol=3)


def test_what_is_only_compared_is_judged_briefly(tmp_path: Path) -> None:
    save(tmp_path / "seed", networks.build("seed_unet"), "seed_unet")
    seed = str(tmp_path / "seed")
    methods = open_methods(["none"], threads=1, unguarded=True, compared=[seed, f"again={seed}"])
    assert {m.name: m.brief for m in methods} == {
        FILTER: False,
        f"{FILTER}, unguarded": True,
        "seed": True,
        "again": True,
    }
    with pytest.raises(InputError, match="seed twice"):
        open_methods([seed], threads=1, compared=[seed])


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "run", networks.build("corrector-S"), "corrector-S")
    with pytest.raises(InputError, match="found corrector-S, expected seed_unet, or a model"):
        open_methods([str(tmp_path / "run")], threads=1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(StillpiError, match="no checkpoint here"):
        open_methods([str(tmp_path / "empty")], threads=1)
    save(tmp_path / "seed", networks.build("seed_unet"), "seed_unet")
    with pytest.raises(InputError, match="seed twice"):
        open_methods([str(tmp_path / "seed"), f"seed={tmp_path / 'seed'}"], threads=1)
