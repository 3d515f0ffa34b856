"""What is compared: named ways to get from a photograph and its kernel field to a sharp picture.

A model bundle runs as on the device, behind the filter and before the guard. The network of the
seed system runs as that system did: from the blurred picture and one straight vector a pixel,
without filter or guard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from device.bundle import Bundle
from device.commands.restoring import choose_model
from device.errors import InputError
from device.kernels.encode import vector_view
from device.kernels.field import KernelField
from device.kernels.tiling import TileGrid, process_tiles
from device.restore.network import MANIFEST, ModelBundle
from device.restore.pipeline import RestoreOptions, restore
from device.restore.tone import coded
from device.restore.working import WorkingPhoto
from device.shipped_models import SHIPPED_MODELS

Pixels = NDArray[np.uint8]
Image = NDArray[np.float32]

FILTER = "filter"
_SMALL_PX = 256


class Restored(NamedTuple):
    """pixels : (H, W, 3) uint8; trusted_share : of the restoration that the guard kept."""

    pixels: Pixels
    trusted_share: float


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    restore : the photograph and what is said of its blur, to the picture.
    identity : plain JSON that tells exactly which network this is; empty for the filter.
    brief : judged by the measured and the exact motion alone, not by wrong ones.
    """

    name: str
    restore: Callable[[Bundle, KernelField], Restored]
    identity: dict[str, Any] = field(default_factory=dict)
    brief: bool = False


def device_method(name: str, model: ModelBundle | None, options: RestoreOptions) -> Method:
    """The pipeline of the device; the filter alone when there is no model."""

    def run(bundle: Bundle, field: KernelField) -> Restored:
        restored = restore(bundle, model=model, options=options, field=field)
        return Restored(restored.pixels, float(restored.report.guard.get("trusted_share", 1.0)))

    if model is None:
        return Method(name, run)
    manifest = model.manifest
    return Method(name, run, {"network": manifest.name, "sha256": manifest.model.sha256})


def seed_method(name: str, checkpoint: Path) -> Method:
    """The seed's network from its checkpoint, tile by tile, in torch.

    Raises CheckpointError, and InputError when the checkpoint is of another network.
    """
    import torch

    from host_training.checkpoint import AVERAGE, load_weights, read_checkpoint
    from host_training.networks import SeedUNet

    found = read_checkpoint(checkpoint)
    if found.network != "seed_unet":
        expected = "seed_unet, or a model bundle as stillpi-export build makes it"
        raise InputError(found.path, "network", found.network, expected)
    network = SeedUNet()
    load_weights(found, network)
    network.eval()

    def run(bundle: Bundle, field: KernelField) -> Restored:
        photo = WorkingPhoto(bundle.read_pixels(), bundle.tone, 1)

        def coded_and_vectors(first: int, last: int) -> Image:
            code = coded(photo.linear_rows(first, last), "srgb")
            return np.concatenate([code, vector_view(field, 0, first, photo.width, last - first)])

        def work(tiles: Image, _: NDArray[np.float64]) -> Image:
            with torch.inference_mode():
                inputs = torch.from_numpy(tiles)
                sharp: Image = network(inputs[:, :3], inputs[:, 3:]).numpy()
            return sharp

        pixels = np.empty((photo.height, photo.width, 3), np.uint8)
        grid = _seed_grid(max(photo.width, photo.height))
        strips = process_tiles(coded_and_vectors, photo.width, photo.height, work, grid)
        for first, strip in strips:
            codes = np.rint(255.0 * np.clip(np.moveaxis(strip, 0, 2), 0.0, 1.0))
            pixels[first : first + strip.shape[1]] = codes
        return Restored(pixels, 1.0)

    protocol = found.metadata.get("protocol", "stillpi")
    identity = {
        "network": found.network,
        "step": found.step,
        "protocol": protocol,
        "sha256": found.files[AVERAGE],
    }
    return Method(name, run, identity)


def _seed_grid(longer_side_px: int) -> TileGrid:
    """Tiles of multiples of 16 px; the margin holds nearly all that a place's result depends on.

    Large tiles waste less on margins, and small pictures less on large tiles.
    """
    side_px = _SMALL_PX if longer_side_px <= _SMALL_PX else 2 * _SMALL_PX
    return TileGrid.square(side_px, 48, 16)


def open_methods(
    named: Sequence[str],
    *,
    threads: int,
    unguarded: bool = False,
    compared: Sequence[str] = (),
) -> list[Method]:
    """The filter, then what `named` says: [NAME=]PATH of a bundle or a seed_unet checkpoint.

    unguarded : the device's methods also without the guard, as rows of their own, brief.
    compared : as `named`, but brief, and last.
    `default` and `small` are the models that ship; `none` adds nothing.
    Without NAME a folder's own name is used. Raises ModelError, CheckpointError, and InputError
    for a name given twice and for what is neither.
    """
    models: dict[str, ModelBundle | None] = {FILTER: None}
    others: list[Method] = []
    for argument in named:
        given, _, rest = argument.rpartition("=")
        name, folder = given or Path(rest).name, Path(rest)
        if name in models:
            raise InputError("stillpi-train", "--model", f"{name} twice", "NAME=PATH")
        if rest in (*SHIPPED_MODELS, "none") or (folder / MANIFEST).is_file():
            if model := choose_model(rest):
                models[name] = model
        elif folder.is_dir():
            others.append(seed_method(name, folder))
        else:
            raise InputError(folder, "model", "nothing", "a model bundle or a checkpoint")
    options = RestoreOptions(threads=threads)
    methods = [device_method(name, model, options) for name, model in models.items()]
    if unguarded:
        free = replace(options, guard=False)
        named_free = ((f"{name}, unguarded", model) for name, model in models.items())
        methods += [replace(device_method(n, m, free), brief=True) for n, m in named_free]
    methods += others
    if compared:
        methods += [replace(m, brief=True) for m in open_methods(compared, threads=threads)[1:]]
    for name, count in Counter(method.name for method in methods).items():
        if count > 1:
            raise InputError("stillpi-train", "--model", f"{name} twice", "NAME=PATH")
    return methods
