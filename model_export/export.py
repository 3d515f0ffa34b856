"""A trained network to ONNX."""

from __future__ import annotations

import io
import logging
import warnings

import onnx
import torch
from torch import nn

from host_training.networks import INPUTS, example_inputs

OUTPUT = "residual"
OPSET = 18


def to_onnx(network: nn.Module, *, tile_size: int) -> bytes:
    """The network as an ONNX file for tiles of `tile_size` pixels, batch 1, float32.

    Tensors are named and shaped as device.restore.network.provided_shapes.
    """
    # The exporter narrates its steps; what matters is whether the result loads, and that is tested.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network.eval(),
            example_inputs(network, tile_size),
            dynamo=True,
            verbose=False,
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            opset_version=OPSET,
        )
    if program is None:
        raise RuntimeError("the exporter returned no program")
    model = program.model_proto
    # The exporter writes down where in whose folders each operator was called.
    for node in model.graph.node:
        del node.metadata_props[:]
    content = io.BytesIO()
    onnx.save_model(model, content)
    return content.getvalue()
