"""The seed system's own protocol: how its network was trained and judged there.

Crops of 256 px, each smeared along one straight line, no noise, batches of 16, a learning rate of
2e-4 that stays, ten parts L1 and one part MSE; judged by PSNR on ten validation pictures, where the
seed system reports about 24 dB. Its photographs and lengths are not known: here they are those of
the training folder, smeared in linear light by 2 to 40 px, and the ten are of photographs that
training never sees. A sample is a function of (seed, its number) alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from device.bundle import Bundle
from device.capture.camera import NoiseModel
from device.errors import InputError
from device.kernels.encode import paths_view
from device.kernels.field import KernelField
from device.kernels.psf import transfer_function
from device.output import write_atomic
from device.restore.tone import coded, from_linear
from device.validation import read_text
from host_training.blur_fields import photograph_alone, uniform_field
from host_training.config import TrainConfig
from host_training.methods import Method
from host_training.metrics import psnr_db
from host_training.photo_library import PhotoLibrary
from host_training.photos import is_held_back

Image = NDArray[np.float32]

PROTOCOL = "seed: straight even smears, no noise"
CROP_PX = 256
LENGTH_PX = (2.0, 40.0)
VALIDATION_PICTURES = 10
RESULT = "seed-protocol.json"
BLURRED = "blurred"
_TRAINING, _VALIDATION = 0, 1
_NO_NOISE = NoiseModel(shot=0.0, read=0.0)


def seed_config(
    *, steps: int, save_steps: int, precision: str = "float32", seed: int = 1
) -> TrainConfig:
    """The protocol's training: Adam at a rate that stays, the last weights and no average.

    Its precision is float32; bfloat16 is for a computer that would take days.
    """
    return TrainConfig(
        network="seed_unet",
        steps=steps,
        batch_size=16,
        rate=2e-4,
        last_rate=2e-4,
        warmup_steps=0,
        clip_norm=1e6,
        average_decay=0.0,
        precision=precision,
        save_steps=save_steps,
        log_steps=min(50, save_steps),
        seed=seed,
    )


@dataclass(frozen=True)
class Smeared:
    """blurred, sharp : (S, S, 3) float32 linear light; field : of the one straight smear."""

    blurred: Image
    sharp: Image
    field: KernelField

    def tensors(self) -> dict[str, Image]:
        """As a network is given them: blurred, sharp (3, S, S) sRGB-coded, paths (16, S/8, S/8)."""
        size = len(self.sharp)
        pictures = {"blurred": self.blurred, "sharp": self.sharp}
        tensors = {
            name: np.ascontiguousarray(np.moveaxis(coded(picture, "srgb"), 2, 0))
            for name, picture in pictures.items()
        }
        return tensors | {"paths": paths_view(self.field, 0, 0, size, size)}


@dataclass(frozen=True)
class SmearedCrops:
    """Samples by number. crop_px : their side, a multiple of 16."""

    library: PhotoLibrary
    seed: int
    kind: int = _TRAINING
    crop_px: int = CROP_PX

    def sample(self, number: int) -> Smeared:
        """Cut out a square, smear it along a random line."""
        rng = np.random.default_rng([self.seed, self.kind, number])
        length_px, angle = rng.uniform(*LENGTH_PX), rng.uniform(0, np.pi)
        vector_px = length_px * np.array([np.cos(angle), np.sin(angle)])
        margin = margin_px()
        scene = self.library.cutout(self.crop_px + 2 * margin, rng)
        return smear(np.minimum(scene, np.float32(1.0)), vector_px, margin)


def margin_px() -> int:
    """Of the surroundings that a smear moves into a crop."""
    return int(np.ceil(LENGTH_PX[1] / 2)) + 4


def smear(scene: Image, vector_px: NDArray[np.float64], margin: int) -> Smeared:
    """Smear a square scene (P, P, 3) and cut its margins off."""
    planes = np.moveaxis(scene, 2, 0)
    inner = slice(margin, len(scene) - margin)
    size = len(scene) - 2 * margin
    field = uniform_field(size, size, vector_px)
    H = transfer_function(field.paths_px[0, 0], *planes.shape[1:])
    blurred: Image = fft.irfft2(fft.rfft2(planes) * H, s=planes.shape[1:])
    return Smeared(
        np.ascontiguousarray(np.moveaxis(blurred[:, inner, inner], 0, 2)),
        np.ascontiguousarray(scene[inner, inner]),
        field,
    )


def split_library(photos: Path, *, shrink: int = 2) -> tuple[PhotoLibrary, PhotoLibrary]:
    """Photographs for training and those kept for validation.

    Raises InputError when there are none of either.
    """
    smallest_px = CROP_PX + 2 * margin_px()
    every = PhotoLibrary.read(photos, smallest_px=smallest_px, shrink=shrink, held_back=True)
    kept = [is_held_back(Path(name)) for name in every.names]
    training, validation = (
        replace(
            every,
            names=[name for name, k in zip(every.names, kept, strict=True) if k is wanted],
            pictures=[p for p, k in zip(every.pictures, kept, strict=True) if k is wanted],
        )
        for wanted in (False, True)
    )
    for library, words in ((training, "free for training"), (validation, "held back")):
        if not library.names:
            raise InputError(photos, "photographs", f"none that is {words}", "at least one")
    return training, validation


def write_validation(crops: SmearedCrops, folder: Path) -> list[tuple[Bundle, Smeared]]:
    """The ten validation pictures as photographs of 8 bits, NN.capture in a new folder.

    Each is of another photograph as far as there are as many.
    """
    written = []
    for number in range(VALIDATION_PICTURES):
        one = slice(which := number % len(crops.library.names), which + 1)
        names, pictures = crops.library.names[one], crops.library.pictures[one]
        library = replace(crops.library, names=names, pictures=pictures)
        sample = replace(crops, library=library, kind=_VALIDATION).sample(number)
        pixels = from_linear(sample.blurred, "srgb")
        bundle = photograph_alone(pixels, folder / f"{number:02d}.capture", noise=_NO_NOISE)
        written.append((bundle, sample))
    return written


def judge(
    pictures: Sequence[tuple[Bundle, Smeared]], methods: Sequence[Method]
) -> dict[str, dict[str, float]]:
    """Mean PSNR and worst gain of each method, told the exact straight path; and of BLURRED."""
    found: dict[str, list[float]] = {BLURRED: [], **{method.name: [] for method in methods}}
    for bundle, sample in pictures:
        truth = from_linear(sample.sharp, "srgb")
        found[BLURRED].append(psnr_db(bundle.read_pixels().astype(np.uint8, copy=False), truth))
        for method in methods:
            restored = method.restore(bundle, sample.field)
            found[method.name].append(psnr_db(restored.pixels, truth))
    before = np.array(found[BLURRED])
    return {
        name: {
            "psnr_db": float(np.mean(values)),
            "worst_gain_db": float((np.array(values) - before).min()),
        }
        for name, values in found.items()
    }


def write_result(run: Path, result: dict[str, Any]) -> Path:
    """Keep what a run came to; returns the file."""
    path = run / RESULT
    write_atomic(path, (json.dumps(result, indent=1) + "\n").encode())
    return path


def read_result(run: Path) -> dict[str, Any]:
    """What `write_result` wrote; raises InputError when it is not there."""
    path = run / RESULT
    try:
        result = json.loads(read_text(path, "the result of stillpi-train seed-protocol"))
    except json.JSONDecodeError as error:
        raise InputError(path, f"line {error.lineno}", error.msg, "JSON") from None
    if not isinstance(result, dict) or result.get("protocol") != PROTOCOL:
        raise InputError(path, "protocol", "another", PROTOCOL)
    return result
