"""Test sets: bundles of the twin's physics with the truth beside them.

Every bundle is one photograph, one stretch of recorded hand motion, one simulated exposure, and
a log and calibration with the errors that a real sensor has. Everything follows from the seed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from device.errors import InputError
from device.output import write_atomic
from device.restore.tone import from_linear
from host_training.hand_motion import read_hand_motion
from host_training.photos import is_held_back, list_photos, read_scene, texture
from host_training.shot import Shot, ShotOptions

BLUR_QUANTILES = ((0.0, 0.25, 0.5, 0.75, 1.0), (3.0, 8.0, 14.5, 22.0, 42.0))
"""Blur lengths in pixels over a set: its quartiles and ends."""
RECORD = "testset.json"


def make_testset(
    destination: Path,
    photos: Path,
    motion: Path,
    *,
    count: int = 24,
    seed: int = 1,
    options: ShotOptions | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> list[Path]:
    """Write `count` bundles with their truth into a new or empty folder; returns their paths.

    photos : folder of photographs. motion : folder of recorded hand motion.
    Raises InputError when a folder holds nothing usable or the destination is not empty.
    """
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise InputError(destination, "test set", "something there", "a new or empty folder")
    options = options or ShotOptions()
    usable = usable_photos(photos, options)
    motions = read_hand_motion(motion)
    kinds = sorted({m.name.split("/")[0] for m in motions})
    rng = np.random.default_rng(seed)
    quantiles = rng.permutation((np.arange(count) + 0.5) / count)
    lengths_px = np.interp(quantiles, *BLUR_QUANTILES)
    order = [int(i) for start in range(0, count, len(usable)) for i in rng.permutation(len(usable))]
    destination.mkdir(parents=True, exist_ok=True)
    written = []
    for index in range(count):
        # Kinds of recordings take turns, whatever their lengths.
        kind = kinds[index % len(kinds)]
        of_kind = [m for m in motions if m.name.split("/")[0] == kind]
        shot = Shot(
            index,
            usable[order[index]],
            usable[order[index - 1]],
            options,
            np.random.default_rng([seed, index]),
        )
        written.append(shot.make(destination, of_kind, float(lengths_px[index])))
        if progress is not None:
            progress(written[-1].name, (index + 1) / count)
    record = {"seed": seed, "count": count, "options": asdict(options)}
    write_atomic(destination / RECORD, (json.dumps(record, indent=1) + "\n").encode())
    return written


def read_record(folder: Path) -> dict[str, Any] | None:
    """What a test set was made with: seed, count, options; None where that was not recorded."""
    path = folder / RECORD
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def usable_photos(folder: Path, options: ShotOptions) -> list[Path]:
    """Photographs that are large enough, textured, and of the wanted part.

    Raises InputError when none is.
    """
    usable = []
    for path in list_photos(folder):
        if options.held_back and not is_held_back(path):
            continue
        scene = read_scene(path, options.shrink)
        large = scene.shape[1] >= options.width * (1 + 2 * options.margin) and scene.shape[
            0
        ] >= options.height * (1 + 2 * options.margin)
        if large and texture(from_linear(scene, "srgb")) >= options.min_texture:
            usable.append(path)
    if not usable:
        raise InputError(
            folder,
            "photographs",
            "none that is large and sharp enough" + (" and held back" * options.held_back),
            f"{options.width * options.shrink} px wide or more, texture {options.min_texture}",
        )
    return usable
