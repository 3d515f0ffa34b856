"""Training pairs on the fly: what the network is given, and the sharp picture it should find.

Rendering costs more than measuring, and measuring more than cropping, so each result is used
several times: a rolling set of rendered scenes is measured again and again, with new noise, new
sensor errors and a new pass of the filter, and a rolling set of measurements is cropped, turned
and mirrored. A draw is a function of (seed, stream, index) alone: a training that resumes at
draw n goes on exactly as it would have.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from device.kernels.encode import PATHS_STRIDE_PX, paths_view
from host_training.hand_motion import HandMotion, read_hand_motion
from host_training.measurement import Measured, MeasurementErrors, measure
from host_training.photo_library import PhotoLibrary
from host_training.synthesize import SURROUND_PX, RenderedScene, SceneOptions, synthesize

Image = NDArray[np.float32]
T = TypeVar("T")

CONTEXT_PX = 48
"""Of a measurement around every crop: the filter mirrors the picture at its edges."""
_ROOM_PX = 64
_SCENE, _MEASUREMENT, _DRAW = range(3)


@dataclass(frozen=True)
class Pair:
    """One sample; S is a multiple of 8.

    blurred, filtered, sharp : (3, S, S) float32, sRGB-coded 0..1.
    underdamped : (1, S, S), likewise, the filter's luminance under light damping.
    paths : (16, S / 8, S / 8) float32, in units of 32 px (`device.kernels.encode`).
    noise : (1, S / 8, S / 8) float32, standard deviation of linear light.
    blur_px : median length of the true path over the scene.
    """

    blurred: Image
    filtered: Image
    underdamped: Image
    sharp: Image
    paths: Image
    noise: Image
    blur_px: float


@dataclass(frozen=True)
class PairOptions:
    """How pairs are drawn.

    scenes, measurements : how many are held. measurements_per_scene, draws_per_measurement : how
    often each is used, on average. ramp_draws : over how many draws of a stream the errors of log
    and calibration grow from nothing to full strength. shrink : of photographs, which hides the
    softness and noise that cameras leave at full size.
    """

    crop_px: int = 128
    scenes: int = 96
    measurements: int = 96
    measurements_per_scene: int = 8
    draws_per_measurement: int = 12
    ramp_draws: int = 0
    shrink: int = 2
    errors: MeasurementErrors = field(default_factory=MeasurementErrors)
    scene: SceneOptions = field(default_factory=SceneOptions)

    def __post_init__(self) -> None:
        if self.crop_px <= 0 or self.crop_px % PATHS_STRIDE_PX:
            raise ValueError(f"crops of {self.crop_px} px: expected a multiple of 8")

    @property
    def scene_options(self) -> SceneOptions:
        """Scenes as large as a crop, the filter's context around it, and room to choose."""
        return replace(self.scene, window_px=self.crop_px + _ROOM_PX + 2 * CONTEXT_PX)


class RollingCache(Generic[T]):
    """A window of numbered things, made when first asked for, that moves on as they are used.

    Use u finds the numbers u // uses_per_item ... + size - 1, so every number is a function of the
    use alone, whatever was asked before.
    """

    def __init__(self, make: Callable[[int], T], size: int, uses_per_item: int) -> None:
        self._make, self._size, self._uses_per_item = make, size, uses_per_item
        # Uses come slightly out of order when caches are stacked; what they need is kept.
        self._capacity = size + size // 4 + 8
        self._items: OrderedDict[int, T] = OrderedDict()

    def numbers(self, use: int) -> range:
        """The numbers that this use may find."""
        first = use // self._uses_per_item
        return range(first, first + self._size)

    def pick(self, use: int, rng: np.random.Generator) -> T:
        """A random item of the window at this use."""
        numbers = self.numbers(use)
        return self.item(numbers[int(rng.integers(len(numbers)))])

    def item(self, number: int) -> T:
        """The item of this number, made now unless it is held."""
        if number not in self._items:
            self._items[number] = self._make(number)
            if len(self._items) > self._capacity:
                self._items.popitem(last=False)
        self._items.move_to_end(number)
        return self._items[number]


class PairSource:
    """Pairs of one stream; streams of the same seed (one a worker) are independent."""

    def __init__(
        self,
        library: PhotoLibrary,
        motions: list[HandMotion],
        options: PairOptions | None = None,
        *,
        seed: int = 1,
        stream: int = 0,
    ) -> None:
        self.options = options or PairOptions()
        self._library, self._motions = library, motions
        self._seed, self._stream = seed, stream
        chosen = self.options
        self._scenes = RollingCache(self._render, chosen.scenes, chosen.measurements_per_scene)
        self._measured = RollingCache(
            self._measure, chosen.measurements, chosen.draws_per_measurement
        )

    @classmethod
    def read(
        cls, photos: Path, motion: Path, options: PairOptions | None = None, *, seed: int = 1
    ) -> PairSource:
        """A source from a folder of photographs and one of recorded hand motion.

        Photographs held back for tests are left out. Raises InputError when a folder holds
        nothing usable or a photograph does not decode.
        """
        options = options or PairOptions()
        smallest_px = options.scene_options.window_px + 2 * SURROUND_PX
        library = PhotoLibrary.read(photos, smallest_px=smallest_px, shrink=options.shrink)
        return cls(library, read_hand_motion(motion), options, seed=seed)

    def of_stream(self, stream: int) -> PairSource:
        """Another stream of the same photographs, motion and seed, with caches of its own."""
        return PairSource(
            self._library, self._motions, self.options, seed=self._seed, stream=stream
        )

    @property
    def photo_names(self) -> list[str]:
        """The photographs that pairs are made of."""
        return list(self._library.names)

    def warm_up(self, index: int = 0) -> None:
        """Fill the caches as draw `index` finds them."""
        measurements = self._measured.numbers(index)
        for number in self._scenes.numbers(measurements.start):
            self._scenes.item(number)
        for number in measurements:
            self._measured.item(number)

    def draw(self, index: int) -> Pair:
        """The pair of this number."""
        rng = self._rng(_DRAW, index)
        return _crop(self._measured.pick(index, rng), self.options.crop_px, rng)

    def strength(self, index: int) -> float:
        """How far the errors have grown at this draw, 0..1."""
        ramp = self.options.ramp_draws
        return 1.0 if ramp <= 0 else min(1.0, index / ramp)

    def _render(self, number: int) -> RenderedScene:
        rng = self._rng(_SCENE, number)
        return synthesize(self._library, self._motions, self.options.scene_options, rng)

    def _measure(self, number: int) -> Measured:
        rng = self._rng(_MEASUREMENT, number)
        scene = self._scenes.pick(number, rng)
        strength = self.strength(number * self.options.draws_per_measurement)
        return measure(scene, self.options.errors, rng, strength=strength)

    def _rng(self, what: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, self._stream, what, number])


def _crop(measured: Measured, size: int, rng: np.random.Generator) -> Pair:
    """A random crop, turned and mirrored at random."""
    places = measured.blurred.shape[0] - 2 * CONTEXT_PX - size + 1
    top, left = (CONTEXT_PX + int(offset) for offset in rng.integers(places, size=2))
    return turned(pair_at(measured, left, top, size), int(rng.integers(8)))


def pair_at(measured: Measured, left: int, top: int, size: int) -> Pair:
    """The device's own inputs for the tile at this place, and the sharp picture there."""
    rows, columns = slice(top, top + size), slice(left, left + size)
    return Pair(
        blurred=_planes(measured.blurred[rows, columns]) / np.float32(255),
        filtered=_planes(measured.filtered[rows, columns]),
        underdamped=_planes(measured.underdamped[rows, columns, None]),
        sharp=_planes(measured.sharp[rows, columns]) / np.float32(255),
        paths=paths_view(measured.field, left, top, size, size),
        noise=measured.noise_cells(rows, columns),
        blur_px=measured.blur_px,
    )


def turned(pair: Pair, symmetry: int) -> Pair:
    """The pair under one of the 8 symmetries of the square; its paths turn with the picture.

    symmetry : 0..7; bit 0 mirrors left and right, bit 1 top and bottom, bit 2 swaps u and v.
    """
    mirror_u, mirror_v, transpose = (bool(symmetry >> bit & 1) for bit in range(3))

    def picture(planes: Image) -> Image:
        planes = planes[:, :: -1 if mirror_v else 1, :: -1 if mirror_u else 1]
        return np.ascontiguousarray(planes.transpose(0, 2, 1) if transpose else planes)

    du, dv = np.split(picture(pair.paths), 2)
    du, dv = (-du if mirror_u else du), (-dv if mirror_v else dv)
    return Pair(
        blurred=picture(pair.blurred),
        filtered=picture(pair.filtered),
        underdamped=picture(pair.underdamped),
        sharp=picture(pair.sharp),
        paths=np.concatenate([dv, du] if transpose else [du, dv]),
        noise=picture(pair.noise),
        blur_px=pair.blur_px,
    )


def _planes(picture: NDArray[np.uint8] | NDArray[np.float16]) -> Image:
    return np.moveaxis(picture, 2, 0).astype(np.float32)
