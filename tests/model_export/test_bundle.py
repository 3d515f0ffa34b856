"""Model bundles: what is written is what a device loads, or nothing is."""

from __future__ import annotations

import hashlib
import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from model_bundles import replace_file
from onnx import TensorProto, helper

from device.errors import InputError, ModelError
from device.kernels.encode import PATHS_ENCODING
from device.kernels.tiling import TileGrid
from device.restore.golden_tile import read_golden
from device.restore.network import load_model, provided_shapes
from model_export.bundle import write_bundle
from model_export.cli import main
from model_export.golden import seeded_tile

TILE, HALO = 64, 8


def tiny_network(names: tuple[str, ...] = ("blurred", "filtered"), tile: int = TILE) -> bytes:
    """Half the difference of its first two inputs, with a weight inside."""
    shapes = provided_shapes(tile)
    nodes = [
        helper.make_node("Sub", [names[0], names[1]], ["difference"]),
        helper.make_node("Mul", ["difference", "half"], ["residual"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shapes.get(n)) for n in names],
        [helper.make_tensor_value_info("residual", TensorProto.FLOAT, [1, 3, tile, tile])],
        [onnx.numpy_helper.from_array(np.float32(0.5), "half")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def changed(network: bytes, change: Any) -> bytes:
    model = onnx.load_model_from_string(network)
    change(model)
    return model.SerializeToString()


def written(folder: Path, network: Path | bytes | None = None, **changes: Any) -> Any:
    options = {"name": "tiny", "tile_size": TILE, "halo": HALO, **changes}
    return write_bundle(folder, tiny_network() if network is None else network, **options)


def nothing_is_left(folder: Path) -> bool:
    """Neither the bundle nor a hidden folder it was begun in."""
    return not folder.exists() and list(folder.parent.iterdir()) == []


def test_the_bundle_is_what_a_device_loads(tmp_path: Path) -> None:
    training = {"photographs": 800, "hours": 2.5}
    model = written(tmp_path / "tiny", training=training, licence={"weights": "MIT"})
    again = load_model(tmp_path / "tiny")
    assert model.manifest == again.manifest
    assert [tensor.name for tensor in again.manifest.inputs] == ["blurred", "filtered"]
    assert again.manifest.inputs[0].shape == [1, 3, TILE, TILE]
    assert again.grid == TileGrid.square(TILE, HALO, 16)
    ones = np.ones((3, TILE, TILE), np.float32)
    residual = again.residual({"blurred": ones, "filtered": 0.2 * ones})
    assert residual == pytest.approx(0.4 * ones)


def test_the_manifest_tells_people_and_programs(tmp_path: Path) -> None:
    network = tiny_network()
    metrics = {"psnr_db": 27.25, "command": "stillpi-train evaluate set"}
    training = {"data": [{"name": "photos", "licence": "CC0-1.0"}]}
    written(
        tmp_path / "tiny", network, metrics=metrics, training=training, versions={"torch": "2.4"}
    )
    told = json.loads((tmp_path / "tiny" / "manifest.json").read_text(encoding="utf-8"))
    assert (tmp_path / "tiny" / "model.onnx").read_bytes() == network
    golden = (tmp_path / "tiny" / "golden.npz").read_bytes()
    assert told == {
        "format": "stillpi-model",
        "version": 1,
        "name": "tiny",
        "model": {"file": "model.onnx", "sha256": hashlib.sha256(network).hexdigest()},
        "alternatives": [],
        "golden": {
            "file": "golden.npz",
            "sha256": hashlib.sha256(golden).hexdigest(),
            "tolerance_codes": 1.0,
            "tile": "seeded",
        },
        "tile": {"size": TILE, "halo": HALO},
        "field_encoding": PATHS_ENCODING,
        "inputs": [
            {"name": "blurred", "shape": [1, 3, TILE, TILE], "scaling": "sRGB 0..1"},
            {"name": "filtered", "shape": [1, 3, TILE, TILE], "scaling": "sRGB 0..1"},
        ],
        "output": {
            "name": "residual",
            "shape": [1, 3, TILE, TILE],
            "scaling": "sRGB 0..1, added to filtered",
        },
        "training": training,
        "licence": {},
        "metrics": metrics,
        "versions": {
            **{name: version(name) for name in ("stillpi", "onnx", "onnxruntime")},
            "torch": "2.4",
        },
    }


def test_a_file_serves_as_well_as_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(tiny_network())
    from_file = written(tmp_path / "a", tmp_path / "net.onnx")
    assert from_file.manifest == written(tmp_path / "b").manifest


def test_weights_that_are_listed_as_inputs_are_no_inputs(tmp_path: Path) -> None:
    """As ONNX demanded up to its third version."""

    def list_the_weight(model: onnx.ModelProto) -> None:
        model.graph.input.append(helper.make_tensor_value_info("half", TensorProto.FLOAT, []))

    model = written(tmp_path / "tiny", changed(tiny_network(), list_the_weight))
    assert [tensor.name for tensor in model.manifest.inputs] == ["blurred", "filtered"]


def test_an_existing_folder_is_never_replaced(tmp_path: Path) -> None:
    written(tmp_path / "tiny")
    before = (tmp_path / "tiny" / "manifest.json").read_bytes()
    with pytest.raises(InputError, match="found one that exists, expected a new name"):
        written(tmp_path / "tiny", halo=4)
    assert (tmp_path / "tiny" / "manifest.json").read_bytes() == before


def free_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"


def second_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(
        helper.make_tensor_value_info("difference", TensorProto.FLOAT, [1, 3, TILE, TILE])
    )


def outside_weights(model: onnx.ModelProto) -> None:
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "weights.bin"


def half_precision(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.float16(0.5), "half"))


UNFIT: dict[str, tuple[Any, str]] = {
    "a free batch": (free_batch, r"shape of blurred: found \['batch', 3, 64, 64\], expected fixed"),
    "two outputs": (second_output, r"outputs: found \['residual', 'difference'\], expected one"),
    "weights elsewhere": (outside_weights, "weights: found other files, expected all of them"),
    "half precision": (half_precision, r"type of blurred: found tensor\(float16\)"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_networks_a_device_cannot_run(tmp_path: Path, what: str) -> None:
    change, message = UNFIT[what]
    with pytest.raises(ModelError, match=message) as caught:
        written(tmp_path / "tiny", changed(tiny_network(), change))
    assert "\n" not in str(caught.value)
    assert nothing_is_left(tmp_path / "tiny")


@pytest.mark.parametrize("content", [b"", b"not a network", tiny_network()[:150]], ids=len)
def test_what_is_no_network(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ModelError, match=r"model\.onnx: (network|outputs): found"):
        written(tmp_path / "tiny", content)
    assert nothing_is_left(tmp_path / "tiny")


def test_inputs_a_device_cannot_give(tmp_path: Path) -> None:
    shapes = provided_shapes(TILE)
    shapes["depth"] = shapes["blurred"]

    def rename(model: onnx.ModelProto) -> None:
        model.graph.input[0].name = model.graph.node[0].input[0] = "depth"

    message = rf"{tmp_path}/tiny/manifest\.json: inputs: found depth, expected blurred or filtered"
    with pytest.raises(ModelError, match=message):
        written(tmp_path / "tiny", changed(tiny_network(), rename))
    assert nothing_is_left(tmp_path / "tiny")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"tile_size": 128},
            r"inputs blurred: found \[1, 3, 64, 64\], expected \[1, 3, 128",
        ),
        ({"halo": 16}, r"tile\.halo: found 16, expected at most 15"),
        ({"halo": -1}, r"tile\.halo: found -1"),
        (
            {"metrics": {"psnr_db": float("nan"), "command": "x"}},
            "expected plain JSON without NaN",
        ),
        (
            {"metrics": {"psnr_db": 27.25}},
            r"manifest\.json: metrics\.command: found nothing, expected the command",
        ),
        (
            {"training": {"data": [{"name": "a", "licence": "MIT"}, {"name": "b"}]}},
            r"manifest\.json: training\.data\[1\]\.licence: found nothing",
        ),
        ({"training": {"folder": Path("/data")}}, "expected plain JSON without NaN"),
    ],
)
def test_figures_that_do_not_fit(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        written(tmp_path / "tiny", **changes)
    assert nothing_is_left(tmp_path / "tiny")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        written(tmp_path / "file" / "tiny")


# The golden tile and alternatives


def test_a_real_tile_is_kept_of_what_the_network_takes(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    inputs = {
        name: rng.uniform(size=shape[1:]).astype(np.float32)
        for name, shape in provided_shapes(TILE).items()
    }
    model = written(tmp_path / "tiny", golden_inputs=inputs)
    tile = read_golden(tmp_path / "tiny" / "golden.npz", model.manifest)
    assert list(tile.inputs) == ["blurred", "filtered"]
    assert tile.inputs["blurred"] == pytest.approx(inputs["blurred"], abs=0.5 / 255)
    used = (tile.inputs["blurred"] - tile.inputs["filtered"])[:, HALO:-HALO, HALO:-HALO]
    assert tile.residuals["model.onnx"] == pytest.approx(0.5 * used, abs=1e-3)
    told = json.loads((tmp_path / "tiny" / "manifest.json").read_text())
    assert told["golden"]["tile"] == "real"


def test_a_seeded_tile_has_every_input_and_is_always_the_same() -> None:
    tile, again = seeded_tile(TILE), seeded_tile(TILE)
    shapes = {name: [1, *values.shape] for name, values in tile.items()}
    assert shapes == provided_shapes(TILE)
    for name, values in tile.items():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, again[name])
        assert values.std() > 0


def test_the_float32_network_lies_beside_as_an_alternative(tmp_path: Path) -> None:
    model = written(tmp_path / "tiny", float32=tiny_network())
    assert [network.file for network in model.manifest.networks] == [
        "model.onnx", "model_fp32.onnx",
    ]  # fmt: skip
    assert (tmp_path / "tiny" / "model_fp32.onnx").read_bytes() == tiny_network()
    tile = read_golden(tmp_path / "tiny" / "golden.npz", model.manifest)
    assert set(tile.residuals) == {"model.onnx", "model_fp32.onnx"}


def test_an_alternative_with_other_inputs_is_refused(tmp_path: Path) -> None:
    other = tiny_network(("filtered", "underdamped"))
    with pytest.raises(ModelError, match=r"tiny/model_fp32\.onnx: inputs: found"):
        written(tmp_path / "tiny", float32=other)
    assert nothing_is_left(tmp_path / "tiny")


def test_a_coarse_output_may_differ_by_two_of_its_steps(tmp_path: Path) -> None:
    """As an int8 network's does whose residuals are large: a step of 2 codes here."""

    def quantise_output(model: onnx.ModelProto) -> None:
        graph = model.graph
        graph.node[1].output[0] = "fine"
        for operator, tensors in (
            ("QuantizeLinear", ["fine", "scale", "zero"]),
            ("DequantizeLinear", ["codes", "scale", "zero"]),
        ):
            result = ["codes"] if operator == "QuantizeLinear" else ["residual"]
            graph.node.append(helper.make_node(operator, tensors, result))
        graph.initializer.append(onnx.numpy_helper.from_array(np.float32(2 / 255), "scale"))
        graph.initializer.append(onnx.numpy_helper.from_array(np.int8(0), "zero"))

    model = written(tmp_path / "tiny", changed(tiny_network(), quantise_output))
    assert model.manifest.golden.tolerance_codes == pytest.approx(4.0, abs=0.001)


# The command line


def build(tmp_path: Path, *more: str) -> list[str]:
    (tmp_path / "net.onnx").write_bytes(tiny_network())
    network, folder = str(tmp_path / "net.onnx"), str(tmp_path / "tiny")
    return [
        "build", network, "-o", folder, "--name", "tiny", "--tile", "64", "--halo", "8", *more,
    ]  # fmt: skip


def test_build_then_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = {
        "metrics": {"psnr_db": 27.25, "command": "stillpi-train evaluate set"},
        "training": {"data": [{"name": "photos", "licence": "CC0-1.0"}]},
        "licence": {"weights": "MIT"},
    }
    options = []
    for part, content in parts.items():
        (tmp_path / f"{part}.json").write_text(json.dumps(content))
        options += [f"--{part}", str(tmp_path / f"{part}.json")]
    assert main(build(tmp_path, *options)) == 0
    sha256 = hashlib.sha256(tiny_network()).hexdigest()
    assert sha256 in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "tiny")]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    difference = r"model\.onnx differs by at most 0\.\d+ of 255 codes, \d+ ms a tile"
    assert re.fullmatch(rf"OK tiny sha256 {sha256}, {difference}", line)
    told = json.loads((tmp_path / "tiny" / "manifest.json").read_text())
    assert {part: told[part] for part in parts} == parts


def test_verify_warns_of_what_people_are_not_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(written(tmp_path / "tiny").path)]) == 0
    ok, *warnings = capsys.readouterr().out.splitlines()
    assert ok.startswith("OK tiny ")
    assert [line.split(": ")[2] for line in warnings] == [
        "training.data", "licence.weights", "metrics.command",
    ]  # fmt: skip


def test_verify_runs_the_golden_tile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(tmp_path / "tiny").path
    replace_file(folder, "model.onnx", tiny_network(("filtered", "blurred")))
    assert main(["verify", str(folder)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"stillpi-export: {folder}/model.onnx: self-test: found a golden tile")
    assert err.count("\n") == 1


def test_verify_names_what_was_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(build(tmp_path)) == 0
    network = tmp_path / "tiny" / "model.onnx"
    network.write_bytes(network.read_bytes() + b"\0")
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "tiny")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"stillpi-export: {network}: sha256: found ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("gone.json", None, "gone.json: No such file"),
        ("list.json", "[1]", "list.json: JSON: found list, expected a JSON object"),
        ("broken.json", "{", "broken.json: JSON: found"),
    ],
)
def test_build_with_a_bad_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    assert main(build(tmp_path, "--training", str(tmp_path / name))) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "tiny").exists()


def test_build_without_a_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = build(tmp_path)
    (tmp_path / "net.onnx").unlink()
    assert main(arguments) == 2
    assert "net.onnx: No such file or directory" in capsys.readouterr().err
