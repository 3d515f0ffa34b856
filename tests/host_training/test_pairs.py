from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from device.kernels.psf import rasterise
from device.kernels.tiling import TileGrid
from device.restore.filter_stage import filter_photo
from device.restore.grid import grid_for
from device.restore.network_stage import correct_photo
from device.restore.working import WorkingPhoto
from host_training.cli import main
from host_training.hand_motion import read_hand_motion
from host_training.measurement import MeasurementErrors, measure
from host_training.pairs import Pair, PairOptions, PairSource, RollingCache, pair_at, turned
from host_training.pairs_command import described
from host_training.photo_library import PhotoLibrary
from host_training.synthesize import SceneOptions, synthesize

SMALL = PairOptions(
    crop_px=32, scenes=3, measurements=4, measurements_per_scene=2, draws_per_measurement=3
)
PICTURES = ("blurred", "filtered", "sharp")


@pytest.fixture(scope="module")
def library(big_photos: Path) -> PhotoLibrary:
    return PhotoLibrary.read(big_photos, smallest_px=320, shrink=1, min_texture=2.0)


@pytest.fixture(scope="module")
def source(library: PhotoLibrary, motion: Path) -> PairSource:
    return PairSource(library, read_hand_motion(motion), SMALL, seed=2)


def assert_equal(one: Pair, other: Pair) -> None:
    for field in fields(Pair):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def test_a_pair_has_the_shapes_and_ranges_of_the_device(source: PairSource) -> None:
    pair = source.draw(0)
    for name in PICTURES:
        picture = getattr(pair, name)
        assert picture.shape == (3, 32, 32)
        assert picture.dtype == np.float32
        assert picture.min() >= 0
        assert picture.max() <= 1
        assert picture.std() > 0.01
    assert pair.paths.shape == (16, 4, 4)
    assert pair.noise.shape == (1, 4, 4)
    assert pair.noise.min() > 0
    assert pair.noise.max() < 0.2


def test_a_draw_depends_on_seed_stream_and_index_alone(source: PairSource) -> None:
    """Whatever was drawn before: a training that resumes draws what it would have drawn."""
    ahead = [source.of_stream(0).draw(index) for index in (40, 7)]
    in_order = source.of_stream(0)
    drawn = [in_order.draw(index) for index in range(41)]
    assert_equal(ahead[0], drawn[40])
    assert_equal(ahead[1], drawn[7])
    assert not np.array_equal(source.of_stream(1).draw(7).sharp, drawn[7].sharp)


def test_scenes_and_measurements_are_renewed(source: PairSource) -> None:
    fresh = source.of_stream(5)
    early = {fresh.draw(index).blur_px for index in range(20)}
    late = {fresh.draw(index).blur_px for index in range(200, 220)}
    assert len(early) > 1
    assert not early & late


def test_the_rolling_window_is_a_function_of_the_use() -> None:
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return number

    cache = RollingCache(make, size=4, uses_per_item=5)
    rng = np.random.default_rng(0)
    for use in range(100):
        assert cache.pick(use, rng) in cache.numbers(use)
    assert len(made) == len(set(made))
    assert cache.numbers(0) == range(4)
    assert cache.numbers(99) == range(19, 23)


def test_errors_grow_along_the_ramp(library: PhotoLibrary, motion: Path) -> None:
    options = replace(SMALL, ramp_draws=100)
    ramped = PairSource(library, read_hand_motion(motion), options)
    assert [ramped.strength(index) for index in (0, 50, 100, 1000)] == [0.0, 0.5, 1.0, 1.0]
    assert PairSource(library, read_hand_motion(motion), SMALL).strength(0) == 1.0


@pytest.mark.parametrize("symmetry", range(8))
def test_paths_turn_with_the_picture(symmetry: int) -> None:
    """The kernel of the turned path is the turned kernel."""
    rng = np.random.default_rng(1)
    path = np.cumsum(rng.normal(0, 1.2, (9, 2)), axis=0).astype(np.float32)
    path -= path[4]
    kernel = rasterise(path, 31)
    coded = np.delete(path, 4, axis=0).T.reshape(16, 1, 1)
    picture = np.stack([kernel] * 3)
    pair = turned(Pair(picture, picture, kernel[None], picture, coded, kernel[None], 1.0), symmetry)
    turned_path = np.insert(pair.paths.reshape(2, 8).T, 4, 0.0, axis=0)
    np.testing.assert_allclose(rasterise(turned_path, 31), pair.sharp[0], atol=1e-5)
    np.testing.assert_array_equal(pair.noise[0], pair.blurred[0])
    np.testing.assert_array_equal(pair.underdamped[0], pair.blurred[0])


def test_a_network_is_trained_on_what_the_device_gives_it(
    library: PhotoLibrary, motion: Path
) -> None:
    """The device's own network stage, asked for its tensors, against the pair at each tile."""
    rng = np.random.default_rng(8)
    options = SceneOptions(window_px=192, blur_quantiles_px=(6.0, 20.0))
    scene = synthesize(library, read_hand_motion(motion), options, rng)
    measured = measure(scene, MeasurementErrors(still_share=0.0), rng)
    photo = WorkingPhoto(measured.blurred, "srgb", 1)
    filtered = filter_photo(
        photo,
        measured.field,
        measured.noise,
        grid_for(measured.field, scene.frame_width_px),
        threads=1,
        show=lambda stage, share: None,
        underdamped=True,
    )
    seen: list[dict[str, NDArray[np.float32]]] = []

    def residual(tensors: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        seen.append(tensors)
        return np.zeros_like(tensors["filtered"])

    grid = TileGrid.square(64, 8, 16)
    model = SimpleNamespace(grid=grid, residual=residual)
    correct_photo(
        photo,
        [filtered],
        measured.field,
        measured.noise,
        model,
        threads=1,
        show=lambda stage, share: None,  # type: ignore[arg-type]
    )
    tiles = grid.across.count(192)
    for row in (1, 2):
        for column in (1, 2):
            tensors = seen[row * tiles + column]
            left, top = (place * grid.down.step - grid.down.lead for place in (column, row))
            pair = pair_at(measured, left, top, 64)
            for name in tensors:
                np.testing.assert_allclose(
                    getattr(pair, name), tensors[name], atol=1e-3, err_msg=name
                )


def test_crops_that_are_no_multiple_of_a_cell_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        PairOptions(crop_px=100)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_command_measures_and_describes(
    big_photos: Path, motion: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["pairs", "--photos", str(big_photos), "--motion", str(motion), "--crop", "32"]
    words += ["--seconds", "0.1", "--shrink", "1", "--scenes", "2"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "2 photographs decoded" in out
    assert "pairs a second of 32x32 px with 1 process(es)" in out


def test_pairs_are_described_by_quality_and_blur(source: PairSource) -> None:
    text = described([source.draw(index) for index in range(3)])
    assert "of 3 pairs: blurred " in text
    assert " px (tenths " in text
