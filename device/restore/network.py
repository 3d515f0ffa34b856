"""The network stage: a model bundle, verified and run through onnxruntime tile by tile.

A bundle is a folder with manifest.json and the files it names: the network, perhaps alternatives of
it, and a golden tile (device.restore.golden). The network sees a tile of everything in PROVIDED and
gives the residual to add to the filter's result, in sRGB-coded values 0..1.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
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


CODED = "sRGB 0..1"
RESIDUAL = f"{CODED}, added to filtered"


@dataclass(frozen=True, slots=True)
class Provided:
    """An input this program gives. stride_px : pixels a cell; scaling : what its values are."""

    channels: int
    stride_px: int
    scaling: str

    def shape(self, size: int) -> list[int]:
        """Of a tile of `size` pixels a side."""
        return [1, self.channels, size // self.stride_px, size // self.stride_px]


PROVIDED = {
    "blurred": Provided(3, 1, CODED),
    "filtered": Provided(3, 1, CODED),
    "underdamped": Provided(1, 1, CODED),
    "paths": Provided(PATHS_CHANNELS, PATHS_STRIDE_PX, "displacements in units of 32 px"),
    "noise": Provided(1, PATHS_STRIDE_PX, "standard deviation of linear light"),
}
"""The inputs a network may ask for."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class Tensor(_Part):
    """name, shape and the meaning of the values of one input or output."""

    name: str
    shape: list[int]
    scaling: str


class ModelFile(_Part):
    """file : name beside the manifest; sha256 : of its bytes, lower-case hex."""

    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class GoldenFile(ModelFile):
    """A tile with the result it must give. tolerance_codes : of 255, the largest difference."""

    tolerance_codes: float = Field(gt=0)


class Tile(_Part):
    """size : pixels a side; halo : pixels at each edge whose result is not used."""

    size: int = Field(ge=32, multiple_of=PATHS_STRIDE_PX)
    halo: int = Field(ge=0)


class Manifest(_Part):
    """manifest.json: what the device must know before it runs the network.

    alternatives : the same network in other numbers, which may be faster on some machines.
    """

    format: str
    version: int
    name: str
    model: ModelFile
    alternatives: list[ModelFile] = []
    golden: GoldenFile
    tile: Tile
    field_encoding: int
    inputs: list[Tensor]
    output: Tensor

    @property
    def networks(self) -> list[ModelFile]:
        """The model, then its alternatives."""
        return [self.model, *self.alternatives]


@dataclass(frozen=True)
class ModelBundle:
    """A verified model, ready to run. running : the one of its networks that was loaded."""

    path: Path
    manifest: Manifest
    running: ModelFile
    session: onnxruntime.InferenceSession

    @property
    def grid(self) -> TileGrid:
        """How the picture is cut for this network."""
        tile = self.manifest.tile
        return TileGrid.square(tile.size, tile.halo, _BLEND_PX)

    def residual(self, tensors: Mapping[str, Image]) -> Image:
        """Run one tile: input name -> (channels, h, w); returns (3, size, size).

        Raises ModelError with the runtime's reason when it does not run.
        """
        feed = {spec.name: tensors[spec.name][None] for spec in self.manifest.inputs}
        try:
            (output,) = self.session.run([self.manifest.output.name], feed)
        except _runtime_errors() as error:
            file = self.path / self.running.file
            raise _misfit(file, "network", _reason(error), "one that runs") from error
        residual: Image = output[0]
        return residual


def load_model(folder: Path, *, threads: int = 1, file: str | None = None) -> ModelBundle:
    """Read and verify a model bundle.

    threads : of the runtime's own; one, because tiles run side by side in threads of ours.
    file : which of its networks to load, by default its first.

    Raises ModelError, naming the file, the field, what was found and what was expected, when
    the manifest is broken, a file's hash differs, or the network's inputs are not what this
    program provides. Runs none of it: device.restore.golden says whether that goes well here.
    """
    manifest = verified_manifest(folder)
    running = next((n for n in manifest.networks if file in (None, n.file)), None)
    if running is None:
        names = " or ".join(network.file for network in manifest.networks)
        raise _misfit(folder / MANIFEST, "networks", file, names)
    session = _open_session(folder / running.file, threads)
    _check_session(folder / running.file, manifest, session)
    return ModelBundle(folder, manifest, running, session)


def verified_manifest(folder: Path) -> Manifest:
    """The manifest of a bundle whose files are those it names; nothing is loaded.

    Raises ModelError as load_model does.
    """
    path = folder / MANIFEST
    manifest = _read_manifest(path)
    fields = ["model", *(f"alternatives[{i}]" for i in range(len(manifest.alternatives))), "golden"]
    for field, stated in zip(fields, [*manifest.networks, manifest.golden], strict=True):
        file = folder / stated.file
        try:
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
        except FileNotFoundError as error:
            raise _misfit(path, f"{field}.file", stated.file, "a file beside it") from error
        except OSError as error:
            raise _unreadable(file, error) from error
        if digest != stated.sha256:
            raise _misfit(file, "sha256", digest, stated.sha256)
    _check_tensors(path, manifest)
    return manifest


def _misfit(file: Path, field: str, found: object, expected: object) -> ModelError:
    return ModelError(f"{file}: {field}: found {found}, expected {expected}")


def _unreadable(file: Path, error: OSError) -> ModelError:
    return ModelError(f"{file}: found {error.strerror}, expected a readable file")


def _read_manifest(path: Path) -> Manifest:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and content.get("format") == FORMAT:
            _require_golden(path, content)
        manifest = Manifest.model_validate(content)
    except OSError as error:
        raise _unreadable(path, error) from error
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


def _require_golden(path: Path, content: dict[str, Any]) -> None:
    """Bundles of before there were self-tests have no golden tile; say what to do with them."""
    if "golden" not in content:
        expected = "a golden tile: build the bundle anew with stillpi-export"
        raise _misfit(path, "golden", "nothing", expected)


def provided_shapes(size: int) -> dict[str, list[int]]:
    """The inputs this program can give a network whose tiles have `size` pixels a side."""
    return {name: provided.shape(size) for name, provided in PROVIDED.items()}


def _check_tensors(path: Path, manifest: Manifest) -> None:
    shapes = provided_shapes(manifest.tile.size)
    for tensor in manifest.inputs:
        if tensor.name not in PROVIDED:
            raise _misfit(path, "inputs", tensor.name, " or ".join(PROVIDED))
        if tensor.shape != shapes[tensor.name]:
            raise _misfit(path, f"inputs {tensor.name}", tensor.shape, shapes[tensor.name])
        scaling = PROVIDED[tensor.name].scaling
        if tensor.scaling != scaling:
            raise _misfit(path, f"scaling of {tensor.name}", tensor.scaling, scaling)
    if manifest.output.shape != shapes["blurred"]:
        raise _misfit(path, "output shape", manifest.output.shape, shapes["blurred"])
    if manifest.output.scaling != RESIDUAL:
        raise _misfit(path, "scaling of the output", manifest.output.scaling, RESIDUAL)


def _open_session(onnx_file: Path, threads: int) -> onnxruntime.InferenceSession:
    # Imported here: it costs 40 MB and most commands run no network.
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(
            str(onnx_file), options, providers=["CPUExecutionProvider"]
        )
    except _runtime_errors() as error:
        expected = "an ONNX file onnxruntime loads"
        raise _misfit(onnx_file, "network", _reason(error), expected) from error


def _runtime_errors() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as ort

    return (
        ort.Fail,
        ort.InvalidArgument,
        ort.InvalidGraph,
        ort.InvalidProtobuf,
        ort.NotImplemented,
        ort.RuntimeException,
    )


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0]


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
