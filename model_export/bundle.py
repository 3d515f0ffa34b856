"""A model bundle: the folder with a network and what a device must know before it runs it.

    model.onnx      the network, weights inside; device.restore.network says what it is shown
    manifest.json   its SHA-256, tensors, tile, encoding of the paths; training, licence, metrics

Names and shapes are read from the ONNX file itself, so the manifest cannot promise another network.

Failure policy: everything is written into a hidden folder beside the target and loaded back the
way a device does; only then the folder gets its name. Whatever fails before leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from device.bundle_write import new_folder
from device.errors import ModelError
from device.kernels.encode import PATHS_ENCODING
from device.restore.network import FORMAT, MANIFEST, VERSION, ModelBundle, load_model

ONNX_FILE = "model.onnx"


def write_bundle(
    folder: Path,
    network: Path | bytes,
    *,
    name: str,
    tile_size: int,
    halo: int,
    training: Mapping[str, Any] | None = None,
    licence: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> ModelBundle:
    """Write a network as the model bundle `folder` and load it back.

    network : an ONNX file or its bytes: float32, fixed shapes, one output.
    tile_size, halo : pixels a side of its tiles; pixels at each edge whose result is not used.
    training, licence, metrics : for people, any plain JSON.

    Raises ModelError when the network is not one a device can run, InputError when the folder
    exists already, OSError when a file cannot be read or written; nothing is left behind then.
    """
    source = network if isinstance(network, Path) else Path(ONNX_FILE)
    content = network.read_bytes() if isinstance(network, Path) else network
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "name": name,
        "model": {"file": ONNX_FILE, "sha256": hashlib.sha256(content).hexdigest()},
        "tile": {"size": tile_size, "halo": halo},
        "field_encoding": PATHS_ENCODING,
        **_tensors(source, content),
        "training": dict(training or {}),
        "licence": dict(licence or {}),
        "metrics": dict(metrics or {}),
    }
    text = _plain_json(folder / MANIFEST, manifest)
    with new_folder(folder) as temporary:
        (temporary / ONNX_FILE).write_bytes(content)
        (temporary / MANIFEST).write_text(text, encoding="utf-8")
        try:
            load_model(temporary)
        except ModelError as error:
            # The hidden folder is gone when the message is read: name the one that was meant.
            raise ModelError(str(error).replace(str(temporary), str(folder))) from error
    return load_model(folder)


def _plain_json(path: Path, manifest: Mapping[str, Any]) -> str:
    try:
        return json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path}: found {error}, expected plain JSON without NaN") from error


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
    return {
        "inputs": [_tensor(source, value) for value in inputs],
        "output": _tensor(source, graph.output[0]),
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
