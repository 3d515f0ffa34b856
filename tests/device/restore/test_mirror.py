"""The mirror test on parts of a photograph, with networks whose answer is known by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from model_bundles import good_bundle

from device.capture.camera import NoiseModel
from device.kernels.field import KernelField
from device.restore.filter_stage import filter_photo
from device.restore.grid import grid_for
from device.restore.mirror import mirror_ratio
from device.restore.network import load_model
from device.restore.working import WorkingPhoto

NOISE = NoiseModel(1e-4, 1e-3)
WIDTH, HEIGHT = 200, 136


def hook_field() -> KernelField:
    """A path with a corner: far from its own mirror image."""
    path = np.zeros((9, 2), np.float32)
    path[:4, 0], path[5:, 1] = np.linspace(-8, -2, 4), np.linspace(2, 8, 4)
    node_u, node_v = np.arange(0.0, WIDTH + 64, 64), np.arange(0.0, HEIGHT + 64, 64)
    shape = (len(node_v), len(node_u))
    paths = np.broadcast_to(path, (*shape, 9, 2)).astype(np.float32)
    sigma = np.full(shape, 0.1, np.float32)
    return KernelField(WIDTH, HEIGHT, node_u, node_v, paths, sigma, np.ones(shape, bool))


def photo(factor: int = 1) -> WorkingPhoto:
    rng = np.random.default_rng(2)
    pixels = rng.integers(40, 220, (HEIGHT * factor, WIDTH * factor, 3)).astype(np.uint8)
    return WorkingPhoto(pixels, "srgb", factor)


def ratio(picture: WorkingPhoto, field: KernelField, folder: Path) -> float:
    grid = grid_for(field, picture.width)
    return mirror_ratio(picture, field, NOISE, grid, load_model(folder), threads=1)


@pytest.mark.parametrize("factor", [1, 2])
def test_a_network_that_halves_every_change_tells_nothing(tmp_path: Path, factor: int) -> None:
    folder = good_bundle(tmp_path / "half", weight=0.5)
    assert ratio(photo(factor), hook_field(), folder) == pytest.approx(1.0, abs=0.02)


def test_a_still_camera_has_nothing_to_tell(tmp_path: Path) -> None:
    field = hook_field()
    still = replace(field, paths_px=np.zeros_like(field.paths_px))
    assert ratio(photo(), still, good_bundle(tmp_path / "tiny")) == 1.0


def test_a_straight_and_even_path_has_nothing_to_tell(tmp_path: Path) -> None:
    field = hook_field()
    even = np.linspace([-9.0, 4.0], [9.0, -4.0], 9).astype(np.float32)
    straight = replace(field, paths_px=np.broadcast_to(even, field.paths_px.shape).copy())
    assert ratio(photo(), straight, good_bundle(tmp_path / "tiny")) == 1.0


def test_both_paths_are_tried_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that keeps nothing where the first leg of the path points to the right."""
    from device.restore import mirror

    def keeps(part: WorkingPhoto, rows: object, field: KernelField, *_: object, **__: object):  # type: ignore[no-untyped-def]
        found = filter_photo(
            part, field, NOISE, grid_for(field, WIDTH), threads=1, show=lambda stage, share: None
        )
        list(rows)  # type: ignore[call-overload]
        return found.change if field.paths_px[0, 0, 0, 0] < 0 else found.change // 2

    monkeypatch.setattr(mirror, "correct_photo", keeps)
    folder = good_bundle(tmp_path / "tiny")
    field = hook_field()
    right = ratio(photo(), field, folder)
    wrong = ratio(photo(), replace(field, paths_px=-field.paths_px), folder)
    assert right == pytest.approx(2.0, rel=0.05)
    assert wrong == pytest.approx(1 / right, rel=1e-6)


@pytest.mark.parametrize(("misled", "parts", "told"), [(3, 6, 1.0), (6, 9, 0.8), (9, 9, 0.5)])
def test_more_parts_are_asked_before_it_is_called_mirrored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, misled: int, parts: int, told: float
) -> None:
    """The first parts speak for the mirror image, the others for the measured path."""
    from device.restore import mirror

    asked = []

    def keeps(part: WorkingPhoto, rows: object, field: KernelField, *_: object, **__: object):  # type: ignore[no-untyped-def]
        change = np.concatenate([r.change for r in rows])  # type: ignore[attr-defined]
        asked.append((field.node_u[0], field.node_v[0]))
        measured = field.paths_px[0, 0, 0, 0] < 0
        for_the_mirror = len(asked) <= 2 * misled
        return change // 2 if measured == for_the_mirror else change

    monkeypatch.setattr(mirror, "correct_photo", keeps)
    pixels = np.tile(photo().pixels, (6, 6, 1))
    found = ratio(WorkingPhoto(pixels, "srgb", 1), hook_field(), good_bundle(tmp_path / "tiny"))
    # Power: a half of the amplitude is a quarter.
    share = misled / parts
    measured, mirrored = 0.25 * share + (1 - share), share + 0.25 * (1 - share)
    assert found == pytest.approx(np.sqrt(measured / mirrored), rel=0.05)
    assert found == pytest.approx(told, abs=0.03)
    assert (len(asked), len(set(asked))) == (2 * parts, parts)
