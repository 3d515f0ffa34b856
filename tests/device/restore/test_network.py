"""Model bundles: what runs, what it is shown, and why the others are refused."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from device.capture.camera import NoiseModel
from device.errors import ModelError
from device.kernels.encode import PATHS_ENCODING, paths_view
from device.kernels.field import KernelField
from device.kernels.tiling import TileGrid
from device.restore.filter_stage import FilteredRows
from device.restore.network import (
    PROVIDED,
    RESIDUAL,
    load_model,
    provided_shapes,
    verified_manifest,
)
from device.restore.network_stage import correct_photo
from device.restore.noise import noise_variance
from device.restore.tone import decode, encode, to_linear
from device.restore.working import CHANGE_UNIT, Change, WorkingPhoto

TILE, HALO = 64, 8
NOISE = NoiseModel(0.001, 0.002)
ONE_CODE = 0.004
GOLDEN = b"loading a model does not look into it"
Shapes = dict[str, list[int]]


def silent(stage: str, share: float) -> None:
    """Progress nobody watches."""


# Tiny networks


def network(nodes: list[Any], inputs: Shapes, constants: dict[str, Any] | None = None) -> bytes:
    """An ONNX file of these nodes; its output is called residual."""
    initializers = [
        onnx.numpy_helper.from_array(np.asarray(value), name)
        for name, value in (constants or {}).items()
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in inputs.items()],
        [helper.make_tensor_value_info("residual", TensorProto.FLOAT, [1, 3, TILE, TILE])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def provided(*names: str) -> Shapes:
    return {name: provided_shapes(TILE)[name] for name in names}


def zero_network() -> bytes:
    """Adds nothing, whatever it sees."""
    node = helper.make_node("Mul", ["filtered", "zero"], ["residual"])
    return network([node], provided("filtered"), {"zero": np.float32(0.0)})


def difference_network() -> bytes:
    """Takes the filter's result back: blurred - filtered."""
    node = helper.make_node("Sub", ["blurred", "filtered"], ["residual"])
    return network([node], provided("blurred", "filtered"))


def probe_network() -> bytes:
    """Shows all four inputs in the picture: blurred - filtered + enlarged (first path, noise).

    Red carries the paths' channel 6, green their channel 14, blue the noise, by cells of 8 px.
    """
    nodes = [
        helper.make_node("Gather", ["paths", "channels"], ["two"], axis=1),
        helper.make_node("Concat", ["two", "noise"], ["cells"], axis=1),
        helper.make_node("Resize", ["cells", "", "scales"], ["large"], mode="nearest",
                         coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        helper.make_node("Sub", ["large", "filtered"], ["less"]),
        helper.make_node("Mul", ["blurred", "zero"], ["nothing"]),
        helper.make_node("Add", ["less", "nothing"], ["residual"]),
    ]  # fmt: skip
    constants = {
        "channels": np.array([6, 14], np.int64),
        "scales": np.array([1, 1, 8, 8], np.float32),
        "zero": np.float32(0.0),
    }
    return network(nodes, provided("blurred", "filtered", "paths", "noise"), constants)


# Bundles


def manifest_for(onnx_bytes: bytes) -> dict[str, Any]:
    graph = onnx.load_model_from_string(onnx_bytes).graph
    shapes = {
        node.name: [size.dim_value for size in node.type.tensor_type.shape.dim]
        for node in (*graph.input, *graph.output)
    }
    return {
        "format": "stillpi-model",
        "version": 1,
        "name": "tiny",
        "model": {"file": "model.onnx", "sha256": hashlib.sha256(onnx_bytes).hexdigest()},
        "tile": {"size": TILE, "halo": HALO},
        "golden": {
            "file": "golden.npz",
            "sha256": hashlib.sha256(GOLDEN).hexdigest(),
            "tolerance_codes": 1.0,
        },
        "field_encoding": PATHS_ENCODING,
        "inputs": [
            {"name": n.name, "shape": shapes[n.name], "scaling": PROVIDED[n.name].scaling}
            for n in graph.input
        ],
        "output": {"name": "residual", "shape": shapes["residual"], "scaling": RESIDUAL},
        "training": {"kept": "for people"},
    }


MakeModel = Callable[..., Path]


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """A bundle of an ONNX file, its manifest changed by `change`."""

    def make(onnx_bytes: bytes, change: Callable[[dict[str, Any]], None] | None = None) -> Path:
        manifest = manifest_for(onnx_bytes)
        if change:
            change(manifest)
        folder = tmp_path / "tiny"
        folder.mkdir()
        (folder / "model.onnx").write_bytes(onnx_bytes)
        (folder / "golden.npz").write_bytes(GOLDEN)
        (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        return folder

    return make


# Pictures


def photo(width: int, height: int, factor: int = 1) -> WorkingPhoto:
    rng = np.random.default_rng(width)
    pixels = rng.integers(40, 200, (height, width, 3)).astype(np.uint8)
    return WorkingPhoto(pixels, "srgb", factor)


def proposed(picture: WorkingPhoto) -> Change:
    """A change such as the filter proposes, by at most 0.02 of light."""
    rng = np.random.default_rng(1)
    step = rng.uniform(-0.02, 0.02, (picture.height, picture.width, 3))
    linear = np.moveaxis(picture.linear_rows(0, picture.height), 0, 2)
    step = np.clip(linear + step, 0.0, 1.0) - linear
    return np.rint(step / CHANGE_UNIT).astype(np.int16)


def sloping_field(width: int, height: int) -> KernelField:
    """Straight paths whose length is the column: every place has its own."""
    node_u, node_v = np.arange(0.0, width + 32, 32), np.arange(0.0, height + 32, 32)
    shape = (len(node_v), len(node_u))
    reach = np.stack(np.broadcast_arrays(node_u / width, (node_v / height)[:, None]), axis=-1)
    paths = 32.0 * reach[:, :, None] * np.linspace(-0.5, 0.5, 9)[:, None]
    return KernelField(
        width, height, node_u, node_v, paths.astype(np.float32),
        np.zeros(shape, np.float32), np.ones(shape, bool),
    )  # fmt: skip


def corrected(
    folder: Path, picture: WorkingPhoto, change: Change, field: KernelField | None = None
) -> Change:
    field = field or sloping_field(picture.width, picture.height)
    lively = np.zeros((picture.height, picture.width), np.int16)
    # In strips as high as no tile is.
    strips = [
        FilteredRows(change[row : row + 37], lively[row : row + 37])
        for row in range(0, picture.height, 37)
    ]
    model = load_model(folder)
    return correct_photo(picture, strips, field, NOISE, model, threads=2, show=silent)


@pytest.mark.parametrize("size", [(100, 80), (30, 20), (150, 131)], ids=str)
@pytest.mark.parametrize("factor", [1, 2])
def test_a_network_that_adds_nothing_leaves_the_filters_result(
    make_model: MakeModel, size: tuple[int, int], factor: int
) -> None:
    picture = photo(*size, factor)
    change = proposed(picture)
    result = corrected(make_model(zero_network()), picture, change)
    assert result.shape == change.shape
    # Coded and back in float32: a few steps of 1/32767.
    assert np.abs(result.astype(int) - change).max() <= 3


@pytest.mark.parametrize(("code", "step"), [(0, 30000), (255, -30000)])
def test_the_largest_changes_are_light_too(make_model: MakeModel, code: int, step: int) -> None:
    """From black to nearly white and back: twice such a step is no 16-bit integer."""
    picture = WorkingPhoto(np.full((60, 70, 3), code, np.uint8), "srgb", 1)
    change = np.full((60, 70, 3), step, np.int16)
    result = corrected(make_model(zero_network()), picture, change)
    assert np.abs(result.astype(int) - change).max() <= 3


def test_a_network_may_take_the_filter_back(make_model: MakeModel) -> None:
    picture = photo(100, 80)
    result = corrected(make_model(difference_network()), picture, proposed(picture))
    assert np.abs(result).max() <= 3


@pytest.mark.parametrize("size", [(128, 96), (81, 49), (150, 131)], ids=str)
def test_it_is_shown_the_paths_and_the_noise_of_its_own_place(
    make_model: MakeModel, size: tuple[int, int]
) -> None:
    """Also in tiles that stand out beyond the picture's right and lower edges."""
    width, height = size
    picture = WorkingPhoto(np.full((height, width, 3), 120, np.uint8), "srgb", 1)
    field = sloping_field(width, height)
    change = np.zeros((height, width, 3), np.int16)
    result = corrected(make_model(probe_network()), picture, change, field)
    light = to_linear(picture.pixels, "srgb") + CHANGE_UNIT * result
    shown = encode(light.astype(np.float64), "srgb")
    # What a cell of 8 px in the middle of the picture's coordinates would show. Tiles begin on
    # multiples of 8 px, so cells are the picture's own.
    cells = paths_view(field, 0, 0, width // 8 * 8, height // 8 * 8)
    inside = np.s_[: cells.shape[1] * 8, : cells.shape[2] * 8]
    for colour, channel in ((0, 6), (1, 14)):
        expected = np.clip(cells[channel].repeat(8, 0).repeat(8, 1), 0.0, 1.0)
        assert shown[inside][:, :, colour] == pytest.approx(expected, abs=ONE_CODE)
    level = float(decode(np.array(120 / 255), "srgb"))
    noise_sd = float(np.sqrt(noise_variance(level, NOISE, "srgb")))
    assert shown[:, :, 2] == pytest.approx(np.full((height, width), noise_sd), abs=3e-4)


def test_a_photograph_that_was_not_shaken_is_left_alone(make_model: MakeModel) -> None:
    picture = photo(100, 80)
    field, model = sloping_field(100, 80), make_model(difference_network())
    for reach, left in ((0.0, True), (1.0, False)):
        field.paths_px[:] = reach * np.linspace(-1.0, 1.0, 9)[:, None]
        result = corrected(model, picture, proposed(picture), field)
        unchanged = np.abs(result.astype(int) - proposed(picture)).max() <= 3
        assert unchanged == left


def test_where_samples_are_missing_the_filters_result_stands(make_model: MakeModel) -> None:
    picture = photo(128, 128)
    field = sloping_field(128, 128)
    field.valid[:] = False
    change = proposed(picture)
    result = corrected(make_model(difference_network()), picture, change, field)
    assert np.abs(result.astype(int) - change).max() <= 1


def test_the_residual_is_of_coded_values_and_clipped(make_model: MakeModel) -> None:
    node = helper.make_node("Add", ["filtered", "much"], ["residual"])
    folder = make_model(network([node], provided("filtered"), {"much": np.float32(5.0)}))
    picture = photo(64, 64)
    result = corrected(folder, picture, np.zeros((64, 64, 3), np.int16))
    white = to_linear(picture.pixels, "srgb") + CHANGE_UNIT * result
    assert white == pytest.approx(np.ones_like(white), abs=1e-4)


# Refusals


def test_a_good_bundle_is_loaded_with_what_it_says(make_model: MakeModel) -> None:
    model = load_model(make_model(probe_network()))
    assert model.manifest.name == "tiny"
    assert model.grid == TileGrid.square(TILE, HALO, 16)
    assert [tensor.name for tensor in model.manifest.inputs] == [
        "blurred", "filtered", "paths", "noise",
    ]  # fmt: skip


Change_ = Callable[[dict[str, Any]], None]


def setting(*path: str | int, to: object) -> Change_:
    def change(manifest: dict[str, Any]) -> None:
        part: Any = manifest
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = to

    return change


REFUSED: dict[str, tuple[Change_, str]] = {
    "another format": (
        setting("format", to="zip"),
        "format: found zip 1, expected stillpi-model 1",
    ),
    "a newer version": (
        setting("version", to=2),
        "found stillpi-model 2, expected stillpi-model 1",
    ),
    "another view of the paths": (
        setting("field_encoding", to=7),
        f"field_encoding: found 7, expected {PATHS_ENCODING}",
    ),
    "a wrong hash": (setting("model", "sha256", to="0" * 64), "expected " + "0" * 64),
    "no hash": (setting("model", "sha256", to="abc"), "model.sha256: found 'abc'"),
    "a missing file": (
        setting("model", "file", to="gone.onnx"),
        "model.file: found gone.onnx, expected a file beside it",
    ),
    "a file in another folder": (
        setting("model", "file", to="../model.onnx"),
        "model.file: found '../model.onnx'",
    ),
    "another golden tile": (
        setting("golden", "sha256", to="1" * 64),
        "golden.npz: sha256: found " + hashlib.sha256(GOLDEN).hexdigest(),
    ),
    "no tolerance": (
        setting("golden", "tolerance_codes", to=0.0),
        "golden.tolerance_codes: found 0.0, expected greater than 0",
    ),
    "an alternative that is missing": (
        setting("alternatives", to=[{"file": "model_fp32.onnx", "sha256": "0" * 64}]),
        "alternatives[0].file: found model_fp32.onnx, expected a file beside it",
    ),
    "an input in another unit": (
        setting("inputs", 2, "scaling", to="pixels"),
        "scaling of paths: found pixels, expected displacements in units of 32 px",
    ),
    "an output of linear light": (
        setting("output", "scaling", to="linear"),
        "scaling of the output: found linear, expected sRGB 0..1, added to filtered",
    ),
    "a tile no path cell fits": (setting("tile", "size", to=60), "tile.size: found 60"),
    "a halo that eats the tile": (
        setting("tile", "halo", to=16),
        "tile.halo: found 16, expected at most 15 for tiles of 64 px",
    ),
    "a tile of another size": (
        setting("tile", "size", to=128),
        "inputs blurred: found [1, 3, 64, 64], expected [1, 3, 128, 128]",
    ),
    "an input we cannot give": (
        setting("inputs", 0, "name", to="depth"),
        "inputs: found depth, expected blurred or filtered or underdamped or paths or noise",
    ),
    "an input of another shape": (
        setting("inputs", 2, "shape", to=[1, 18, 8, 8]),
        "inputs paths: found [1, 18, 8, 8], expected [1, 16, 8, 8]",
    ),
    "an output of another shape": (
        setting("output", "shape", to=[1, 1, 64, 64]),
        "output shape: found [1, 1, 64, 64], expected [1, 3, 64, 64]",
    ),
    "an output the file lacks": (
        setting("output", "name", to="sharp"),
        "found {'residual'",
    ),
    "a number for a word": (setting("name", to=3), "name: found 3"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_manifest_that_does_not_fit_is_refused(make_model: MakeModel, what: str) -> None:
    change, expected = REFUSED[what]
    folder = make_model(probe_network(), change)
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert expected in message
    assert message.startswith(str(folder))
    assert "\n" not in message


@pytest.mark.parametrize("key", ["format", "model", "tile", "inputs", "output", "field_encoding"])
def test_a_manifest_that_lacks_something_says_what(make_model: MakeModel, key: str) -> None:
    folder = make_model(zero_network(), lambda manifest: manifest.pop(key))
    with pytest.raises(ModelError, match=rf"json: {key}: found nothing, expected a value"):
        load_model(folder)


def test_a_bundle_of_before_the_self_test_says_what_to_do(make_model: MakeModel) -> None:
    folder = make_model(zero_network(), lambda manifest: manifest.pop("golden"))
    expected = r"json: golden: found nothing, expected a golden tile: build the bundle anew with"
    with pytest.raises(ModelError, match=expected):
        load_model(folder)


@pytest.mark.parametrize("text", ["{", "", "model", "\x00"])
def test_a_manifest_that_is_no_json_object(make_model: MakeModel, text: str) -> None:
    folder = make_model(zero_network())
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"manifest\.json: JSON: found .*expected a JSON object"):
        load_model(folder)


@pytest.mark.parametrize("text", ["[1, 2]", "null", "3"])
def test_a_manifest_of_another_kind(make_model: MakeModel, text: str) -> None:
    folder = make_model(zero_network())
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    expected = rf"manifest\.json: the document: found {re.escape(text)}, expected a valid dict"
    with pytest.raises(ModelError, match=expected):
        load_model(folder)


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"manifest\.json: found No such file"):
        load_model(tmp_path)


def test_an_alternative_is_loaded_when_it_is_named(make_model: MakeModel) -> None:
    other = zero_network()
    entry = {"file": "model_fp32.onnx", "sha256": hashlib.sha256(other).hexdigest()}
    node = helper.make_node("Add", ["filtered", "one"], ["residual"])
    first = network([node], provided("filtered"), {"one": np.float32(1.0)})
    with pytest.raises(ModelError, match="a file beside it"):
        load_model(folder := make_model(first, setting("alternatives", to=[entry])))
    (folder / "model_fp32.onnx").write_bytes(other)
    grey = {"filtered": np.full((3, TILE, TILE), 0.5, np.float32)}
    assert load_model(folder).residual(grey).max() == pytest.approx(1.5)
    chosen = load_model(folder, file="model_fp32.onnx")
    assert chosen.residual(grey).max() == 0.0
    assert chosen.running.sha256 == entry["sha256"]
    with pytest.raises(ModelError, match=r"found x, expected model\.onnx or model_fp32\.onnx"):
        load_model(folder, file="x")


def test_a_network_that_fails_when_it_runs_is_one_line(make_model: MakeModel) -> None:
    """Integers are not divided by zero."""
    nodes = [
        helper.make_node("Cast", ["filtered"], ["zeros"], to=TensorProto.INT32),
        helper.make_node("Div", ["one", "zeros"], ["quotient"]),
        helper.make_node("Cast", ["quotient"], ["residual"], to=TensorProto.FLOAT),
    ]
    model = load_model(make_model(network(nodes, provided("filtered"), {"one": np.int32(1)})))
    with pytest.raises(
        ModelError, match=r"model\.onnx: network: found .*zero.*one that runs"
    ) as at:
        model.residual({"filtered": np.zeros((3, TILE, TILE), np.float32)})
    assert "\n" not in str(at.value)


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "golden.npz"])
def test_a_folder_in_a_files_place_is_one_line(make_model: MakeModel, name: str) -> None:
    folder = make_model(zero_network())
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(ModelError, match=rf"{name}: found Is a directory, expected a readable"):
        verified_manifest(folder)


def damaged(onnx_bytes: bytes) -> dict[str, bytes]:
    return {
        "truncated": onnx_bytes[: len(onnx_bytes) // 2],
        "short of its last byte": onnx_bytes[:-1],
        "empty": b"",
        "something else": b"\x89PNG\r\n\x1a\n" + bytes(64),
    }


@pytest.mark.parametrize("what", damaged(b""))
def test_a_damaged_network_is_refused_though_its_hash_is_right(
    make_model: MakeModel, what: str
) -> None:
    good = probe_network()
    bad = damaged(good)[what]
    folder = make_model(good, setting("model", "sha256", to=hashlib.sha256(bad).hexdigest()))
    (folder / "model.onnx").write_bytes(bad)
    with pytest.raises(ModelError, match=r"model\.onnx: network: found .*expected an ONNX file"):
        load_model(folder)


def test_a_network_that_uses_an_unknown_operator(make_model: MakeModel) -> None:
    model = onnx.load_model_from_string(zero_network())
    model.graph.node[0].op_type = "Deblur"
    with pytest.raises(ModelError, match=r"network: found .*Deblur"):
        load_model(make_model(model.SerializeToString()))


def test_a_manifest_that_promises_other_inputs_than_the_file(make_model: MakeModel) -> None:
    def promise(manifest: dict[str, Any]) -> None:
        scaling = PROVIDED["noise"].scaling
        manifest["inputs"].append({"name": "noise", "shape": [1, 1, 8, 8], "scaling": scaling})

    with pytest.raises(ModelError, match=r"model\.onnx: inputs: found .* expected .*noise"):
        load_model(make_model(zero_network(), promise))


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_a_network_of_other_numbers_than_float32(make_model: MakeModel, kind: int) -> None:
    model = onnx.load_model_from_string(difference_network())
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = kind
    with pytest.raises(ModelError, match=r"type of \w+: found tensor\(.*expected tensor\(float\)"):
        load_model(make_model(model.SerializeToString()))


def test_a_network_with_a_free_dimension(make_model: MakeModel) -> None:
    """The device feeds tiles one by one; a batch of any size is not what it verified."""
    model = onnx.load_model_from_string(zero_network())
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    folder = make_model(
        model.SerializeToString(), setting("inputs", 0, "shape", to=[1, 3, TILE, TILE])
    )
    with pytest.raises(ModelError, match=r"inputs: found .*batch"):
        load_model(folder)
