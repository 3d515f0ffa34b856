"""Our network beside those of other systems: the same tiles, the same runtime, the same minutes.

Everyone's tiles run as ours do in a photograph: side by side in as many threads as there are, one
thread a tile. They run in turns, so that whatever else the machine does disturbs all alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from device.benchmark import COMPARED_NETWORKS, Row, Setting
from device.benchmark.restoration import COMPARED, HEIGHT, WIDTH, processor_time, whole_program
from device.restore.network import (
    ModelBundle,
    load_model,
    provided_shapes,
    verified_manifest,
)

if TYPE_CHECKING:
    import onnxruntime

ROUNDS = 5
LARGE = 1e5
"""Multiplications a pixel from which on one tile a thread and turn is time enough to measure."""
SMALL_TILES = 8
"""A thread and turn, of smaller networks."""


@dataclass(frozen=True)
class Contestant:
    """run : one tile, from any thread. tiles : for each thread in one turn."""

    name: str
    note: str
    run: Callable[[], object]
    tiles: int


@dataclass(frozen=True, slots=True)
class TileTime:
    """Medians of the turns, for one tile: seconds that passed, processor seconds."""

    wall_s: float
    processor_s: float


def measure_networks(setting: Setting) -> Iterator[Row]:
    """Every network, a tile and 12 megapixels; nothing without a model, whose tiles they share."""
    if setting.model is None:
        return
    model = load_model(setting.model)
    size = model.manifest.tile.size
    tiles = model.grid.across.count(WIDTH) * model.grid.down.count(HEIGHT)
    contestants = [*ours(setting.model), *compared(size)]
    for contestant, time_ in zip(contestants, in_turns(contestants, setting.threads), strict=True):
        name, note = contestant.name, f"{contestant.note}, {setting.threads} threads"
        yield Row(f"{name}: a tile of {size} px", 1e3 * time_.wall_s, "ms", note)
        whole = f"{tiles} tiles, {note}"
        yield Row(over_photo(name), tiles * time_.wall_s, "s", whole)
        yield Row(over_photo(name, "processor time"), tiles * time_.processor_s, "s", whole)


def over_photo(name: str, what: str = "the network alone") -> str:
    """Name of the row with the seconds of a network over 12 megapixels."""
    return f"{name}: 12 MP, {what}"


def measure_ratios(rows: list[Row]) -> Iterator[Row]:
    """How many times faster our whole program is than other systems' networks alone."""
    values = {row.name: row.value for row in rows}
    for path in sorted(COMPARED_NETWORKS.glob("*.onnx")):
        for ours_, theirs, note in (
            (whole_program(COMPARED), over_photo(path.stem), "by the clock"),
            (processor_time(COMPARED), over_photo(path.stem, "processor time"), "processor time"),
        ):
            if theirs in values:
                name = f"whole program against {path.stem} alone"
                yield Row(name, values[theirs] / values[ours_], "times", f"faster, {note}")


def in_turns(contestants: list[Contestant], threads: int, rounds: int = ROUNDS) -> list[TileTime]:
    """Time a tile of each."""
    turns: list[list[tuple[float, float]]] = [[] for _ in contestants]
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(rounds + 1):
            for contestant, measured in zip(contestants, turns, strict=True):
                count = threads * contestant.tiles
                wall, processor = time.perf_counter(), time.process_time()
                for done in [pool.submit(contestant.run) for _ in range(count)]:
                    done.result()
                spent = (time.perf_counter() - wall, time.process_time() - processor)
                measured.append((spent[0] / count, spent[1] / count))
    # The first turn allocates.
    return [TileTime(*np.median(measured[1:], axis=0).tolist()) for measured in turns]


def ours(folder: Path) -> Iterator[Contestant]:
    """Every network of a model bundle."""
    manifest = verified_manifest(folder)
    shapes = provided_shapes(manifest.tile.size)
    rng = np.random.default_rng(1)
    tile = {name: rng.uniform(size=shape[1:]).astype(np.float32) for name, shape in shapes.items()}
    for file in manifest.networks:
        model = load_model(folder, file=file.file)

        def run(model: ModelBundle = model) -> object:
            return model.residual(tile)

        yield Contestant(f"{manifest.name}, {file.file}", "ours", run, SMALL_TILES)


def compared(size: int) -> Iterator[Contestant]:
    """The other systems' networks on tiles of this size."""
    # Imported here: it costs 40 MB and most commands run no network.
    import onnxruntime

    for path in sorted(COMPARED_NETWORKS.glob("*.onnx")):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        for side in ("height", "width"):
            options.add_free_dimension_override_by_name(side, size)
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        (picture,) = session.get_inputs()
        tile = np.random.default_rng(1).uniform(size=picture.shape).astype(np.float32)
        costs = session.get_modelmeta().custom_metadata_map
        parameters, macs = float(costs["parameters"]), float(costs["macs_per_pixel"])
        note = f"FP32, {1e-6 * parameters:.1f} M parameters, {1e-3 * macs:.0f} kMAC a pixel"

        def run(
            session: onnxruntime.InferenceSession = session,
            feed: dict[str, object] = {picture.name: tile},  # noqa: B006
        ) -> object:
            return session.run(None, feed)

        yield Contestant(path.stem, note, run, 1 if macs >= LARGE else SMALL_TILES)
