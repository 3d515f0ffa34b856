"""The golden tile of a model bundle: inputs of the network, and the residual it must give.

golden.npz holds `inputs/NAME` for every input and `residuals/FILE` for every network. It is small
and means the same numbers everywhere: coded values are kept as 8-bit codes and others as float16,
and the networks are run on what was kept; residuals are kept without the halo, in steps of 1/16
code.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.errors import ModelError
from device.restore.network import CODED, PROVIDED, Manifest

Image = NDArray[np.float32]
Stored = NDArray[np.generic]

CODES = 255
_STEPS_PER_CODE = 16
_INPUTS, _RESIDUALS = "inputs/", "residuals/"


@dataclass(frozen=True)
class GoldenTile:
    """inputs : name -> (channels, h, w); residuals : ONNX file -> (3, s, s), without the halo."""

    inputs: dict[str, Image]
    residuals: dict[str, Image]


def without_halo(residual: Image, halo: int) -> Image:
    """The part (3, size - 2 halo, ...) of a tile's residual (3, size, size) that is used."""
    size = residual.shape[1]
    return residual[:, halo : size - halo, halo : size - halo]


def as_kept(inputs: Mapping[str, Image]) -> dict[str, Image]:
    """Inputs as a golden tile gives them back."""
    return {name: _values(_stored(name, values)) for name, values in inputs.items()}


def write_golden(tile: GoldenTile) -> bytes:
    """The content of golden.npz."""
    arrays: dict[str, Any] = {_INPUTS + name: _stored(name, x) for name, x in tile.inputs.items()}
    for file, residual in tile.residuals.items():
        steps = np.rint(residual * (CODES * _STEPS_PER_CODE))
        arrays[_RESIDUALS + file] = np.clip(steps, -32768, 32767).astype(np.int16)
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def read_golden(path: Path, manifest: Manifest) -> GoldenTile:
    """The golden tile of a bundle, with everything that its manifest's networks need.

    Raises ModelError naming what is missing or has another shape.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            stored = dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: found {error}, expected an npz file") from error
    shapes = {_INPUTS + tensor.name: tensor.shape[1:] for tensor in manifest.inputs}
    side = manifest.tile.size - 2 * manifest.tile.halo
    shapes |= {_RESIDUALS + network.file: [3, side, side] for network in manifest.networks}
    for key, shape in shapes.items():
        found = list(stored[key].shape) if key in stored else "nothing"
        if found != shape:
            raise ModelError(f"{path}: {key}: found {found}, expected an array {shape}")
    steps = np.float32(CODES * _STEPS_PER_CODE)
    return GoldenTile(
        {tensor.name: _values(stored[_INPUTS + tensor.name]) for tensor in manifest.inputs},
        {n.file: stored[_RESIDUALS + n.file].astype(np.float32) / steps for n in manifest.networks},
    )


def _stored(name: str, values: Image) -> Stored:
    if PROVIDED[name].scaling == CODED:
        return np.rint(np.clip(values, 0.0, 1.0) * CODES).astype(np.uint8)
    return values.astype(np.float16)


def _values(stored: Stored) -> Image:
    values = stored.astype(np.float32)
    return values / np.float32(CODES) if stored.dtype == np.uint8 else values
