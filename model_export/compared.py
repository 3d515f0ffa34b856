"""The networks that `stillpi bench` times beside ours, as ONNX graphs of a few kilobytes.

Both are the U-Net of Ronneberger et al., "U-Net: Convolutional networks for biomedical image
segmentation" (MICCAI 2015), padded so that it keeps the size: two 3x3 convolutions a level, four
halvings by maximum, transposed 2x2 convolutions up, a 1x1 convolution to R, G, B.

    seed_unet   of the system this project starts from: R, G, B and norm, x, y of the blur vector,
                32 channels; its batch normalisation folded into the convolutions before it, as it
                is when a network is made ready to run
    DeepGyro    Mustaniemi et al., "Gyroscope-aided motion deblurring with deep networks" (WACV
                2019), section 4: R, G, B and the blur field's x, y, 64 channels

Only their speed is asked for, so their weights are made when they are loaded: a filter is one value
repeated, the mean of what it sees, which keeps every activation within the range of the picture (a
float that fades away or overflows would be slower than any real one). The runtime folds them into
constants before the first picture.

`python -m model_export.compared` writes them where the benchmark finds them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from device.benchmark import COMPARED_NETWORKS

LEVELS = 4
"""Times the picture is halved: its sides are multiples of 2 ** LEVELS."""
OPSET, IR_VERSION = 17, 8


@dataclass(frozen=True, slots=True)
class UNetPlan:
    """channels_in : of the picture and what lies beside it; base : channels at full size."""

    name: str
    channels_in: int
    base: int


SEED_UNET, DEEPGYRO = UNetPlan("seed_unet", 6, 32), UNetPlan("deepgyro", 5, 64)


@dataclass(frozen=True, slots=True)
class ComparedNetwork:
    """onnx : the file. parameters : weights and biases; macs_per_pixel : multiplications."""

    onnx: bytes
    parameters: int
    macs_per_pixel: float


@dataclass
class _Graph:
    """Nodes as they are added, and what they cost at the size their level works at."""

    nodes: list[NodeProto] = field(default_factory=list)
    shapes: list[TensorProto] = field(default_factory=list)
    parameters: int = 0
    macs_per_pixel: float = 0.0

    def add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """A node; the name of what it gives."""
        output = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, shape: Sequence[int], value: float) -> str:
        """One value, repeated. No two are quite alike: the runtime would keep only one of them."""
        value *= 1.0 - 1e-4 * len(self.nodes)
        name = f"shape_{len(self.shapes)}"
        self.shapes.append(numpy_helper.from_array(np.array(shape, np.int64), name))
        self.parameters += int(np.prod(shape))
        filled = helper.make_tensor("value", TensorProto.FLOAT, [1], [value])
        return self.add("ConstantOfShape", [name], value=filled)

    def convolution(self, x: str, before: int, after: int, kernel: int, level: int) -> str:
        """The mean of all it sees, at 1 / 2 ** level of the picture's size."""
        weight = self.constant((after, before, kernel, kernel), 1.0 / (before * kernel**2))
        bias = self.constant((after,), 0.0)
        self.macs_per_pixel += before * after * kernel**2 / 4**level
        return self.add("Conv", [x, weight, bias], pads=[kernel // 2] * 4)

    def double_convolution(self, x: str, before: int, after: int, level: int) -> str:
        """Convolution, ReLU, convolution, ReLU."""
        x = self.add("Relu", [self.convolution(x, before, after, 3, level)])
        return self.add("Relu", [self.convolution(x, after, after, 3, level)])

    def enlarged(self, x: str, before: int, after: int, level: int) -> str:
        """Twice as large, to 1 / 2 ** level of the picture's size; every pixel sees one below."""
        weight = self.constant((before, after, 2, 2), 1.0 / before)
        bias = self.constant((after,), 0.0)
        self.macs_per_pixel += before * after / 4**level
        return self.add("ConvTranspose", [x, weight, bias], strides=[2, 2])


def compared_network(plan: UNetPlan) -> ComparedNetwork:
    """The graph of a plan: input `picture` (1, channels_in, height, width), output `restored`."""
    graph = _Graph()
    widths = [plan.base << level for level in range(LEVELS + 1)]
    x, skips = graph.double_convolution("picture", plan.channels_in, plan.base, 0), []
    for level in range(1, LEVELS + 1):
        skips.append(x)
        x = graph.add("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
        x = graph.double_convolution(x, widths[level - 1], widths[level], level)
    for level in reversed(range(LEVELS)):
        width = widths[level]
        x = graph.enlarged(x, 2 * width, width, level)
        x = graph.add("Concat", [skips.pop(), x], axis=1)
        x = graph.double_convolution(x, 2 * width, width, level)
    restored = graph.convolution(x, plan.base, 3, 1, 0)
    graph.nodes.append(helper.make_node("Identity", [restored], ["restored"]))
    return ComparedNetwork(_file(plan, graph), graph.parameters, graph.macs_per_pixel)


def _file(plan: UNetPlan, graph: _Graph) -> bytes:
    float_ = TensorProto.FLOAT
    sides = ["height", "width"]
    made = helper.make_graph(
        graph.nodes,
        plan.name,
        [helper.make_tensor_value_info("picture", float_, [1, plan.channels_in, *sides])],
        [helper.make_tensor_value_info("restored", float_, [1, 3, *sides])],
        graph.shapes,
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(made, opset_imports=opset, ir_version=IR_VERSION)
    costs = {"parameters": graph.parameters, "macs_per_pixel": graph.macs_per_pixel}
    helper.set_model_props(model, {key: json.dumps(value) for key, value in costs.items()})
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def main() -> None:
    """Write both where `stillpi bench` finds them."""
    for plan in (SEED_UNET, DEEPGYRO):
        path = COMPARED_NETWORKS / f"{plan.name}.onnx"
        path.write_bytes(compared_network(plan).onnx)
        print(path)


if __name__ == "__main__":
    main()
