"""The network stage: a model bundle, verified and run through onnxruntime tile by tile.

A bundle is a folder with manifest.json and the ONNX file it names. The network sees a tile of the
photograph, of the filter's result, of the paths and the noise level, and gives the residual to add
to the filter's result, all in sRGB-coded values 0..1.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from device.errors import ModelError
from device.kernels.encode import PATHS_CHANNELS, PATHS_ENCODING, PATHS_STRIDE_PX
from device.kernels.tiling import TileGrid
from device.validation import first_problem

if TYPE_CHECKING:
    import onnxruntime

Image = NDArray[np.float32]

MANIFEST = "manifest.json"
FORMAT, VERSION = "stillpi-model", 1
_BLEND_PX = 16
"""Pixels over which neighbouring tiles fade into one another, beyond the halo."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class Tensor(_Part):
    """name and shape of one input or output."""

    name: str
    shape: list[int]


class ModelFile(_Part):
    """file : name beside the manifest; sha256 : of its bytes, lower-case hex."""

    file: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Tile(_Part):
    """size : pixels a side; halo : pixels at each edge whose result is not used."""

    size: int = Field(ge=32, multiple_of=PATHS_STRIDE_PX)
    halo: int = Field(ge=0)


class Manifest(_Part):
    """manifest.json: what the device must know before it runs the network."""

    format: str
    version: int
    name: str
    model: ModelFile
    tile: Tile
    field_encoding: int
    inputs: list[Tensor]
    output: Tensor


@dataclass(frozen=True)
class ModelBundle:
    """A verified model, ready to run."""

    path: Path
    manifest: Manifest
    session: onnxruntime.InferenceSession

    @property
    def grid(self) -> TileGrid:
        """How the picture is cut for this network."""
        tile = self.manifest.tile
        return TileGrid(tile.size, tile.halo, _BLEND_PX)

    def residual(self, tensors: dict[str, Image]) -> Image:
        """Run one tile: input name -> (channels, h, w); returns (3, size, size)."""
        feed = {spec.name: tensors[spec.name][None] for spec in self.manifest.inputs}
        (output,) = self.session.run([self.manifest.output.name], feed)
        residual: Image = output[0]
        return residual


def load_model(folder: Path, *, threads: int = 2) -> ModelBundle:
    """Read and verify a model bundle.

    Raises ModelError, naming the file, the field, what was found and what was expected, when
    the manifest is broken, the ONNX file's hash differs, or the network's inputs are not what this
    program provides.
    """
    manifest = _read_manifest(folder / MANIFEST)
    onnx_file = folder / manifest.model.file
    if not onnx_file.is_file():
        raise _misfit(folder / MANIFEST, "model.file", manifest.model.file, "a file beside it")
    digest = hashlib.sha256(onnx_file.read_bytes()).hexdigest()
    if digest != manifest.model.sha256:
        raise _misfit(onnx_file, "sha256", digest, manifest.model.sha256)
    _check_tensors(folder / MANIFEST, manifest)
    session = _open_session(onnx_file, threads)
    _check_session(onnx_file, manifest, session)
    return ModelBundle(folder, manifest, session)


def _misfit(file: Path, field: str, found: object, expected: object) -> ModelError:
    return ModelError(f"{file}: {field}: found {found}, expected {expected}")


def _read_manifest(path: Path) -> Manifest:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        manifest = Manifest.model_validate(content)
    except OSError as error:
        raise ModelError(f"{path}: found {error.strerror}, expected a readable file") from error
    except ValidationError as error:
        raise ModelError(str(first_problem(path, error))) from error
    except ValueError as error:
        raise _misfit(path, "JSON", str(error), "a JSON object") from error
    if (manifest.format, manifest.version) != (FORMAT, VERSION):
        found = f"{manifest.format} {manifest.version}"
        raise _misfit(path, "format", found, f"{FORMAT} {VERSION}")
    if manifest.field_encoding != PATHS_ENCODING:
        raise _misfit(path, "field_encoding", manifest.field_encoding, PATHS_ENCODING)
    widest_halo = manifest.tile.size // 2 - _BLEND_PX - 1
    if manifest.tile.halo > widest_halo:
        expected = f"at most {widest_halo} for tiles of {manifest.tile.size} px"
        raise _misfit(path, "tile.halo", manifest.tile.halo, expected)
    return manifest


def provided_shapes(size: int) -> dict[str, list[int]]:
    """The inputs this program can give a network whose tiles have `size` pixels a side."""
    cells = size // PATHS_STRIDE_PX
    return {
        "blurred": [1, 3, size, size],
        "filtered": [1, 3, size, size],
        "underdamped": [1, 1, size, size],
        "paths": [1, PATHS_CHANNELS, cells, cells],
        "noise": [1, 1, cells, cells],
    }


def _check_tensors(path: Path, manifest: Manifest) -> None:
    provided = provided_shapes(manifest.tile.size)
    for tensor in manifest.inputs:
        if tensor.name not in provided:
            raise _misfit(path, "inputs", tensor.name, " or ".join(provided))
        if tensor.shape != provided[tensor.name]:
            raise _misfit(path, f"inputs {tensor.name}", tensor.shape, provided[tensor.name])
    if manifest.output.shape != provided["blurred"]:
        raise _misfit(path, "output shape", manifest.output.shape, provided["blurred"])


def _open_session(onnx_file: Path, threads: int) -> onnxruntime.InferenceSession:
    # Imported here: it costs 40 MB and most commands run no network.
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as ort

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(
            str(onnx_file), options, providers=["CPUExecutionProvider"]
        )
    except (
        ort.Fail,
        ort.InvalidArgument,
        ort.InvalidGraph,
        ort.InvalidProtobuf,
        ort.NotImplemented,
        ort.RuntimeException,
    ) as error:
        reason = str(error).splitlines()[0]
        raise _misfit(onnx_file, "network", reason, "an ONNX file onnxruntime loads") from error


def _check_session(
    onnx_file: Path, manifest: Manifest, session: onnxruntime.InferenceSession
) -> None:
    actual = {node.name: list(node.shape) for node in session.get_inputs()}
    stated = {tensor.name: tensor.shape for tensor in manifest.inputs}
    if actual != stated:
        raise _misfit(onnx_file, "inputs", actual, stated)
    output = {node.name: list(node.shape) for node in session.get_outputs()}
    if output.get(manifest.output.name) != manifest.output.shape:
        raise _misfit(onnx_file, "outputs", output, {manifest.output.name: manifest.output.shape})
    for node in (*session.get_inputs(), *session.get_outputs()):
        if node.type != "tensor(float)":
            raise _misfit(onnx_file, f"type of {node.name}", node.type, "tensor(float)")
