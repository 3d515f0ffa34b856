"""Real model bundles of tiny networks, good ones and such as fail on the device, for tests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from device.restore.network import provided_shapes
from model_export.bundle import write_bundle

TILE, HALO = 64, 8
_PICTURE = [1, 3, TILE, TILE]


def onnx_file(nodes: list[Any], constants: dict[str, Any]) -> bytes:
    """A network of blurred and filtered; its output is called residual."""
    shapes = provided_shapes(TILE)
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name])
            for name in ("blurred", "filtered")
        ],
        [helper.make_tensor_value_info("residual", TensorProto.FLOAT, _PICTURE)],
        [onnx.numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def good_network(weight: float = 0.25) -> bytes:
    """`weight` of the difference between its inputs."""
    nodes = [
        helper.make_node("Sub", ["blurred", "filtered"], ["difference"]),
        helper.make_node("Mul", ["difference", "weight"], ["residual"]),
    ]
    return onnx_file(nodes, {"weight": np.float32(weight)})


def not_a_number_network() -> bytes:
    """Divides nothing by nothing."""
    nodes = [
        helper.make_node("Sub", ["blurred", "blurred"], ["nothing"]),
        helper.make_node("Sub", ["filtered", "filtered"], ["too"]),
        helper.make_node("Div", ["nothing", "too"], ["residual"]),
    ]
    return onnx_file(nodes, {})


def crashing_network() -> bytes:
    """The smallest integer by -1: the runtime leaves it to the processor, and x86 traps.

    Of 64 bits: onnxruntime 1.32 looks after 32, and after the remainder.
    """
    nodes = [
        helper.make_node("Sub", ["blurred", "blurred"], ["nothing"]),
        helper.make_node("Sub", ["filtered", "filtered"], ["too"]),
        helper.make_node("Add", ["nothing", "too"], ["zero"]),
        helper.make_node("Cast", ["zero"], ["zeros"], to=TensorProto.INT64),
        helper.make_node("Sub", ["zeros", "one"], ["minus"]),
        helper.make_node("Div", ["smallest", "minus"], ["quotient"]),
        helper.make_node("Cast", ["quotient"], ["residual"], to=TensorProto.FLOAT),
    ]
    return onnx_file(nodes, {"one": np.int64(1), "smallest": np.int64(-(2**63))})


def endless_network() -> bytes:
    """A loop that never ends."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["still"]),
            helper.make_node("Mul", ["state", "state"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, _PICTURE),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, _PICTURE),
        ],
    )
    nodes = [
        helper.make_node("Add", ["blurred", "filtered"], ["sum"]),
        helper.make_node("Loop", ["", "true", "sum"], ["residual"], body=body),
    ]
    return onnx_file(nodes, {"true": np.bool_(True)})


def good_bundle(folder: Path, weight: float = 0.25, **options: Any) -> Path:
    """A bundle as `stillpi-export build` writes it."""
    settings = {"name": "tiny", "tile_size": TILE, "halo": HALO, **options}
    write_bundle(folder, good_network(weight), **settings)
    return folder


def replace_file(folder: Path, name: str, content: bytes) -> Path:
    """Another file in a bundle, and its hash in the manifest: what a faulty build would send."""
    (folder / name).write_bytes(content)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for entry in (manifest["model"], *manifest["alternatives"], manifest["golden"]):
        if entry["file"] == name:
            entry["sha256"] = hashlib.sha256(content).hexdigest()
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return folder
