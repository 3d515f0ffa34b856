"""A model bundle: the folder with a network and what a device must know before it runs it.

    model.onnx        the network, weights inside; device.restore.network says what it is shown
    model_fp32.onnx   perhaps the same in float32, for machines where int8 is not the faster
    golden.npz        a tile and the results here, for a device's self-test (device.restore.golden)
    manifest.json     their SHA-256, tensors, tile, encoding of the paths; training data, licences,
                      metrics, versions

Names and shapes are read from the ONNX file itself, so the manifest cannot promise another network.

Failure policy: everything is written into a hidden folder beside the target and self-tested there
the way a device does; only then the folder gets its name. Whatever fails before leaves nothing
behind.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray

from device.bundle_write import new_folder
from device.errors import ModelError
from device.kernels.encode import PATHS_ENCODING
from device.restore.golden import self_test
from device.restore.network import (
    FORMAT,
    MANIFEST,
    PROVIDED,
    RESIDUAL,
    VERSION,
    ModelBundle,
    load_model,
)
from model_export.golden import PROMISED_CODES, golden_for, seeded_tile

ONNX_FILE, FLOAT32_FILE, GOLDEN_FILE = "model.onnx", "model_fp32.onnx", "golden.npz"
_MADE_WITH = ("stillpi", "onnx", "onnxruntime")


def write_bundle(
    folder: Path,
    network: Path | bytes,
    *,
    name: str,
    tile_size: int,
    halo: int,
    float32: bytes | None = None,
    golden_inputs: Mapping[str, NDArray[np.float32]] | None = None,
    training: Mapping[str, Any] | None = None,
    licence: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    versions: Mapping[str, str] | None = None,
) -> ModelBundle:
    """Write a network as the model bundle `folder` and load it back.

    network : an ONNX file or its bytes: float32 tensors, fixed shapes, one output.
    tile_size, halo : pixels a side of its tiles; pixels at each edge whose result is not used.
    float32 : the same network before it was quantised, as an alternative.
    golden_inputs : name -> (channels, h, w), a real tile for the self-test; a seeded one without.
    training, licence, metrics : any plain JSON. metrics need `command`, what made them; each entry
        of training's `data` needs `name` and `licence`.
    versions : of further programs that made it, name -> version.

    Raises ModelError when the network is not one a device can run, or fails its self-test,
    InputError when the folder exists already, OSError when a file cannot be read or written;
    nothing is left behind then.
    """
    source = network if isinstance(network, Path) else Path(ONNX_FILE)
    content = network.read_bytes() if isinstance(network, Path) else network
    files = {ONNX_FILE: content} | ({FLOAT32_FILE: float32} if float32 is not None else {})
    _require_origin(folder / MANIFEST, training or {}, metrics or {})
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "name": name,
        "model": _entry(ONNX_FILE, content),
        "alternatives": [_entry(file, data) for file, data in files.items() if file != ONNX_FILE],
        # There is none before the network ran.
        "golden": _entry(GOLDEN_FILE, b"") | {"tolerance_codes": PROMISED_CODES},
        "tile": {"size": tile_size, "halo": halo},
        "field_encoding": PATHS_ENCODING,
        **_tensors(source, content),
        "training": dict(training or {}),
        "licence": dict(licence or {}),
        "metrics": dict(metrics or {}),
        "versions": {n: version(n) for n in _MADE_WITH} | dict(versions or {}),
    }
    with new_folder(folder) as temporary:
        for file, data in (files | {GOLDEN_FILE: b""}).items():
            (temporary / file).write_bytes(data)
        try:
            _write_manifest(temporary / MANIFEST, manifest)
            models = [load_model(temporary, file=file) for file in files]
            golden = golden_for(models, golden_inputs or seeded_tile(tile_size))
            (temporary / GOLDEN_FILE).write_bytes(golden.content)
            manifest["golden"] = _entry(GOLDEN_FILE, golden.content) | {
                "tolerance_codes": golden.tolerance_codes,
                "tile": "real" if golden_inputs else "seeded",
            }
            _write_manifest(temporary / MANIFEST, manifest)
            self_test(temporary)
        except ModelError as error:
            # The hidden folder is gone when the message is read: name the one that was meant.
            raise ModelError(str(error).replace(str(temporary), str(folder))) from error
    return load_model(folder)


def _entry(file: str, content: bytes) -> dict[str, Any]:
    return {"file": file, "sha256": hashlib.sha256(content).hexdigest()}


def _require_origin(path: Path, training: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
    if metrics and "command" not in metrics:
        raise _unfit(path, "metrics.command", "nothing", "the command that made the metrics")
    for i, entry in enumerate(training.get("data", [])):
        for key in ("name", "licence"):
            if key not in entry:
                raise _unfit(path, f"training.data[{i}].{key}", "nothing", "one for each data set")


def _write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    try:
        text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path}: found {error}, expected plain JSON without NaN") from error
    path.write_text(text, encoding="utf-8")


def _tensors(source: Path, content: bytes) -> dict[str, object]:
    """The manifest's inputs and output, as the ONNX file declares them."""
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise _unfit(source, "network", str(error), "an ONNX file") from error
    graph = model.graph
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in graph.initializer):
        raise _unfit(source, "weights", "other files", "all of them inside the ONNX file")
    if len(graph.output) != 1:
        names = [value.name for value in graph.output]
        raise _unfit(source, "outputs", names, "one, the residual")
    # Older files list the weights among the inputs.
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    scalings = {name: provided.scaling for name, provided in PROVIDED.items()}
    return {
        "inputs": [
            _tensor(source, value) | {"scaling": scalings.get(value.name, "?")} for value in inputs
        ],
        "output": _tensor(source, graph.output[0]) | {"scaling": RESIDUAL},
    }


def _tensor(source: Path, value: onnx.ValueInfoProto) -> dict[str, object]:
    shape = [
        size.dim_value if size.HasField("dim_value") else size.dim_param or "?"
        for size in value.type.tensor_type.shape.dim
    ]
    if not all(isinstance(size, int) for size in shape):
        raise _unfit(source, f"shape of {value.name}", shape, "fixed sizes, a batch of 1")
    return {"name": value.name, "shape": shape}


def _unfit(source: Path, field: str, found: object, expected: str) -> ModelError:
    return ModelError(f"{source}: {field}: found {found}, expected {expected}")
