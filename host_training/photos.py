"""Sharp photographs: found, decoded, shrunk in linear light, and judged by their texture."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from device.capture.scene import read_photograph
from device.errors import InputError
from device.restore.tone import to_linear

_SUFFIXES = {".jpg", ".jpeg", ".png"}
_HELD_BACK_SHARE = 0.35
_BLOCK_PX = 32
_DEMO_PHOTOS = {"perched-osprey", "osprey"}


def list_photos(folder: Path) -> list[Path]:
    """All JPEG and PNG files below a folder, sorted by their path within it.

    Raises InputError when there are none.
    """
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES)
    if not found:
        raise InputError(folder, "photographs", "none", "JPEG or PNG files in this folder")
    return found


def is_held_back(photo: Path) -> bool:
    """Whether a photograph is kept from training, for tests: about a third, by its file name.

    A hash of the name decides, so that adding photographs moves none from one side to the other.
    The one that the demo restores is among them.
    """
    if photo.stem in _DEMO_PHOTOS:
        return True
    digest = hashlib.sha256(photo.name.encode()).digest()
    return digest[0] < 256 * _HELD_BACK_SHARE


def read_scene(path: Path, shrink: int) -> NDArray[np.float32]:
    """A photograph in linear light (H, W, 3) float32, shrunk by an integer with area averaging.

    Shrinking hides the softness, noise and sharpening halos that cameras leave at full size; it
    happens in linear light, where the mean of pixels is the light of the larger one.
    """
    linear = to_linear(read_photograph(path), "srgb")
    if shrink == 1:
        return linear
    height, width = linear.shape[0] // shrink, linear.shape[1] // shrink
    whole = linear[: height * shrink, : width * shrink]
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA))


def texture(pixels: NDArray[np.uint8]) -> float:
    """How much fine detail a picture holds, in coded values of 0..255: 1 is soft, 5 is rich.

    pixels : (H, W, 3). The median over blocks of 32 px of the standard deviation of what a
    Gaussian of 2 px removes: a picture that is half sky or half out of focus scores low.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), 2.0)
    rows, columns = fine.shape[0] // _BLOCK_PX, fine.shape[1] // _BLOCK_PX
    blocks = fine[: rows * _BLOCK_PX, : columns * _BLOCK_PX].reshape(
        rows, _BLOCK_PX, columns, _BLOCK_PX
    )
    return float(np.median(blocks.std(axis=(1, 3))))
