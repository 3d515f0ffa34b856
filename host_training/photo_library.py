"""Training photographs in memory: decoded once, shrunk, in linear light, cut out at random.

Photographs are kept as 16-bit integers of linear light, half of float32; processes that are forked
after reading share them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from device.capture.develop import brighten_highlights
from device.errors import InputError
from device.restore.tone import from_linear
from host_training.photos import is_held_back, list_photos, read_scene, texture

_UNIT = np.float32(1.0 / 65535.0)
_TRIES = 8
_LARGEST_REDUCTION = 1.7
_LEAST_TEXTURE = 1.0
"""Of a whole picture: below it even the richest of a few places is flat."""


@dataclass(frozen=True)
class PhotoLibrary:
    """names : of the photographs; pictures : (H, W, 3) uint16 each, linear light / 65535."""

    names: Sequence[str]
    pictures: Sequence[NDArray[np.uint16]]
    min_texture: float

    @classmethod
    def read(
        cls,
        folder: Path,
        *,
        smallest_px: int,
        shrink: int = 2,
        min_texture: float = 3.0,
        held_back: bool = False,
    ) -> PhotoLibrary:
        """Decode the photographs below a folder that have both sides at least `smallest_px`.

        held_back : also those that are kept for tests. min_texture : wanted of a cutout; a picture
        that is half sky is welcome, its sky is not.
        Raises InputError for a file that does not decode and when none is usable.
        """
        names, pictures = [], []
        for path in list_photos(folder):
            if is_held_back(path) and not held_back:
                continue
            scene = read_scene(path, shrink)
            if min(scene.shape[:2]) < smallest_px:
                continue
            if texture(from_linear(scene, "srgb")) < _LEAST_TEXTURE:
                continue
            names.append(path.name)
            pictures.append(np.rint(scene / _UNIT).astype(np.uint16))
        if not names:
            raise InputError(
                folder,
                "photographs",
                "none that is large, sharp and free for training",
                f"{shrink * smallest_px} px or more a side, texture {_LEAST_TEXTURE}",
            )
        return cls(names, pictures, min_texture)

    def cutout(self, size_px: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """A random square with detail, (size, size, 3) linear light, burnt-out places brightened.

        The first of 8 places with enough texture, or the richest of them; at a random scale, turned
        and mirrored by chance, so that few photographs show more than they hold.
        """
        picture = self.pictures[int(rng.integers(len(self.pictures)))]
        reduction = math.exp(rng.uniform(0.0, math.log(_LARGEST_REDUCTION)))
        side = min(round(size_px * reduction), *picture.shape[:2])
        best, found = -1.0, picture[:side, :side]
        for _ in range(_TRIES):
            top = int(rng.integers(picture.shape[0] - side + 1))
            left = int(rng.integers(picture.shape[1] - side + 1))
            square = picture[top : top + side, left : left + side]
            detail = texture(from_linear(square * _UNIT, "srgb"))
            if detail > best:
                best, found = detail, square
            if best >= self.min_texture:
                break
        scene = found * _UNIT
        if side > size_px:
            scene = np.asarray(cv2.resize(scene, (size_px,) * 2, interpolation=cv2.INTER_AREA))
        scene = np.rot90(scene, int(rng.integers(4)))
        if rng.random() < 0.5:
            scene = scene[:, ::-1]
        return brighten_highlights(np.ascontiguousarray(scene))
