"""What the commands that restore share: their options, a progress bar, the file and its report."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device.errors import InputError, ModelError
from device.notices import Notice
from device.shipped_models import MODELS, SHIPPED_MODELS
from device.version import software_name

if TYPE_CHECKING:
    from device.bundle import Bundle
    from device.restore.network import ModelBundle
    from device.restore.pipeline import Restoration, RestoreOptions

FAILED_DEFAULT_MODEL = "the default model does not run here: the result is the filter's"

StageProgress = Callable[[str, float], None]


def add_restore_options(parser: argparse.ArgumentParser) -> None:
    """--model and --threads."""
    parser.add_argument(
        "--model",
        default="default",
        metavar=f"{'|'.join(SHIPPED_MODELS)}|none|PATH",
        help="network that cleans up after the filter: one of those that ship with stillpi, "
        "none (the filter alone), or the folder of a model bundle (default: %(default)s)",
    )
    parser.add_argument(
        "--threads",
        type=positive_int,
        metavar="N",
        help="processor threads to use (default: all)",
    )


def positive_int(text: str) -> int:
    """An argparse type: a whole number above zero."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not above zero")
    return number


def model_folder(name: str) -> Path | None:
    """The bundle that --model names; None for `none`."""
    if name == "none":
        return None
    return MODELS / name if name in SHIPPED_MODELS else Path(name)


def choose_model(name: str, *, fastest: bool = True) -> ModelBundle | None:
    """The model that --model names, as load_tested; None for `none`. Raises ModelError."""
    from device.restore.golden import load_tested

    folder = model_folder(name)
    return None if folder is None else load_tested(folder, fastest=fastest)


@dataclass(frozen=True)
class ChosenModel:
    """What photographs are restored with. note, warning : for reports, why there is no network."""

    model: ModelBundle | None
    note: str = ""
    warning: Notice | None = None


def model_for_photographs(name: str, *, fastest: bool = True) -> ChosenModel:
    """As choose_model, but a default model that fails here costs the network, not the photographs.

    That is said on standard error. Raises ModelError for a model asked for by its folder.
    """
    try:
        model = choose_model(name, fastest=fastest)
    except ModelError as error:
        if name != "default":
            raise
        print(f"stillpi: warning: {FAILED_DEFAULT_MODEL}: {one_line(error)}", file=sys.stderr)
        return ChosenModel(None, FAILED_DEFAULT_MODEL, Notice("model-failed", one_line(error)))
    return ChosenModel(model)


@contextmanager
def progress_bar(label: str) -> Iterator[StageProgress]:
    """A bar on standard error while the block runs, nothing when that is no terminal.

    Gives a function (stage, share done 0..1) to call; a new stage starts the bar again.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(label, total=1.0)

        def show(stage: str, done: float) -> None:
            bar.update(task, description=f"{label}: {stage}", completed=done)

        yield show


def restore_to_file(
    bundle_path: Path,
    target: Path,
    *,
    chosen: ChosenModel,
    threads: int | None = None,
    reproducible: bool = False,
    quality: int = 95,
    progress: StageProgress | None = None,
) -> dict[str, Any]:
    """Restore a bundle into the photograph `target` and its report beside it; the report.

    Folders that lead to the target are made. Raises InputError for bad input and for a target
    inside the bundle, OSError when something cannot be written; neither file is half-written.
    """
    from device.bundle import read_bundle
    from device.output import check_photo_name
    from device.restore.pipeline import restore

    check_photo_name(target)
    bundle = read_bundle(bundle_path)
    if target.resolve().is_relative_to(bundle.path.resolve()):
        raise InputError(target, "output", "a place inside the bundle", "one outside of it")
    target.parent.mkdir(parents=True, exist_ok=True)
    restoration = restore(
        bundle,
        model=chosen.model,
        options=options(threads, reproducible=reproducible),
        progress=progress,
    )
    return write_restoration(bundle, restoration, target, chosen=chosen, quality=quality)


def write_restoration(
    bundle: Bundle,
    restoration: Restoration,
    target: Path,
    *,
    chosen: ChosenModel,
    quality: int = 95,
) -> dict[str, Any]:
    """Write the photograph `target` and NAME.json beside it; returns the report.

    chosen : the model it was restored with; where there was none, the report says why.
    """
    from device.output import write_photo, write_report

    begin = time.perf_counter()
    write_photo(target, restoration.pixels, exif_source=bundle, quality=quality)
    report: dict[str, Any] = restoration.report.to_json()
    if chosen.note:
        report["model_note"] = chosen.note
    if chosen.warning:
        report["warnings"] = [*report["warnings"], chosen.warning.to_json()]
    report["stages_s"] = {**report["stages_s"], "write": round(time.perf_counter() - begin, 4)}
    report |= {"bundle": str(bundle.path), "output": str(target), "software": software_name()}
    write_report(target.with_suffix(".json"), report)
    return report


def options(threads: int | None, *, reproducible: bool = False) -> RestoreOptions:
    """Options of a restoration from the command line's."""
    from device.restore.pipeline import RestoreOptions

    return RestoreOptions(threads=threads or available_threads(), reproducible=reproducible)


def available_threads() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0))


def summary(report: dict[str, Any]) -> str:
    """One line for a person: how much blur, how much of the restoration was kept, how long."""
    parts = []
    motion, guard = report.get("motion"), report.get("guard")
    if motion:
        parts.append(f"blur {motion['blur_px_median']:.1f} px, {motion['blur_px_max']:.1f} at most")
    if guard:
        parts.append(f"{100 * guard['trusted_share']:.0f} % of the restoration kept")
    parts.append(f"{sum(report['stages_s'].values()):.1f} s")
    parts += [f"warning: {warning['name']}" for warning in report["warnings"]]
    return ", ".join(parts)


def one_line(error: BaseException) -> str:
    """What went wrong, on one line; an OSError as FILE: REASON."""
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
