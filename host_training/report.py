"""The evaluation as one Markdown page with few small pictures: tables, provenance, credits."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2

from device.errors import InputError
from device.output import write_atomic
from device.validation import read_text
from device.version import software_name
from host_training.command_line import command_line
from host_training.evaluate import BLURRED, Pixels, Score
from host_training.methods import Method
from host_training.real_photographs import RealResult, real_table
from host_training.sheets import photo_row
from host_training.tables import markdown, table
from host_training.testset import read_record
from host_training.truth import list_bundles

LARGEST_PICTURE_BYTES = 150_000
_PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "torch")


@dataclass(frozen=True)
class Report:
    """What the page is made of.

    rows : contact-sheet rows of bundles that may be published, in the order shown, with the credits
        of their photographs. real : of the real photographs; missing : of those, in words.
    seed_protocol : the result of `stillpi-train seed-protocol`, when there is one.
    """

    testset: Path
    scores: Sequence[Score]
    methods: Sequence[Method]
    rows: Sequence[tuple[Pixels, str]] = ()
    real: Sequence[RealResult] = ()
    missing: Sequence[str] = ()
    seed_protocol: Mapping[str, Any] | None = None
    command: str = field(default_factory=command_line)


def write_report(report: Report, page: Path) -> None:
    """Write the page and, into the folder page.stem.lower() beside it, its pictures."""
    folder = page.parent / page.stem.lower()
    parts = [
        "# How good the restorations are",
        "Written by one run of\n\n"
        f"    {report.command}\n\nEvery figure below is from that run, side by side.",
        "\n".join(_provenance(report)),
        "## On simulated photographs, with the truth",
        markdown(report.scores),
    ]
    if report.rows:
        parts.append(
            "Crops of the photographs with the worst, the median and the best gain among those "
            "that may be shown here:"
        )
        for number, (row, credit) in enumerate(report.rows):
            name = f"testset-{number}.jpg"
            _write_picture(folder / name, row)
            parts.append(f"![Crops side by side]({folder.name}/{name})\n*{credit}*")
    if report.real:
        parts += ["## On real photographs, without a truth", *_real_parts(report, folder)]
    if report.missing:
        parts.append("Not judged: " + "; ".join(report.missing) + ".")
    if report.seed_protocol:
        parts += ["## The seed system's own protocol", seed_protocol_text(report.seed_protocol)]
    write_atomic(page, ("\n\n".join(parts) + "\n").encode())


def _real_parts(report: Report, folder: Path) -> list[str]:
    parts = [
        "Left over: what the picture, blurred again with the measured field, does not explain of "
        "the photograph, in standard deviations of its noise; behind it the share of the "
        "restoration that the guard kept. A photograph with little blur explains itself well; "
        "this is no measure of quality.",
        real_table(report.real),
    ]
    for result in _most_blurred([r for r in report.real if r.photo.credit is not None]):
        recording = result.photo.recording
        _write_picture(folder / f"{recording}.jpg", real_row(result))
        parts.append(f"![{recording}]({folder.name}/{recording}.jpg)\n*{result.photo.credit}*")
    return parts


def _most_blurred(results: Sequence[RealResult]) -> list[RealResult]:
    """One photograph of every recording."""
    found: dict[str, RealResult] = {}
    for result in sorted(results, key=lambda result: -result.photo.blur_px):
        found.setdefault(result.photo.recording, result)
    return list(found.values())


def real_row(result: RealResult) -> Pixels:
    """A real photograph and its results side by side, from the middle."""
    return photo_row(result.pictures, result.photo.name.split("/")[-1])


def seed_protocol_text(result: Mapping[str, Any]) -> str:
    """The result of a run of the seed's protocol, in Markdown."""
    rows = [
        [name, f"{found['psnr_db']:.2f}", f"{found['worst_gain_db']:+.2f}" * (name != BLURRED)]
        for name, found in result["methods"].items()
    ]
    return (
        f"{result['photographs']} validation pictures of {result['crop_px']} px, one straight "
        "smear each, no noise; 8-bit. Our pipeline is told the exact straight path; the seed's "
        f"network was trained on such pictures for {result['step']} steps of "
        f"{result['batch_size']} (`{result['command']}`).\n\n"
    ) + "\n".join(table(["", "PSNR", "worst gain"], rows))


def _provenance(report: Report) -> list[str]:
    record = read_record(report.testset)
    count = len(report.scores)
    seed = "seed not recorded" if record is None else f"seed {record['seed']}"
    lines = [f"- test set: {count} bundles, {seed}, sha256 {set_digest(report.testset)}"]
    for method in report.methods:
        if method.identity:
            told = ", ".join(f"{key} {value}" for key, value in method.identity.items())
            lines.append(f"- {method.name}: {told}")
    versions = [software_name(), f"Python {sys.version.split()[0]}"]
    for package in _PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return [*lines, f"- {', '.join(versions)}"]


def set_digest(folder: Path) -> str:
    """SHA-256 over names and contents of all files of a test set's bundles and their truths."""
    digest = hashlib.sha256()
    for bundle in list_bundles(folder):
        stem = bundle.name.removesuffix(".capture")
        for path in sorted([*bundle.iterdir(), *folder.glob(f"{stem}.*.*")]):
            if path.is_file():
                digest.update(f"{path.relative_to(folder)}\n".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def read_credits(path: Path) -> dict[str, str]:
    """Which photographs may be shown: name (as in a bundle's) to author and licence.

    Raises InputError when the file is no JSON object of texts.
    """
    try:
        credits = json.loads(read_text(path, "credits of photographs"))
    except json.JSONDecodeError as error:
        raise InputError(path, f"line {error.lineno}", error.msg, "JSON") from None
    if not isinstance(credits, dict) or not all(isinstance(v, str) for v in credits.values()):
        raise InputError(path, "credits", type(credits).__name__, 'an object {"name": "credit"}')
    return credits


def credit_of(score: Score, credits: Mapping[str, str]) -> str | None:
    """The credit of a bundle's photograph, None when it may not be shown."""
    _, _, photo = score.name.removesuffix(".capture").partition("-")
    return credits.get(photo)


def _write_picture(path: Path, pixels: Pixels) -> None:
    """A JPEG of at most 150 kB: of the best quality that fits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for quality in range(92, 20, -6):
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        done, data = cv2.imencode(".jpg", pixels[:, :, ::-1], options)
        if done and len(data) <= LARGEST_PICTURE_BYTES:
            write_atomic(path, data.tobytes())
            return
    raise OSError(f"{path}: {pixels.shape[1]}x{pixels.shape[0]} px do not fit 150 kB")
