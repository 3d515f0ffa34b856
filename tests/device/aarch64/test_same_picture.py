"""The whole `stillpi deblur` on a Pi's processors, emulated: its pictures are those of x86-64.

Both sides run the same code, the same versions of all libraries and the int8 network of the model
that ships. Emulation says nothing of speed.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from device.bundle import write_bundle
from device.capture.scene import (
    DEMO_MOTION,
    DEMO_PHOTOGRAPH,
    read_photograph,
    scene_for,
    simulated_calibration,
)
from device.capture.twin import TwinCamera, TwinSettings
from device.motion.recordings import read_recordings
from device.motion.sources import Playback
from device.restore.network import MANIFEST
from device.shipped_models import MODELS
from firmware_bridge.samples import ImuSamples

pytestmark = pytest.mark.soak

REPOSITORY = Path(__file__).resolve().parents[3]
FOLDER = Path(os.environ.get("STILLPI_AARCH64") or Path.home() / ".cache/stillpi/aarch64")
SIZE = (640, 480)
SHUTTER_NS = 14_000_000_000  # of the recording: the hand turns by some 20 deg/s
EXPOSURE_NS = 66_666_667
LIMIT_S = 3 * 3600

RARE_SHARE = 0.001
"""Of the values, those that may differ by more than a level where an int8 network ran."""


@dataclass(frozen=True)
class Restored:
    """pixels : (H, W, 3), signed so that they can be subtracted. said : what was printed."""

    pixels: NDArray[np.int16]
    said: str


Restore = Callable[..., Restored]


@pytest.fixture(scope="module", autouse=True)
def emulator() -> None:
    if not (FOLDER / "ready").is_file():
        pytest.skip(f"no emulated aarch64 in {FOLDER}: make aarch64 sets it up")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph of the simulated camera, the same at every run."""
    calibration = simulated_calibration(*SIZE)
    recording = max(read_recordings(DEMO_MOTION), key=lambda piece: piece.duration_s)
    hand = Playback(recording, recording.duration_s)
    clock_ns = itertools.count(SHUTTER_NS, 1_000_000_000)  # a second passes at every look
    camera = TwinCamera(
        scene_for(calibration, read_photograph(DEMO_PHOTOGRAPH)),
        hand,
        calibration,
        TwinSettings(exposure_ns=EXPOSURE_NS),
        monotonic_ns=clock_ns.__next__,
    )
    t_ns = np.arange(SHUTTER_NS - 2_000_000_000, SHUTTER_NS + 500_000_000, 5_000_000)
    t_s = t_ns * 1e-9
    samples = ImuSamples(t_ns, hand.gyro_rad_s(t_s), hand.specific_force_g(t_s))
    folder = tmp_path_factory.mktemp("photograph") / "shot.capture"
    return write_bundle(folder, camera.capture(), samples, calibration, frame_format="png")


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model that ships with its int8 network alone: which one is faster here is no matter."""
    folder = tmp_path_factory.mktemp("model") / "int8"
    shutil.copytree(MODELS / "default", folder)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest["alternatives"] = []
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def restore(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Restore:
    """restore(python, model, option...) -> the photograph as `stillpi deblur` makes it there."""
    # It takes long: nobody's work on the code meanwhile may show as a difference.
    code = tmp_path_factory.mktemp("code")
    for package in ("device", "firmware_bridge"):
        ignored = shutil.ignore_patterns("__pycache__", "demo_data", "models")
        shutil.copytree(REPOSITORY / package, code / package, ignore=ignored)
    shutil.copy(Path(__file__).with_name("restore.py"), code)

    def restore(python: str | Path, model: str | Path, *options: str) -> Restored:
        folder = tmp_path_factory.mktemp("restored")
        photograph = folder / "photograph.png"
        done = subprocess.run(
            [python, code / "restore.py", bundle, photograph, model, *options],
            env={"PATH": os.defpath, "PYTHONPATH": str(code), "XDG_CACHE_HOME": str(folder)},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        report = json.loads(photograph.with_suffix(".json").read_text(encoding="utf-8"))
        assert (report["model"] is None) == (model == "none"), report["model_note"]
        with Image.open(photograph) as image:
            pixels = np.asarray(image, np.int16)
        return Restored(pixels, " | ".join(done.stdout.replace(str(folder), "").splitlines()))

    return restore


@pytest.fixture(scope="module")
def int8_here(restore: Restore, int8: Path) -> Restored:
    return restore(sys.executable, int8)


@pytest.fixture(scope="module")
def reproducible_here(restore: Restore, int8: Path) -> Restored:
    return restore(sys.executable, int8, "--reproducible")


def differences(one: Restored, other: Restored) -> NDArray[np.int64]:
    """How many values differ by 0, 1, 2 ... levels."""
    return np.bincount(np.abs(one.pixels - other.pixels).ravel(), minlength=3)


def figures(counts: NDArray[np.int64], emulated: Restored) -> str:
    """Of `make soak`'s summary."""
    shares = ", ".join(
        f"{100 * count / counts.sum():.4g} % by {levels}"
        for levels, count in enumerate(counts)
        if levels and count
    )
    return f"values differ: {shares or 'none'}; emulated: {emulated.said}"


def test_the_filters_picture_is_the_same_to_one_level(
    restore: Restore, record_property: Callable[[str, object], None]
) -> None:
    emulated = restore(FOLDER / "cortex-a72", "none")
    counts = differences(restore(sys.executable, "none"), emulated)
    record_property("figures", figures(counts, emulated))
    assert counts[2:].sum() == 0


@pytest.mark.parametrize("processor", ["cortex-a72", "cortex-a76"])
def test_the_int8_networks_picture_is_the_same_to_its_steps(
    processor: str,
    restore: Restore,
    int8: Path,
    int8_here: Restored,
    record_property: Callable[[str, object], None],
) -> None:
    """To one level but for one value in a thousand, and those to four steps of the network.

    Floats of the two processors differ in their last bits. Where that turns a rounding within the
    network, its residual moves by a step, seldom by several; the self-test allows two.
    """
    manifest = json.loads((int8 / MANIFEST).read_text(encoding="utf-8"))
    largest = math.ceil(2 * manifest["golden"]["tolerance_codes"])
    emulated = restore(FOLDER / processor, int8)
    counts = differences(int8_here, emulated)
    record_property("figures", figures(counts, emulated))
    assert counts[largest + 1 :].sum() == 0
    assert counts[2:].sum() <= RARE_SHARE * counts.sum()


@pytest.mark.parametrize("processor", ["cortex-a72", "cortex-a76"])
def test_a_reproducible_picture_is_the_same_to_one_level(
    processor: str,
    restore: Restore,
    int8: Path,
    reproducible_here: Restored,
    record_property: Callable[[str, object], None],
) -> None:
    emulated = restore(FOLDER / processor, int8, "--reproducible")
    counts = differences(reproducible_here, emulated)
    record_property("figures", figures(counts, emulated))
    assert counts[2:].sum() == 0
