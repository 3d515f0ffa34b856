"""The mirror test: photographs blurred along a path, told that path or its mirror image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from device.capture.camera import NoiseModel
from device.kernels.field import KernelField
from device.kernels.reblur import reblur
from device.restore.grid import grid_for
from device.restore.mirror import MIRRORED_BELOW, mirror_score
from device.restore.tone import from_linear
from device.restore.working import WorkingPhoto

NOISE = NoiseModel(1e-4, 1e-3)
WIDTH, HEIGHT = 640, 480


def field_of(path: np.ndarray, scale: int = 1) -> KernelField:
    node_u, node_v = (np.arange(0.0, scale * side + 64, 64) for side in (WIDTH, HEIGHT))
    shape = (len(node_v), len(node_u))
    paths = np.broadcast_to(scale * path, (*shape, 9, 2)).astype(np.float32)
    sigma = np.full(shape, 0.1, np.float32)
    return KernelField(
        scale * WIDTH, scale * HEIGHT, node_u, node_v, paths, sigma, np.ones(shape, bool)
    )


def hook() -> np.ndarray:
    """A path with a corner: far from its own mirror image."""
    path = np.zeros((9, 2), np.float32)
    path[:4, 0], path[5:, 1] = np.linspace(-8, -2, 4), np.linspace(2, 8, 4)
    return path


def mirrored(field: KernelField) -> KernelField:
    return replace(field, paths_px=-field.paths_px)


def discs(scale: int = 1) -> np.ndarray:
    """Discs of every brightness on top of one another: (H, W, 3) linear light, edges everywhere."""
    rng = np.random.default_rng(5)
    v, u = np.mgrid[: scale * HEIGHT, : scale * WIDTH] / scale
    scene = np.full((*u.shape, 3), 0.2, np.float32)
    for _ in range(400):
        centre_u, centre_v, radius = rng.uniform((0, 0, 4), (WIDTH, HEIGHT, 30))
        inside = np.hypot(u - centre_u, v - centre_v) < radius
        scene[inside] = rng.uniform(0.02, 0.8, 3)
    return scene


def photo_of(
    scene: np.ndarray, field: KernelField, *, factor: int = 1, grey: bool = False
) -> WorkingPhoto:
    """Blurred along the field, with its noise, in codes."""
    light = reblur(scene, field)
    noise = np.random.default_rng(6).normal(0.0, np.sqrt(NOISE.shot * light + NOISE.read**2))
    pixels = from_linear((light + noise).astype(np.float32), "srgb")
    return WorkingPhoto(pixels[..., 1] if grey else pixels, "srgb", factor)


def score(photo: WorkingPhoto, field: KernelField, threads: int = 1) -> float:
    working = field.scaled(1.0 / photo.factor)
    grid = grid_for(working, photo.pixels.shape[1])
    return mirror_score(photo, working, NOISE, grid, threads=threads)


@pytest.mark.parametrize(("factor", "grey"), [(1, False), (1, True), (2, False)])
def test_a_sharp_scene_tells_the_path_from_its_mirror_image(factor: int, grey: bool) -> None:
    field = field_of(hook(), factor)
    photo = photo_of(discs(factor), field, factor=factor, grey=grey)
    assert score(photo, field) > -MIRRORED_BELOW
    assert score(photo, mirrored(field)) < MIRRORED_BELOW
    # The votes are the same but for their sign.
    assert score(photo, mirrored(field)) == pytest.approx(-score(photo, field), rel=1e-3)


def test_threads_change_nothing() -> None:
    field = field_of(hook())
    photo = photo_of(discs(), field)
    assert score(photo, field, threads=3) == score(photo, field)


def test_a_picture_of_noise_alone_is_not_called_mirrored() -> None:
    field = field_of(hook())
    photo = photo_of(np.full((HEIGHT, WIDTH, 3), 0.3, np.float32), field)
    assert abs(score(photo, field)) < -MIRRORED_BELOW


@pytest.mark.parametrize("level", [0, 255])
def test_a_black_or_white_picture_tells_nothing(level: int) -> None:
    pixels = np.full((HEIGHT, WIDTH, 3), level, np.uint8)
    assert abs(score(WorkingPhoto(pixels, "srgb", 1), field_of(hook()))) < -MIRRORED_BELOW


@pytest.mark.parametrize(
    "path",
    [np.zeros((9, 2)), np.linspace([-9.0, 4.0], [9.0, -4.0], 9)],
    ids=["still", "straight and even"],
)
def test_a_path_that_is_its_own_mirror_image_has_nothing_to_tell(path: np.ndarray) -> None:
    field = field_of(path)
    assert score(photo_of(discs(), field), field) == 0.0


def test_too_few_votes_decide_nothing() -> None:
    """Pictures of four tiles and of many that overlap; a field known in one corner alone."""
    field = field_of(hook())
    photo = photo_of(discs(), field)
    for rows, columns in ((60, 90), (240, 320)):
        small = WorkingPhoto(photo.pixels[:rows, :columns], "srgb", 1)
        assert score(small, field) == 0.0
    unknown = replace(field, valid=np.zeros_like(field.valid))
    unknown.valid[:2, :3] = True
    assert score(photo, unknown) == 0.0
