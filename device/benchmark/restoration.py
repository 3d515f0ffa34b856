"""12-megapixel photographs through `stillpi deblur`, in processes of their own, so that their peak
memory is theirs alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from device.benchmark import Row, Setting
from device.bundle import read_bundle, write_bundle
from device.calibration import CameraCalibration
from device.capture.camera import Frame, NoiseModel
from device.capture.develop import develop
from device.capture.scene import read_photograph
from device.capture.timing import FrameTiming
from device.kernels.field import KernelField, kernel_field
from device.kernels.reblur import COARSE_GRID, reblur
from device.motion.frame_motion import frame_motion
from device.motion.sources import HandShake
from device.restore.tone import to_linear
from firmware_bridge.samples import ImuSamples

WIDTH, HEIGHT = 4056, 3040
LINE_TIME_NS = 28571.0
FOCAL_PX = 3900.0
SCENE = Path(__file__).parent.parent / "demo_data" / "osprey.jpg"
EXPOSURES_S = {"short blur": 1 / 60, "medium blur": 1 / 8, "long blur": 1 / 4}
COMPARED = "medium blur"
"""Whose whole program is set beside other systems' networks: at full scale, the slowest."""
_FIELD_RUNS = 10
_NOISE = NoiseModel(1e-3, 2e-3)


def whole_program(label: str) -> str:
    """Name of the row with the seconds of a whole program."""
    return f"12 MP, {label}: whole program"


def processor_time(label: str) -> str:
    """Name of the row with its processor seconds, of all threads together."""
    return f"12 MP, {label}: processor time"


def measure_restoration(setting: Setting) -> Iterator[Row]:
    """A 12-megapixel bundle through `stillpi deblur`: stages, whole time and peak memory."""
    for label, exposure_s in EXPOSURES_S.items():
        bundle = setting.folder / f"{label.replace(' ', '-')}.capture"
        # In a process of its own: a program's peak begins with the memory of who started it.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(large_bundle, bundle, exposure_s, WIDTH, HEIGHT, FOCAL_PX).result()
        ran = _deblur(bundle, setting)
        report = ran.report
        blur_px, scale = report["motion"]["blur_px_median"], report["working_scale"]
        network = report["model"]["name"] if report["model"] else "the filter alone"
        note = (
            f"{blur_px:.0f} px median blur, scale {scale:g}, {setting.threads} threads, {network}"
        )
        for stage in ("filter", "network", "guard", "blend"):
            yield Row(f"12 MP, {label}: {stage} stage", report["stages_s"][stage], "s", note)
        yield Row(whole_program(label), ran.whole_s, "s", note)
        yield Row(processor_time(label), ran.processor_s, "s", note)
        yield Row(f"12 MP, {label}: peak resident memory", ran.peak_mb, "MB", note)


def measure_field(setting: Setting) -> Iterator[Row]:
    """Log to kernel field of a 12-megapixel frame, best of ten, one thread."""
    bundle = read_bundle(setting.folder / "short-blur.capture")
    fastest_s = float("inf")
    for _ in range(_FIELD_RUNS):
        begin = time.perf_counter()
        motion = frame_motion(bundle.samples, bundle.calibration, bundle.timing)
        kernel_field(motion.track, bundle.calibration, bundle.timing)
        fastest_s = min(fastest_s, time.perf_counter() - begin)
    yield Row(f"kernel field for {WIDTH}x{HEIGHT}", 1e3 * fastest_s, "ms", "1 thread")


def large_bundle(path: Path, exposure_s: float, width: int, height: int, focal_px: float) -> Path:
    """A bundle of an enlarged photograph with a shaking hand's log, blurred by it.

    Whether the picture is one of that motion decides what the restoration does at some places.
    """
    timing = FrameTiming(10_000_000_000, round(exposure_s * 1e9), LINE_TIME_NS, "top_down", height)
    calibration = CameraCalibration.centred(
        focal_px, width, height, gyro_bias_rad_s=(0.0, 0.0, 0.0)
    )
    t_s = np.arange(8.0, 10.6, 0.005)
    hand = HandShake(seed=1)
    samples = ImuSamples(
        np.rint(t_s * 1e9).astype(np.int64), hand.gyro_rad_s(t_s), hand.specific_force_g(t_s)
    )
    motion = frame_motion(samples, calibration, timing)
    pixels = _shaken(kernel_field(motion.track, calibration, timing))
    frame = Frame(pixels=pixels, timing=timing, noise=_NOISE)
    return write_bundle(path, frame, samples, calibration)


def _shaken(field: KernelField) -> NDArray[np.uint8]:
    """The scene, enlarged, as a noisy sensor saw it through that field: (H, W, 3)."""
    scene = to_linear(read_photograph(SCENE), "srgb")
    scene = np.asarray(cv2.resize(scene, (field.width, field.height)), np.float32)
    pixels = np.empty(scene.shape, np.uint8)
    rng = np.random.default_rng(1)
    # One channel after the other: a Pi has not the memory for all in floating point three times.
    for channel in range(scene.shape[2]):
        one = np.s_[:, :, channel : channel + 1]
        pixels[one] = develop(
            reblur(scene[one], field, grid=COARSE_GRID, threads=2), "srgb", _NOISE, rng
        )
    return pixels


@dataclass(frozen=True, slots=True)
class _Run:
    report: dict[str, Any]
    whole_s: float
    processor_s: float
    peak_mb: float


def _deblur(bundle: Path, setting: Setting) -> _Run:
    """Run the command: its report, its seconds, its peak resident megabytes."""
    target = setting.folder / f"{bundle.stem}.jpg"
    command = [sys.executable, "-m", "device.cli", "deblur", str(bundle), "-o", str(target)]
    command += ["--threads", str(setting.threads), "--model", str(setting.model or "none")]
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    whole_s = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    report = json.loads(target.with_suffix(".json").read_text())
    processor_s = usage.ru_utime + usage.ru_stime
    return _Run(report, whole_s, processor_s, usage.ru_maxrss * 1024 / 1e6)
