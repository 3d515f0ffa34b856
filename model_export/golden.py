"""The golden tile of a new bundle: its inputs, the results of the networks here, a tolerance.

The tolerance is what this project promises of a restored photograph, 1 of 255 codes, or two steps
of the output's own scale where a quantised network has coarser ones. Measured with onnxruntime
1.31, a corrector M and a real tile, against x86 with AVX-512 VNNI: float32 differs by 0.00003 codes
on x86 with AVX2 or SSE alone and on Arm; U8S8 by nothing; S8S8 by nothing on x86 and by one step of
its output, 0.55 codes, on Arm (Cortex-A72 and A76). One thread and two give the same. Processors
other than this x86 were emulated by QEMU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from device.restore.golden_tile import CODES, GoldenTile, as_kept, without_halo, write_golden
from device.restore.network import CODED, PROVIDED, ModelBundle, provided_shapes

Image = NDArray[np.float32]

PROMISED_CODES = 1.0
_OUTPUT_STEPS = 2
_SEED = 20
_COARSE_PX = 16


@dataclass(frozen=True, slots=True)
class Golden:
    """content : of golden.npz; tolerance_codes : of 255, for the manifest."""

    content: bytes
    tolerance_codes: float


def golden_for(models: Sequence[ModelBundle], inputs: Mapping[str, Image]) -> Golden:
    """Run the networks of a bundle, each loaded, on one tile.

    inputs : name -> (channels, h, w), at least those that the networks take.
    Raises ModelError when a network does not run.
    """
    taken = {tensor.name for tensor in models[0].manifest.inputs}
    kept = as_kept({name: values for name, values in inputs.items() if name in taken})
    halo = models[0].manifest.tile.halo
    residuals = {model.running.file: without_halo(model.residual(kept), halo) for model in models}
    steps = [_step_codes(residual) for residual in residuals.values()]
    tolerance = max(PROMISED_CODES, *(_OUTPUT_STEPS * step for step in steps))
    return Golden(write_golden(GoldenTile(kept, residuals)), round(tolerance, 3))


def seeded_tile(size: int) -> dict[str, Image]:
    """A tile for networks that come without pairs: soft noise in the picture, rougher filtered.

    Returns every input that a device provides, name -> (channels, h, w).
    """
    rng = np.random.default_rng(_SEED)
    coarse = rng.uniform(0.1, 0.9, (-(-size // _COARSE_PX), -(-size // _COARSE_PX), 3))
    soft = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR)
    shapes = {name: tuple(shape[1:]) for name, shape in provided_shapes(size).items()}
    tile = {
        name: np.moveaxis(soft[..., : shape[0]], 2, 0) + rng.normal(0.0, 0.03, shape)
        for name, shape in shapes.items()
        if PROVIDED[name].scaling == CODED
    }
    tile["paths"] = rng.uniform(-0.5, 0.5, shapes["paths"])
    tile["noise"] = rng.uniform(0.002, 0.02, shapes["noise"])
    return {name: values.astype(np.float32) for name, values in tile.items()}


def _step_codes(residual: Image) -> float:
    """The smallest step between two values: a quantised output's scale, next to 0 in float32."""
    values = np.unique(residual)
    return CODES * float(np.diff(values).min()) if len(values) > 1 else 0.0
