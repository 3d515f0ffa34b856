"""A checkpoint to a bundle: the same network in ONNX, in int8, and behind the device's loader."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="exporting checkpoints needs the extra `train`")
pytest.importorskip("onnxscript", reason="exporting checkpoints needs the extra `export`")

from device.errors import InputError  # noqa: E402
from device.restore.golden import self_test  # noqa: E402
from device.restore.golden_tile import as_kept, read_golden  # noqa: E402
from device.restore.network import load_model, provided_shapes  # noqa: E402
from host_training.averaging import WeightAverage  # noqa: E402
from host_training.checkpoint import CheckpointError, TrainState, save_checkpoint  # noqa: E402
from host_training.config import TrainConfig  # noqa: E402
from host_training.networks import build  # noqa: E402
from model_export.checkpoint_bundle import (  # noqa: E402
    TILE_PX,
    build_from_checkpoint,
    difference_codes,
)
from model_export.cli import main  # noqa: E402
from model_export.export import to_onnx  # noqa: E402
from model_export.quantize import Tile, census, float_operators, quantise  # noqa: E402

NETWORK = "corrector-S"
SMALL_PX = 64


def network() -> torch.nn.Module:
    """Random weights, with an output strong enough to be compared."""
    torch.manual_seed(3)
    made = build(NETWORK)
    with torch.no_grad():
        made.output.weight.mul_(30.0)
    return made.eval()


def tiles(count: int, size: int, seed: int = 0) -> list[Tile]:
    rng = np.random.default_rng(seed)
    scale = {"blurred": 1.0, "filtered": 1.0, "underdamped": 1.0, "paths": 0.5, "noise": 0.02}
    return [
        {
            name: (scale[name] * rng.uniform(size=shape)).astype(np.float32)
            for name, shape in provided_shapes(size).items()
        }
        for _ in range(count)
    ]


def by_torch(made: torch.nn.Module, tile: Tile) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(made(*(torch.from_numpy(tile[name]) for name in tile)))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    made = network()
    state = TrainState(made, torch.optim.AdamW(made.parameters()), WeightAverage(made, 0.9), 5)
    return save_checkpoint(tmp_path / "run", state, TrainConfig(network=NETWORK))


@pytest.fixture(scope="module")
def exported() -> bytes:
    return to_onnx(network(), tile_size=SMALL_PX)


def test_a_float_bundle_computes_what_torch_does(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    build_from_checkpoint(checkpoint, folder, name="tried", precision="float32")
    model = load_model(folder)
    (tile,) = tiles(1, TILE_PX)
    residual = model.residual({name: value[0] for name, value in tile.items()})
    expected = by_torch(network(), tile)[0]
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(residual, expected, atol=1e-5)


def test_an_int8_bundle_may_keep_the_float32_network_and_tells_how_it_was_made(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model_export.checkpoint_bundle.CALIBRATION_TILES", 4)
    seen = tiles(4 + 8, TILE_PX)
    monkeypatch.setattr("model_export.checkpoint_bundle.calibration_tiles", lambda *_: iter(seen))
    folder = tmp_path / "model"
    build_from_checkpoint(
        checkpoint, folder, name="tried", precision="U8S8", with_float32=True,
        photos=tmp_path / "photos", motion=tmp_path / "motion",
    )  # fmt: skip
    sizes = [(folder / file).stat().st_size for file in ("model.onnx", "model_fp32.onnx")]
    assert sizes[0] < 0.5 * sizes[1]
    test = self_test(folder)
    assert [network.file for network in test.networks] == ["model.onnx", "model_fp32.onnx"]
    told = json.loads((folder / "manifest.json").read_text())
    assert told["golden"]["tile"] == "real"
    assert told["versions"]["torch"] == torch.__version__
    quantisation = told["training"]["quantisation"]
    assert quantisation["calibration_tiles"] == 4
    assert quantisation["operators"]["QLinearConv"] > 5
    assert quantisation["difference_codes"] > 0
    golden = read_golden(folder / "golden.npz", load_model(folder).manifest)
    # Of the tiles that ranges were not calibrated on.
    kept = [as_kept({name: value[0] for name, value in tile.items()}) for tile in seen[4:]]
    assert any(np.array_equal(golden.inputs["blurred"], one["blurred"]) for one in kept)


def test_u8s8_leaves_no_convolution_in_float(exported: bytes) -> None:
    assert float_operators(census(exported))
    quantised = quantise(exported, tiles(4, SMALL_PX), scheme="U8S8")
    counted = census(quantised)
    assert counted["QLinearConv"] > 5
    assert not float_operators(counted)


@pytest.mark.parametrize("scheme", ["U8S8", "S8S8"])
def test_int8_stays_close(exported: bytes, scheme: str) -> None:
    quantised = quantise(exported, tiles(6, SMALL_PX), scheme=scheme)  # type: ignore[arg-type]
    seen = tiles(3, SMALL_PX, seed=9)
    strength = np.std([by_torch(network(), tile) for tile in seen]) * 255
    assert len(quantised) < 0.5 * len(exported)
    assert 0 < difference_codes(exported, quantised, seen) < 0.15 * strength


def test_long_paths_are_held_though_no_tile_has_them(exported: bytes) -> None:
    """What lies in no calibration tile is told from what does."""
    quantised = quantise(exported, tiles(4, SMALL_PX), scheme="U8S8")
    session = onnxruntime.InferenceSession(quantised, providers=["CPUExecutionProvider"])
    tile = tiles(1, SMALL_PX, seed=9)[0]  # none is beyond 0.5
    results = []
    for longest in (0.6, 0.8):
        tile["paths"] = np.full_like(tile["paths"], longest)
        results.append(session.run(None, tile)[0])
    assert not np.array_equal(*results)


def test_codes_of_a_photograph_lie_on_the_steps_of_int8(exported: bytes) -> None:
    """Though no tile reaches 1."""
    dim = [{name: values * np.float32(0.9) for name, values in tile.items()}
           for tile in tiles(4, SMALL_PX)]  # fmt: skip
    graph = onnx.load_from_string(quantise(exported, dim, scheme="U8S8")).graph
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    steps = {
        node.input[0]: (float(stored[node.input[1]]), int(stored[node.input[2]]))
        for node in graph.node
        if node.op_type == "QuantizeLinear"
    }
    for name in ("blurred", "filtered", "underdamped"):
        assert steps[name] == (pytest.approx(1 / 255), 0)


def test_int8_without_tiles_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    with pytest.raises(InputError, match="--photos and --motion"):
        build_from_checkpoint(checkpoint, folder, name="tried", precision="U8S8")
    assert not folder.exists()


def test_a_damaged_checkpoint_is_one_line(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint / "average.safetensors").write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match="damaged"):
        build_from_checkpoint(checkpoint, tmp_path / "model", name="tried", precision="float32")
    command = ["build", str(checkpoint), "-o", str(tmp_path / "model"), "--name", "tried"]
    assert main([*command, "--precision", "float32"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_onnx_file_needs_its_tile_named(
    tmp_path: Path, exported: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "some.onnx"
    path.write_bytes(exported)
    assert main(["build", str(path), "-o", str(tmp_path / "model"), "--name", "tried"]) == 2
    assert "--tile: found nothing" in capsys.readouterr().err
