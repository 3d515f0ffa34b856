"""The guard: what was blurred as measured is trusted, what was sharp in the photograph is not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import fft

from device.capture.camera import NoiseModel
from device.capture.develop import develop
from device.kernels.field import KernelField
from device.kernels.psf import transfer_function
from device.restore.filter_stage import filter_photo
from device.restore.grid import grid_for
from device.restore.guard import (
    CELL_PX,
    stretched,
    trust_map,
)
from device.restore.guard_stage import Verdict, guard_photo
from device.restore.working import CHANGE_UNIT, WorkingPhoto

WIDTH, HEIGHT = 640, 360
NOISE = NoiseModel(0.0006, 0.002)
PATCH = np.s_[96:224, 32:160]
Image = NDArray[np.float32]


def silent(stage: str, share: float) -> None:
    """Progress nobody watches."""


def straight(du: float, dv: float) -> NDArray[np.float64]:
    return np.linspace(-0.5, 0.5, 9)[:, None] * [du, dv]


def constant_field(path: NDArray[np.float64], sigma_px: float = 0.1) -> KernelField:
    node_u, node_v = np.arange(0.0, WIDTH + 64, 64), np.arange(0.0, HEIGHT + 64, 64)
    shape = (len(node_v), len(node_u))
    paths = np.broadcast_to(path, (*shape, 9, 2)).astype(np.float32)
    sigma = np.full(shape, sigma_px, np.float32)
    return KernelField(WIDTH, HEIGHT, node_u, node_v, paths, sigma, np.ones(shape, bool))


def scenery(seed: int = 0, *, gravel: bool = False) -> Image:
    """Texture as 1 / f, rich in some places and faint in others, or rich everywhere: (H, W, 3)."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None])
    fall = 1.0 / np.maximum(frequency, 1.0 / WIDTH)
    noise = rng.standard_normal((3, HEIGHT, WIDTH))
    planes = fft.irfft2(fft.rfft2(noise) * fall, s=(HEIGHT, WIDTH))
    planes *= 0.12 / planes.std()
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    richness = 1.0 if gravel else 0.55 + 0.45 * np.sin(u / 35.0) * np.sin(v / 28.0)
    return np.moveaxis(np.clip(0.4 + planes * richness, 0.02, 0.95), 0, 2).astype(np.float32)


def blurred(scene: Image, path: NDArray[np.float64]) -> Image:
    H = transfer_function(path, HEIGHT, WIDTH)
    planes = fft.irfft2(fft.rfft2(np.moveaxis(scene, 2, 0)) * H, s=(HEIGHT, WIDTH))
    return np.moveaxis(planes, 0, 2)


def photograph(light: Image, seed: int = 0) -> WorkingPhoto:
    return WorkingPhoto(develop(light, "srgb", NOISE, np.random.default_rng(seed)), "srgb", 1)


def judged(photo: WorkingPhoto, field: KernelField) -> tuple[Verdict, NDArray[np.int16]]:
    grid = grid_for(field, photo.width)
    found = filter_photo(photo, field, NOISE, grid, threads=1, show=silent)
    verdict = guard_photo(
        photo,
        found.change,
        field,
        NOISE,
        found.expected_share,
        grid,
        rings=True,
        threads=1,
        show=silent,
    )
    return verdict, found.change


def per_pixel(trust: Image) -> Image:
    return trust.repeat(CELL_PX, 0).repeat(CELL_PX, 1)[:HEIGHT, :WIDTH]


FAR = np.s_[:, 160 + 130 :]
"""Beyond the guard's reach from the patch: its smoothing, and half a path."""


PATHS = {"pan": straight(14, 0), "tilted": straight(7, 10), "long": straight(26, -6)}


@pytest.mark.parametrize("gravel", [False, True])
@pytest.mark.parametrize("name", ["pan", "long"])
def test_what_is_blurred_as_measured_is_trusted(name: str, gravel: bool) -> None:
    photo = photograph(blurred(scenery(gravel=gravel), PATHS[name]))
    verdict, _ = judged(photo, constant_field(PATHS[name]))
    assert verdict.trust.mean() > 0.97
    assert verdict.to_json()["trusted_share"] > 0.97


@pytest.mark.parametrize(("name", "seed"), [("pan", 0), ("tilted", 1), ("long", 2)])
def test_what_moved_with_the_camera_is_kept(name: str, seed: int) -> None:
    """A sharp patch in a blurred picture: untouched inside, restored well outside."""
    light = blurred(scenery(seed), PATHS[name])
    light[PATCH] = scenery(seed + 10)[PATCH]
    verdict, change = judged(photograph(light, seed), constant_field(PATHS[name]))
    trust = per_pixel(verdict.trust)
    assert trust[PATCH].mean() < 0.02
    assert trust[FAR].mean() > 0.9
    # What would have been done to the patch, and what is: 30 dB less.
    proposed = CHANGE_UNIT * change[PATCH].astype(np.float64)
    done = proposed * trust[PATCH][:, :, None]
    assert np.mean(done**2) < 1e-3 * np.mean(proposed**2)


@pytest.mark.parametrize("gravel", [False, True])
def test_a_photograph_that_is_sharp_everywhere_is_kept(gravel: bool) -> None:
    """The log of another photograph: nothing in this one was blurred like that."""
    photo = photograph(scenery(2, gravel=gravel))
    verdict, _ = judged(photo, constant_field(straight(14, 0)))
    assert verdict.trust.mean() < 0.1


def test_a_camera_that_did_not_move_is_trusted() -> None:
    """Nothing is changed, so nothing is wrong with it."""
    verdict, _ = judged(photograph(scenery(3)), constant_field(straight(0, 0)))
    assert verdict.trust.mean() > 0.95


def test_clipped_places_stand_as_they_are() -> None:
    light = blurred(scenery(1), PATHS["pan"])
    light[PATCH] = 3.0
    light = np.asarray(light, np.float32)
    verdict, _ = judged(photograph(light), constant_field(PATHS["pan"]))
    rows, columns = PATCH
    inner = per_pixel(verdict.trust)[
        rows.start + 16 : rows.stop - 16, columns.start + 16 : columns.stop - 16
    ]
    assert inner.max() < 0.05


def test_a_grey_photograph_is_judged_too() -> None:
    light = blurred(scenery(0), PATHS["pan"])
    light[PATCH] = scenery(10)[PATCH]
    grey = WorkingPhoto(photograph(light).pixels[:, :, 1], "srgb", 1)
    verdict, _ = judged(grey, constant_field(PATHS["pan"]))
    trust = per_pixel(verdict.trust)
    assert trust[PATCH].mean() < 0.05
    assert trust[FAR].mean() > 0.9


# The verdict itself


def cells(value: float, shape: tuple[int, int] = (40, 50)) -> Image:
    return np.full(shape, value, np.float32)


def verdict_of(*evidence: Image | float, gathering: Image | None = None, rings: bool) -> Image:
    """trust_map of a restoration whose gradients are as dense as the photograph's, unless told."""
    if gathering is None:
        gathering = np.zeros_like(evidence[0])
    return trust_map(*evidence, gathering, rings=rings)  # type: ignore[arg-type]


def test_silence_everywhere_means_the_measured_motion_is_right() -> None:
    """A clear sky: only noise is present, and only noise is left over."""
    trust = verdict_of(cells(1.0), cells(1.0), cells(0.8), cells(0.1), 12.0, cells(0.0), rings=True)
    assert trust.min() > 0.99


def test_silent_places_follow_their_surroundings() -> None:
    """The smooth middle of something sharp is kept like its rim; sky beside blur is trusted."""
    leftover, present = cells(1.0), cells(30.0)
    leftover[:, :16] = present[:, :16] = 40.0  # sharp on the left
    leftover[18:22, 6:10] = present[18:22, 6:10] = 1.0  # a smooth spot within
    present[18:22, 38:42] = 1.0  # and one within the blurred right
    trust = verdict_of(leftover, present, cells(0.8), cells(0.1), 12.0, cells(0.0), rings=True)
    assert trust[20, 8] < 0.05
    assert trust[20, 40] > 0.95


def test_nothing_is_trusted_nearer_than_half_a_path() -> None:
    shape = (90, 90)
    leftover, present = cells(1.0, shape), cells(30.0, shape)
    leftover[35:55, 35:55] = present[35:55, 35:55] = 60.0
    reached = []
    for extent_px in (0.0, 80.0, 160.0):
        share, sigma_px, clipped = (cells(value, shape) for value in (0.8, 0.1, 0.0))
        trust = verdict_of(leftover, present, share, sigma_px, extent_px, clipped, rings=True)
        reached.append(int((trust[45] < 0.5).sum()))
    assert reached[1] - reached[0] == pytest.approx(2 * 40 / CELL_PX, abs=2)
    assert reached[2] - reached[0] == pytest.approx(2 * 80 / CELL_PX, abs=2)


def test_the_more_of_the_picture_speaks_against_the_motion_the_less_the_rest_is_trusted() -> None:
    rest = []
    for sharp_columns in (15, 27, 34):
        leftover, present = cells(1.0), cells(30.0)
        leftover[:, :sharp_columns] = present[:, :sharp_columns] = 40.0
        trust = verdict_of(leftover, present, cells(0.8), cells(0.1), 0.0, cells(0.0), rings=True)
        rest.append(float(trust[20, 46]))
    assert rest[0] > 0.99
    assert 0.3 < rest[1] < 0.8
    assert 0.05 < rest[2] < 0.25


def test_a_burnt_out_sky_does_not_speak_against_the_motion() -> None:
    clipped = cells(0.0)
    clipped[:30] = 1.0
    trust = verdict_of(cells(1.0), cells(1.0), cells(0.8), cells(0.1), 12.0, clipped, rings=True)
    assert trust[38, 20] > 0.99


def test_a_path_too_uncertain_to_tell_does_not_accuse() -> None:
    """With an error of pixels a correct restoration leaves as much over as a sharp scene."""
    leftover, present = cells(1.0), cells(30.0)
    leftover[:, :25] = 30.0
    sure = verdict_of(leftover, present, cells(0.8), cells(0.1), 12.0, cells(0.0), rings=True)
    unsure = verdict_of(leftover, present, cells(0.8), cells(3.0), 12.0, cells(0.0), rings=True)
    assert sure[20, 8] < 0.1
    assert unsure[20, 8] > 0.9


def test_clipped_places_stay_as_they_are_and_others_do_not() -> None:
    clipped = cells(0.0)
    clipped[10:30, 10:30] = 1.0
    trust = verdict_of(cells(1.0), cells(1.0), cells(0.8), cells(0.1), 12.0, clipped, rings=True)
    assert trust[20, 20] == pytest.approx(0.0, abs=1e-6)
    assert trust[2, 45] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("extent_px", "rings", "trusted"),
    [(80.0, False, True), (80.0, True, False), (0.0, False, False)],
)
def test_edges_of_clipped_light_accuse_no_path_that_reaches_it(
    extent_px: float, rings: bool, trusted: bool
) -> None:
    """A burnt-out window's edge is left over whatever the motion; out of its reach that counts."""
    leftover, present, clipped = cells(1.0), cells(30.0), cells(0.0)
    leftover[:, 16:21] = present[:, 16:21] = 40.0
    clipped[:, 21:25] = 0.5
    trust = verdict_of(leftover, present, cells(0.8), cells(0.1), extent_px, clipped, rings=rings)
    assert (trust[20, 17] > 0.9) == trusted


def test_what_came_from_outside_the_picture_accuses_no_path() -> None:
    leftover, present = cells(1.0), cells(30.0)
    leftover[:, :4] = present[:, :4] = 40.0
    evidence = (leftover, present, cells(0.8), cells(0.1))
    assert verdict_of(*evidence, 80.0, cells(0.0), rings=False)[20, 2] > 0.9
    assert verdict_of(*evidence, 80.0, cells(0.0), rings=True)[20, 2] < 0.1
    assert verdict_of(*evidence, 0.0, cells(0.0), rings=False)[20, 2] < 0.1


@pytest.mark.parametrize(
    ("gathering", "everywhere", "trusted"),
    [(0.2, True, True), (0.2, False, False), (0.0, True, False), (-0.2, True, False)],
)
def test_where_light_is_gathered_nothing_left_over_accuses(
    gathering: float, everywhere: bool, trusted: bool
) -> None:
    """Unless it is gathered hardly anywhere else: then that place is chance."""
    leftover, present, gathered = cells(1.0), cells(30.0), cells(0.0)
    place = np.s_[14:26, 16:28]
    leftover[place] = present[place] = 40.0
    gathered[np.s_[:] if everywhere else place] = gathering
    evidence = (leftover, present, cells(0.8), cells(0.1), 0.0, cells(0.0))
    trust = verdict_of(*evidence, gathering=gathered, rings=False)
    assert (trust[20, 22] > 0.95) == trusted
    assert (trust[20, 22] < 0.05) != trusted


def test_values_of_tiles_are_stretched_over_their_cells() -> None:
    values = np.array([[1.0, 1.0, 5.0], [1.0, 1.0, 5.0]])
    large = stretched(values, 20, 30)
    assert large.shape == (20, 30)
    assert large[10, 2] == pytest.approx(1.0)
    assert large[10, 28] == pytest.approx(5.0)
