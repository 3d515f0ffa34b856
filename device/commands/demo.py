"""`stillpi demo`: the whole program on real and simulated input, without a camera or a sensor."""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from device.commands.restoring import (
    ChosenModel,
    add_restore_options,
    model_for_photographs,
    options,
    progress_bar,
    summary,
    write_restoration,
)
from device.errors import InputError

if TYPE_CHECKING:
    from device.demo.pages import Restored

CHART, TWIN = "chart", "osprey"
_NEXUS = Path(__file__).resolve().parent.parent / "demo_data" / "nexus"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `demo` to the program's commands."""
    parser = subparsers.add_parser(
        "demo",
        help="see it work: restores a real and a simulated photograph, writes a page",
        description="Take a photograph with a simulated camera in a recorded hand (twin camera, "
        "emulated WT901 on a pseudo-terminal) and restore it; restore a real photograph of a test "
        "chart with its real gyroscope log; write bundles, photographs, reports and index.html. "
        "Needs no hardware and no network, takes less than a minute.",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("demo-output"),
        metavar="FOLDER",
        help="default: %(default)s",
    )
    add_restore_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the demo's folder and print what came of it."""
    from device.demo import pages
    from device.demo.chart import match_dots
    from device.demo.twin_shot import take_twin_photo
    from device.importers.nexus import import_nexus
    from device.inspect_page import displayed
    from device.kernels.draw import write_png
    from device.output import write_atomic

    begin = time.perf_counter()
    folder: Path = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    twin_path, chart_path = (_free_bundle(folder, name) for name in (TWIN, CHART))
    chosen = model_for_photographs(arguments.model)

    print("Taking a photograph with the simulated camera and sensor ...", flush=True)
    shot = take_twin_photo(twin_path)
    twin = _restore(twin_path, chosen, arguments)
    twin_part = pages.twin_part(twin, shot.truth, shot.sensor)
    gain = ", ".join(f"{label} {text}" for label, text in twin_part["numbers"][:3])
    print(f"  {summary(twin.report)}\n  {gain}", flush=True)

    print("Restoring the real photograph of a chart with its gyroscope ...", flush=True)
    import_nexus(_NEXUS, chart_path)
    chart = _restore(chart_path, chosen, arguments)
    match = match_dots(displayed(chart.bundle), chart.restoration.field)
    chart_part = pages.chart_part(chart, match)
    print(f"  {summary(chart.report)}\n  {chart_part['verdict']}", flush=True)

    write_png(folder / "before_after.png", pages.before_after(twin))
    files = [[f"{name}.capture/", f"{name}.jpg", f"{name}.json"] for name in (TWIN, CHART)]
    index = folder / "index.html"
    write_atomic(index, pages.demo_page(twin_part, chart_part, files).encode())
    print(f"{index.absolute()} written, {time.perf_counter() - begin:.1f} s in all")
    return 0


def _restore(bundle_path: Path, chosen: ChosenModel, arguments: argparse.Namespace) -> Restored:
    """Restore a bundle into NAME.jpg and NAME.json beside it."""
    from device.bundle import read_bundle
    from device.demo.pages import Restored
    from device.restore.pipeline import restore

    bundle = read_bundle(bundle_path)
    with progress_bar(bundle_path.name) as progress:
        restoration = restore(
            bundle, model=chosen.model, options=options(arguments.threads), progress=progress
        )
    target = bundle_path.with_suffix(".jpg")
    report = write_restoration(bundle, restoration, target, chosen=chosen)
    return Restored(bundle, restoration, report)


def _free_bundle(folder: Path, name: str) -> Path:
    """The place of a bundle of ours; one that an earlier demo wrote there is removed.

    Raises InputError when something else has that name.
    """
    path = folder / f"{name}.capture"
    if path.exists():
        if not (path / "capture.json").is_file():
            raise InputError(path, "output", "something else of that name", "a free name")
        shutil.rmtree(path)
    return path
