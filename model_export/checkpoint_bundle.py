"""A training checkpoint to a model bundle: averaged weights, ONNX, and int8 where asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from device.errors import InputError
from device.restore.network import ModelBundle
from host_training.checkpoint import Checkpoint, load_weights, read_checkpoint
from host_training.networks import INPUTS, build
from host_training.pairs import PairOptions, PairSource
from model_export.bundle import write_bundle
from model_export.export import OUTPUT, to_onnx
from model_export.quantize import Scheme, Tile, census, float_operators, quantise

Precision = Literal["float32", "U8S8", "S8S8"]

TILE_PX, HALO_PX = 256, 16
"""A corrector M sees 48 px around a place, but hardly uses them: on 60 training pairs what it does
16 to 24 px from a tile's edge is worth 0.007 dB less than far inside, and there tiles only begin
to fade in. A halo of 32 px costs 1.44 times the tiles at 12 megapixels.
"""
CALIBRATION_TILES = 48
_COMPARED_TILES = 8
_CALIBRATION = PairOptions(crop_px=TILE_PX, scenes=16, measurements=16)


def build_from_checkpoint(
    checkpoint: Path,
    folder: Path,
    *,
    name: str,
    precision: Precision,
    with_float32: bool = False,
    photos: Path | None = None,
    motion: Path | None = None,
    training: Mapping[str, Any] | None = None,
    licence: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> ModelBundle:
    """Write the bundle `folder` of a checkpoint's averaged weights.

    with_float32 : an int8 bundle holds the float32 network too, for machines that run it faster.
    photos, motion : what training pairs are made of, to calibrate the ranges of int8 and for a
        real golden tile; not needed for float32.

    Raises InputError without them, or when an operator stayed float in a U8S8 network;
    CheckpointError and ModelError as reading and writing do.
    """
    found = read_checkpoint(checkpoint)
    network = build(found.network)
    load_weights(found, network)
    content = to_onnx(network, tile_size=TILE_PX)
    about = _training(found, precision) | dict(training or {})
    tiles: list[Tile] = []
    if photos is not None and motion is not None:
        count = _COMPARED_TILES + (CALIBRATION_TILES if precision != "float32" else 0)
        tiles = list(calibration_tiles(photos, motion, count))
    used, compared = tiles[:-_COMPARED_TILES], tiles[-_COMPARED_TILES:]
    float32 = None
    if precision != "float32":
        if not tiles:
            raise InputError(checkpoint, "calibration", "no folders", "--photos and --motion")
        quantised = quantise(content, used, scheme=precision)
        operators = census(quantised)
        _require_whole(checkpoint, operators, precision)
        about["quantisation"] = {
            "operators": dict(operators),
            "calibration_tiles": len(used),
            "difference_codes": round(difference_codes(content, quantised, compared), 3),
        }
        float32 = content if with_float32 else None
        content = quantised
    return write_bundle(
        folder,
        content,
        name=name,
        tile_size=TILE_PX,
        halo=HALO_PX,
        float32=float32,
        golden_inputs=_golden_inputs(compared),
        training=about,
        licence=licence,
        metrics=metrics,
        versions={"torch": version("torch")},
    )


def calibration_tiles(photos: Path, motion: Path, count: int) -> Iterator[Tile]:
    """Inputs of a network on `count` training pairs, batch 1, of a bundle's tile size."""
    source = PairSource.read(photos, motion, _CALIBRATION, seed=7)
    for pair in islice(map(source.draw, range(count)), count):
        yield {key: np.asarray(getattr(pair, key), np.float32)[None] for key in INPUTS}


def difference_codes(before: bytes, after: bytes, tiles: list[Tile]) -> float:
    """Root mean square difference of two networks' results on tiles, in 8-bit codes."""
    sessions = [_session(before), _session(after)]
    results = [np.stack([_run(session, tile) for tile in tiles]) for session in sessions]
    error = results[0] - results[1]
    return float(255.0 * np.sqrt(np.mean(np.square(error))))


def _golden_inputs(tiles: list[Tile]) -> dict[str, NDArray[np.float32]] | None:
    """The tile, none that ranges were calibrated on, where the filter changed most."""
    if not tiles:
        return None
    changed = [float(np.abs(tile["filtered"] - tile["blurred"]).mean()) for tile in tiles]
    return {name: values[0] for name, values in tiles[int(np.argmax(changed))].items()}


def _require_whole(checkpoint: Path, operators: Counter[str], scheme: Scheme) -> None:
    left = float_operators(operators)
    if scheme == "U8S8" and left:
        raise InputError(checkpoint, "census", dict(left), "no operator that computes in float")


def _session(model: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def _run(session: onnxruntime.InferenceSession, tile: Tile) -> NDArray[np.float32]:
    (result,) = session.run([OUTPUT], tile)
    return np.asarray(result, np.float32)


def _training(checkpoint: Checkpoint, precision: Precision) -> dict[str, Any]:
    return {
        "network": checkpoint.network,
        "step": checkpoint.step,
        "precision": precision,
        "checkpoint": {key: value for key, value in checkpoint.metadata.items() if key != "files"},
    }
