"""Static quantisation to int8, and the proof that nothing stayed float by accident.

QDQ format, weights per channel, ranges from real tiles. Two schemes: U8S8, which the x86 kernels
of ONNX Runtime run whole, and S8S8, which the Arm kernels want (facts of the platform).
"""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from device.restore.network import CODED, PROVIDED

Scheme = Literal["U8S8", "S8S8"]
Tile = dict[str, NDArray[np.float32]]
"""Input name to (1, channels, h, w)."""

MAY_STAY_FLOAT = frozenset({"QuantizeLinear", "DequantizeLinear", "Concat", "Mul", "Resize"})
"""Resize and Concat move values and compute none; Mul scales the noise input once."""
RESIDUAL_RANGE = 0.45
"""The largest residual that int8 holds, of coded values in 0..1: a step is then 0.9 of 255 codes,
and a value that falls on the other side of a step on another processor moves by a code at most.
The calibrated range is twice as wide, for one value in ten thousand."""
PATHS_RANGE = 0.9
"""The farthest displacement that int8 holds, in units of 32 px: 29 px. Paths are up to 40 px long
(device.restore.working) and may be uneven; calibration tiles seldom hold such."""
PERCENTILE = 99.999
"""Of a tensor's values, those inside its range: the few outermost cost all others precision."""
COMPUTES = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "FusedConv", "NhwcFusedConv"})


class _Tiles(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, tiles: Iterable[Tile]) -> None:
        self._tiles: Iterator[Tile] = iter(tiles)

    def get_next(self) -> Tile | None:
        return next(self._tiles, None)


def quantise(model: bytes, tiles: Iterable[Tile], *, scheme: Scheme = "U8S8") -> bytes:
    """Quantise an ONNX file with ranges calibrated on tiles; inputs and output stay float32."""
    logging.getLogger().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="stillpi-quantise-") as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(model)
        with redirect_stdout(StringIO()):  # the calibrator narrates its steps
            quantize_static(
                str(source),
                str(target),
                _Tiles(tiles),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8 if scheme == "U8S8" else QuantType.QInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.Percentile,
                extra_options={
                    "CalibPercentile": PERCENTILE,
                    "TensorQuantOverrides": _known_ranges(onnx.load(source).graph),
                },
            )
        return target.read_bytes()


def _known_ranges(graph: onnx.GraphProto) -> dict[str, list[dict[str, Any]]]:
    """PATHS_RANGE, 0..1 for pictures, RESIDUAL_RANGE for the output and what is only moved there.

    Steps of 1 / 255 hold the codes of a photograph exactly.
    """
    producers = {name: node for node in graph.node for name in node.output}
    inputs = {value.name for value in graph.input}
    pictures = {name for name, given in PROVIDED.items() if given.scaling == CODED}
    known = {name: _held(0.0, 1.0) for name in inputs & pictures}
    if "paths" in inputs:
        known["paths"] = _held(-PATHS_RANGE, PATHS_RANGE)
    name = graph.output[0].name
    while True:
        known[name] = _held(-RESIDUAL_RANGE, RESIDUAL_RANGE)
        if name not in producers or producers[name].op_type in COMPUTES:
            return known
        name = producers[name].input[0]


def _held(lowest: float, highest: float) -> list[dict[str, Any]]:
    return [{"rmin": np.float32(lowest), "rmax": np.float32(highest)}]


def census(model: bytes) -> Counter[str]:
    """Operators that the runtime really runs here, after its own fusions."""
    with tempfile.TemporaryDirectory(prefix="stillpi-census-") as folder:
        optimised = Path(folder) / "optimised.onnx"
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(optimised)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return Counter(node.op_type for node in onnx.load(optimised).graph.node)


def float_operators(counted: Counter[str]) -> Counter[str]:
    """Those of a census that compute in float: none of a network that was quantised whole."""
    return Counter({name: count for name, count in counted.items() if name in COMPUTES})
